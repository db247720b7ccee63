"""Current rows of system-versioned tables are current on every version, though time ends later on newer ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tklbam_mysql.cli import fs2mysql
from tklbam_mysql.versions import ENDS

TABLES = """
CREATE DATABASE d; USE d; CREATE TABLE v (id int PRIMARY KEY, t text, b blob, g int AS (id + 1)) WITH SYSTEM VERSIONING;
INSERT INTO v (id, t, b) VALUES (1,'a),(\\'',0x00),(2,'b','c'); UPDATE v SET t='c' WHERE id=1; DELETE FROM v WHERE id=2;
CREATE TABLE p (e timestamp(6) GENERATED ALWAYS AS ROW END, id int AUTO_INCREMENT PRIMARY KEY,
 s timestamp(6) GENERATED ALWAYS AS ROW START, PERIOD FOR SYSTEM_TIME(s, e)) WITH SYSTEM VERSIONING;
INSERT INTO p (id) VALUES (1),(2); DELETE FROM p WHERE id=2;
CREATE TABLE plain (d datetime(6)); INSERT INTO plain VALUES ('2038-01-19 03:14:07.999999');
"""
SAYS = "SELECT * FROM d.v; SELECT COUNT(*) FROM d.v FOR SYSTEM_TIME ALL; SELECT id FROM d.p; SELECT * FROM d.plain"


@pytest.fixture
def other_end(source: Any, tools: Any, tmp_path: Path) -> Path:
    """Extras of a server on which time ends when it does not here."""
    source.sql(TABLES)
    tools.dump(source, tmp_path)
    for table in ("v", "p"):
        rows = tmp_path / "myfs/d/tables" / table / "rows/first"
        text = rows.read_text()
        here, there = ENDS if ENDS[0] in text else reversed(ENDS)
        rows.write_text(text.replace(here, there))
        assert rows.read_text() != text
    return tmp_path


@pytest.mark.parametrize("loads", ["ON", "OFF"])
def test_current_rows_are_current(source: Any, new_server: Any, tools: Any, other_end: Path, loads: str) -> None:
    target = new_server(f"--local-infile={loads}")
    assert tools.restore(target, other_end).failures == ()
    assert target.sql(SAYS) == source.sql(SAYS)
    assert target.sql("DELETE FROM d.v; SELECT COUNT(*) FROM d.v FOR SYSTEM_TIME ALL") == "3\n"


def test_current_rows_of_a_script_are_current(source: Any, target: Any, other_end: Path) -> None:
    script = other_end / "script.sql"
    CliRunner().invoke(fs2mysql, ["--tofile", str(script), str(other_end / "myfs")], catch_exceptions=False)
    target.sql(script.read_text())
    assert target.sql(SAYS) == source.sql(SAYS)
