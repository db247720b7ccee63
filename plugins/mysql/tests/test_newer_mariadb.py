"""A dump of this system's MariaDB goes onto a newer one, out of an unpacked root (tests/make-server-root)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.other_servers import root_or_skip

root_or_skip("TKLBAM_MARIADB_ROOT", "trixie DIRECTORY mariadb-server-core mariadb-client")


def test_everything_comes_to_a_newer_server(source: Any, newer: Any, tools: Any, tmp_path: Path, fidelity: str) -> None:
    source.sql(fidelity)
    assert tools.dump(source, tmp_path).failures == ()
    restored = tools.restore(newer, tmp_path)
    assert (restored.failures, [each.warnings for each in restored.databases]) == ((), [()] * 3)
    old, new = source.state_without_orphans(newer), newer.state_without_orphans(source)
    assert tools.without_versions(new) == tools.without_versions(old)
    current = "SELECT * FROM shop.versions; SELECT id FROM shop.periods"
    assert newer.sql(current) == source.sql(current)
