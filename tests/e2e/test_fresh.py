"""A freshly installed system, with no profile made for it: its whole backup is a few kilobytes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.machine import Machine, machine

pytestmark = pytest.mark.root

FRESH = 10 * 1024
"""Bytes that all files on the target may have."""
AGAIN = 5 * 1024
"""Bytes that another session may add where next to nothing changed."""


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Machine]:
    with machine("bookworm", tmp_path / "fresh") as made:
        # What the test's own tree got so that apt works in it; nobody's system comes with it.
        made.path("/etc/apt/apt.conf.d/00host-network").unlink()
        shutil.rmtree(made.path("/etc/ssl"))
        yield made


def stored(target: Path) -> int:
    return sum(path.stat().st_size for path in target.iterdir())


def test_the_backup_of_a_fresh_system_is_tiny(fresh: Machine, tmp_path: Path) -> None:
    said = fresh.tklbam("init", "--solo").err
    assert "dpkg" in said.splitlines()[0], "it says which profile it picked"
    assert fresh.path("/var/lib/tklbam/profile/profile_id").read_text().strip() == "debian-12"
    target = tmp_path / "target"
    words = ["backup", "--address", f"file://{target}"]
    first = fresh.json(*words)
    assert first["outcome"] == "complete"
    assert first["changes"] == {"o": 0, "s": 0, "d": 0, "a": 0}, "nothing was changed since it was installed"
    assert first["new_packages"] == 0
    assert stored(target) <= FRESH, {path.name: path.stat().st_size for path in target.iterdir()}

    before = stored(target)
    second = fresh.json(*words)
    assert (second["sessions"][0]["kind"], second["outcome"]) == ("incremental", "complete")
    assert stored(target) - before <= AGAIN

    before = stored(target)
    fresh.write("/etc/motd", "Changed by the administrator\n")
    third = fresh.json(*words)
    assert third["changes"] == {"o": 1, "s": 0, "d": 0, "a": 0}
    assert 0 < stored(target) - before <= AGAIN

    fresh.tklbam("restore", "--address", f"file://{target}", "--raw-download", str(tmp_path / "fetched"))
    assert (tmp_path / "fetched/etc/motd").read_text() == "Changed by the administrator\n"
    files = [path.relative_to(tmp_path / "fetched") for path in (tmp_path / "fetched").rglob("*") if path.is_file()]
    assert {str(path) for path in files if path.parts[0] != "TKLBAM"} == {"etc/motd"}
