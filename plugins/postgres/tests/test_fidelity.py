"""A database that uses everything arrives as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_everything_arrives_on_an_empty_server(
    cluster: Any, other: Any, extras: Path, rollback: Path, everything: str
) -> None:
    cluster.sql(everything)
    report = cluster.dump(extras)
    assert report.failures == ()
    assert [each.name for each in report.databases] == ["postgres", "shop"]

    restored = other.restore(extras, rollback=rollback)
    assert restored.failures == ()
    assert [each.rows for each in restored.databases] == [each.rows for each in report.databases]

    assert other.snapshot("shop") == cluster.snapshot("shop")
    assert other.snapshot("postgres") == cluster.snapshot("postgres")
    assert other.checksums("shop") == cluster.checksums("shop")
    assert other.globals() == cluster.globals()
    assert other.large_objects("shop") == cluster.large_objects("shop")
