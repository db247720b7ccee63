"""A restore can be undone: after it succeeded, and after it was killed at any of its steps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

OLD = """
SET foreign_key_checks=0;
CREATE DATABASE shop CHARACTER SET latin1 COMMENT 'old';
CREATE USER keeper@'%' IDENTIFIED BY 'k', app@'%' IDENTIFIED BY 'old'; CREATE ROLE readers; GRANT readers TO keeper@'%';
GRANT SELECT ON shop.* TO readers;
USE shop;
CREATE TABLE parent (id int PRIMARY KEY, old_column text); INSERT INTO parent VALUES (1,'old'),(5,'row');
CREATE TABLE child (id int PRIMARY KEY, p int, CONSTRAINT k FOREIGN KEY (p) REFERENCES parent (id));
INSERT INTO child VALUES (1,5);
CREATE TABLE only_old (id int PRIMARY KEY, p int, CONSTRAINT k2 FOREIGN KEY (p) REFERENCES parent (id));
CREATE TABLE was_table (id int); CREATE VIEW was_view AS SELECT id FROM parent;
CREATE VIEW kept AS SELECT id FROM was_view;
CREATE TABLE m1 (id int) ENGINE=MyISAM; CREATE TABLE mm (id int) ENGINE=MERGE UNION=(m1);
CREATE SEQUENCE s START WITH 7; DO NEXTVAL(s);
CREATE TRIGGER t AFTER INSERT ON parent FOR EACH ROW SET @a = 1;
CREATE FUNCTION f() RETURNS int RETURN 1; CREATE PROCEDURE p() SELECT 1;
CREATE EVENT e ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01' DISABLE DO SELECT 1;
CREATE DATABASE watcher; CREATE TABLE watcher.w (id int PRIMARY KEY, p int,
  CONSTRAINT far FOREIGN KEY (p) REFERENCES shop.parent (id)); INSERT INTO watcher.w VALUES (1,1);
CREATE VIEW watcher.v AS SELECT id FROM shop.parent;
"""
NEW = """
SET foreign_key_checks=0;
CREATE DATABASE shop CHARACTER SET utf8mb4;
CREATE USER app@'%' IDENTIFIED BY 'new', fresh@'%'; CREATE ROLE readers, `more`;
GRANT `more` TO readers; GRANT INSERT ON shop.* TO readers;
USE shop;
CREATE TABLE parent (id int PRIMARY KEY, new_column text); INSERT INTO parent VALUES (1,'new'),(2,'row');
CREATE TABLE child (id int PRIMARY KEY, p int, CONSTRAINT k FOREIGN KEY (p) REFERENCES parent (id));
INSERT INTO child VALUES (1,2);
CREATE TABLE was_view (id int); CREATE VIEW was_table AS SELECT id FROM parent; CREATE TABLE only_new (id int);
CREATE TABLE m1 (id int) ENGINE=MyISAM; CREATE TABLE mm (id int) ENGINE=MERGE UNION=(m1);
CREATE SEQUENCE s START WITH 70;
CREATE TRIGGER t AFTER INSERT ON parent FOR EACH ROW SET @b = 1;
CREATE FUNCTION f() RETURNS int RETURN 2; CREATE PROCEDURE p2() SELECT 2;
CREATE EVENT e2 ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01' DISABLE DO SELECT 1;
CREATE DATABASE brandnew;
CREATE TABLE brandnew.t (id int, p int, CONSTRAINT far2 FOREIGN KEY (p) REFERENCES shop.parent (id));
INSERT INTO brandnew.t VALUES (1,2); CREATE VIEW brandnew.v AS SELECT id FROM shop.was_view;
GRANT SELECT ON brandnew.t TO fresh@'%';
"""

KILLER = """
import os, signal, sys
from pathlib import Path
from tklbam_core.api import Limits, RestoreRequest, RollbackRequest
from tklbam_mysql.connection import Session
from tklbam_mysql.plugin import MysqlPlugin
what, extras, rollback, socket, count = sys.argv[1:]
left = [int(count)]
execute = Session.execute
def counted(self, statement):
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    text = statement if isinstance(statement, str) else statement.decode("utf-8", "replace")
    if text.lstrip().split(" ", 1)[0] not in ("SET", "USE", "FLUSH"):
        left[0] -= 1
    return execute(self, statement)
Session.execute = counted
options = {"socket": socket, "user": "root"}
if what == "restore":
    MysqlPlugin().tklbam_database_restore(RestoreRequest(
        extras=Path(extras), limits=Limits(), rollback=Path(rollback), options=options))
else:
    MysqlPlugin().tklbam_database_rollback(RollbackRequest(rollback=Path(rollback), options=options))
print("statements:", int(count) - left[0])
"""


def run_killed(what: str, extras: Path, rollback: Path, socket: str, count: int) -> bool:
    """Runs a restore or rollback that kills itself before its statement number `count`; whether it was killed."""
    done = subprocess.run(
        [sys.executable, "-c", KILLER, what, str(extras), str(rollback), socket, str(count)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, -9), done.stderr
    return done.returncode == -9


@pytest.fixture
def extras(source: Any, tools: Any, tmp_path: Path) -> Path:
    source.sql(NEW)
    assert tools.dump(source, tmp_path / "extras").failures == ()
    return tmp_path / "extras"


def test_rollback_puts_everything_back(target: Any, extras: Path, tools: Any, tmp_path: Path) -> None:
    target.sql(OLD)
    before = target.state()
    (tmp_path / "rollback").mkdir(mode=0o700)
    report = tools.restore(target, extras, rollback=tmp_path / "rollback")
    assert report.failures == ()
    assert target.sql("SELECT new_column FROM shop.parent WHERE id=1") == "new\n"
    assert target.sql("SELECT * FROM brandnew.v; SELECT * FROM brandnew.t") == "1\t2\n"
    assert target.sql("SHOW TABLES FROM shop LIKE 'only_old'") == ""
    assert "REFERENCES `shop`.`parent`" in target.sql("SHOW CREATE TABLE watcher.w; SHOW CREATE TABLE brandnew.t")
    assert "GRANT `readers` TO `keeper`" in target.sql("SHOW GRANTS FOR keeper@'%'")
    assert (tmp_path / "rollback/state.json").stat().st_mode & 0o777 == 0o600
    rolled = tools.roll_back(target, tmp_path / "rollback")
    assert rolled is not None
    assert rolled.failures == ()
    assert target.state() == before
    again = tools.roll_back(target, tmp_path / "rollback")
    assert again is not None
    assert target.state() == before


def test_nothing_saved_is_nothing_to_roll_back(target: Any, tools: Any, tmp_path: Path) -> None:
    assert tools.roll_back(target, tmp_path) is None


def test_restore_without_rollback_leaves_nothing_behind(target: Any, extras: Path, tools: Any) -> None:
    target.sql(OLD)
    tools.restore(target, extras)
    assert "tklbam" not in target.sql("SHOW DATABASES")


def test_next_restore_cleans_up_what_an_older_one_kept(target: Any, extras: Path, tools: Any, tmp_path: Path) -> None:
    target.sql(OLD)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    tools.restore(target, extras, rollback=tmp_path / "one")
    first = target.sql("SHOW DATABASES LIKE 'tklbam%'")
    middle = target.sql("SELECT * FROM shop.parent")
    tools.restore(target, extras, rollback=tmp_path / "two")
    second = target.sql("SHOW DATABASES LIKE 'tklbam%'")
    assert first
    assert second
    assert not set(first.split()) & set(second.split())
    tools.roll_back(target, tmp_path / "two")
    assert target.sql("SELECT * FROM shop.parent") == middle
    assert target.sql("SHOW DATABASES LIKE 'tklbam%'") == ""


@pytest.mark.slow
def test_killed_restore_rolls_back(target: Any, extras: Path, tools: Any, tmp_path: Path) -> None:
    """Killed before each of its statements in turn; and each rollback once killed itself, and run again."""
    target.sql(OLD)
    before = target.state()
    count = 0
    killed = True
    step = int(os.environ.get("TKLBAM_KILL_STEP", "6"))
    while killed:
        rollback = tmp_path / f"rollback{count}"
        rollback.mkdir()
        killed = run_killed("restore", extras, rollback, target.socket, count)
        run_killed("rollback", extras, rollback, target.socket, count)
        if (rollback / "state.json").exists():
            report = tools.roll_back(target, rollback)
            assert report is not None
            assert report.failures == (), f"killed before statement {count}"
        after = target.state()
        # Before the record there may be leftovers that the next restore removes, but no change.
        assert "\n".join(line for line in after.split("\n") if not line.startswith("tklbam_")) == before, count
        count += step
    assert count > 30
