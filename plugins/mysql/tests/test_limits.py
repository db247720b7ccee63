"""Limits: which databases and tables travel, on backup and on restore."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

DATA = """
CREATE DATABASE one; USE one; CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1),(2);
CREATE TABLE cache_x (id int PRIMARY KEY); INSERT INTO cache_x VALUES (1); CREATE TABLE cache_y LIKE cache_x;
INSERT INTO cache_y VALUES (7); CREATE PROCEDURE p() SELECT 1;
CREATE DATABASE two; CREATE TABLE two.b (id int); INSERT INTO two.b VALUES (3);
CREATE USER someone@'%';
"""


@pytest.fixture
def filled(source: Any) -> Any:
    source.sql(DATA)
    return source


def rows(extras: Path) -> dict[str, Any]:
    databases = json.loads((extras / "myfs/manifest.json").read_text())["databases"]
    return {name: values["tables"] for name, values in databases.items()}


def test_excluded_table_keeps_its_schema_and_loses_its_rows(
    filled: Any, target: Any, tools: Any, tmp_path: Path
) -> None:
    tools.dump(filled, tmp_path, "-one/cache_*")
    assert rows(tmp_path) == {"one": {"a": 2, "cache_x": None, "cache_y": None}, "two": {"b": 1}}
    tools.restore(target, tmp_path)
    assert target.sql("SELECT count(*) FROM one.a; SELECT count(*) FROM one.cache_x") == "2\n0\n"


def test_one_positive_rule_leaves_everything_else_out_but_accounts(filled: Any, tools: Any, tmp_path: Path) -> None:
    tools.dump(filled, tmp_path, "two")
    assert rows(tmp_path) == {"two": {"b": 1}}
    assert "someone" in (tmp_path / "myfs/accounts").read_text()
    tools.dump(filled, tmp_path / "more", "two", "-mysql")
    assert not (tmp_path / "more/myfs/accounts").exists()


def test_limit_that_matches_nothing_is_a_warning(filled: Any, target: Any, tools: Any, tmp_path: Path) -> None:
    report = tools.dump(filled, tmp_path, "-three", "-one/nothing")
    assert [w for w in report.warnings if "-mysql:three" in w]
    assert [w for w in report.warnings if "-mysql:one/nothing" in w]
    report = tools.restore(target, tmp_path, "-four")
    assert [w for w in report.warnings if "-mysql:four" in w]


def test_restore_leaves_an_excluded_table_as_it_is_and_makes_a_missing_one_empty(
    filled: Any, target: Any, tools: Any, tmp_path: Path
) -> None:
    tools.dump(filled, tmp_path)
    target.sql(
        "CREATE DATABASE one; USE one; CREATE TABLE cache_x (id int PRIMARY KEY, mine int); "
        "INSERT INTO cache_x VALUES (5,5); CREATE TRIGGER mine AFTER INSERT ON cache_x FOR EACH ROW SET @a=1;"
        "CREATE TABLE a (x int); CREATE TABLE stranger (x int);"
    )
    (tmp_path / "rollback").mkdir()
    before = target.state()
    report = tools.restore(target, tmp_path, "-one/cache_*", "-two", rollback=tmp_path / "rollback")
    assert report.failures == ()
    assert target.sql("SELECT * FROM one.cache_x; SELECT count(*) FROM one.cache_y") == "5\t5\n0\n"
    assert target.sql("SELECT count(*) FROM one.a; SHOW TRIGGERS FROM one").startswith("2\nmine\t")
    assert target.sql("SHOW TABLES FROM one LIKE 'stranger'") == ""
    assert target.sql("SHOW DATABASES LIKE 'two'") == ""
    tools.roll_back(target, tmp_path / "rollback")
    assert target.state() == before


def test_restore_of_one_table_touches_nothing_else_of_its_database(
    filled: Any, target: Any, tools: Any, tmp_path: Path
) -> None:
    tools.dump(filled, tmp_path)
    target.sql(
        "CREATE DATABASE one CHARACTER SET latin1; USE one; CREATE TABLE a (id int PRIMARY KEY, x int); "
        "CREATE TABLE keeps (id int PRIMARY KEY, a int, CONSTRAINT k FOREIGN KEY (a) REFERENCES a (id)); "
        "INSERT INTO a VALUES (1,1); INSERT INTO keeps VALUES (1,1); CREATE PROCEDURE p() SELECT 'mine'; "
        "CREATE VIEW v AS SELECT id FROM a; CREATE TABLE cache_y (id int); INSERT INTO cache_y VALUES (99)"
    )
    before = target.state()
    (tmp_path / "rollback").mkdir()
    report = tools.restore(target, tmp_path, "one/a", "-mysql", rollback=tmp_path / "rollback")
    assert report.failures == ()
    assert target.sql("SELECT * FROM one.v; SELECT * FROM one.keeps; CALL one.p()") == "1\n2\n1\t1\nmine\n"
    assert target.sql("SELECT * FROM one.cache_y; SELECT count(*) FROM one.cache_x") == "99\n0\n"
    assert "REFERENCES `a`" in target.sql("SHOW CREATE TABLE one.keeps")
    assert "latin1" in target.sql("SHOW CREATE DATABASE one")
    assert target.sql("SELECT count(*) FROM mysql.user WHERE User='someone'") == "0\n"
    tools.roll_back(target, tmp_path / "rollback")
    assert target.state() == before


def test_a_simulated_restore_changes_nothing(filled: Any, target: Any, tools: Any, tmp_path: Path) -> None:
    tools.dump(filled, tmp_path)
    target.sql("CREATE DATABASE one")
    before = target.state()
    report = tools.restore(target, tmp_path, simulate=True)
    assert {result.name: result.rows for result in report.databases} == {"one": 4, "two": 1}
    assert "would be replaced" in report.databases[0].warnings
    assert target.state() == before
