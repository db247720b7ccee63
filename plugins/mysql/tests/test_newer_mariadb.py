"""A dump of this system's MariaDB goes onto a newer one, out of an unpacked root (tests/make-server-root)."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.other_servers import OtherServer, Root, root_or_skip
from tklbam_mysql.versions import ENDS

root_or_skip("TKLBAM_MARIADB_ROOT", "trixie DIRECTORY mariadb-server-core mariadb-client")
OWN_ACCOUNTS = re.compile(r"^.*(?:CREATE USER|GRANT|SET DEFAULT)[^\n]*`(?:root|PUBLIC|mariadb\.sys)`.*\n", re.MULTILINE)


@pytest.fixture
def newer(source: Any) -> Iterator[Any]:
    """A newer server, which can be compared as `source` can."""
    root, directory = Root(Path(os.environ["TKLBAM_MARIADB_ROOT"])), Path(tempfile.mkdtemp(prefix="tklbam-my-"))
    root.install(directory)
    server = type("Newer", (OtherServer, type(source)), {})(root, directory)
    server.start()
    yield server
    server.stop(signal.SIGKILL)
    shutil.rmtree(directory)


def test_everything_comes_to_a_newer_server(source: Any, newer: Any, tools: Any, tmp_path: Path, fidelity: str) -> None:
    source.sql(fidelity)
    assert tools.dump(source, tmp_path).failures == ()
    restored = tools.restore(newer, tmp_path)
    assert (restored.failures, [each.warnings for each in restored.databases]) == ((), [()] * 3)
    states = [server.state_without_orphans(other) for server, other in ((source, newer), (newer, source))]
    # Comments tell versions, where a column's INVISIBLE stands has changed, and when current rows end.
    old, new = (re.sub(r"^--.*$", "", state.replace(" INVISIBLE", ""), flags=re.MULTILINE) for state in states)
    assert OWN_ACCOUNTS.sub("", new.replace(ENDS[1], ENDS[0])) == OWN_ACCOUNTS.sub("", old)
    current = "SELECT * FROM shop.versions; SELECT id FROM shop.periods"
    assert newer.sql(current) == source.sql(current)
