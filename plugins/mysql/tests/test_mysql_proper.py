"""MySQL proper, out of an unpacked root (tests/make-server-root): by itself, and with MariaDB and its programs."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.other_servers import root_or_skip
from tklbam_core.api import DatabaseError, DatabaseReport, ProgressEvent, RestoreRequest
from tklbam_mysql.cli import fs2mysql
from tklbam_mysql.connection import Error
from tklbam_mysql.plugin import MysqlPlugin

root_or_skip("TKLBAM_MYSQL_ROOT", "sid DIRECTORY mysql-server-core mysql-client-core")
HERE = Path(__file__).parent
DATABASES = ("shop", "other", "we.ird/na`me%")
OLD = "CREATE DATABASE plain; CREATE TABLE plain.old (a int PRIMARY KEY); INSERT INTO plain.old VALUES (5);"


def client_of(extras: Path) -> str:
    return str(json.loads((extras / "myfs/manifest.json").read_text())["client"])


def failed(report: DatabaseReport, database: str) -> list[str]:
    return [f"{each.table or ''}: {each.reason}" for each in report.failures if each.database == database]


def make_comparable(*servers: Any) -> None:
    """mysqldump itself stops at a view whose definer was missing when it was made, and at names with newlines."""
    for server in servers:
        server.sql("CREATE USER 'gone'@'%'; GRANT ALL ON *.* TO 'gone'@'%'; DROP TABLE shop.`new\nline`")
        assert server.sql("SELECT * FROM shop.on_orphan; DROP VIEW shop.on_orphan") == "1\n2\n"


@pytest.mark.parametrize(
    "options",
    [
        ("--local-infile=OFF",),
        ("--local-infile=ON", "--sql-mode=ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,TRADITIONAL"),
    ],
    ids=["inserts", "loads"],
)
def test_everything_comes_back_identical(
    new_mysql: Any, own_client: None, tools: Any, tmp_path: Path, fidelity_mysql: str, options: tuple[str, ...]
) -> None:
    source, target = (new_mysql("--partial-revokes=ON", *options) for _ in range(2))
    source.sql(fidelity_mysql)
    report = tools.dump(source, tmp_path)
    assert report.failures == ()
    assert client_of(tmp_path).startswith("mysqldump ")
    assert [warning for warning in report.warnings if "`two`@`%`: its second password" in warning]
    target.sql(
        "CREATE DATABASE shop; CREATE TABLE shop.old (a int); CREATE USER app@'%'; CREATE ROLE r; GRANT r TO app@'%'"
    )
    before = target.state()
    (tmp_path / "rollback").mkdir()
    restored = tools.restore(target, tmp_path, rollback=tmp_path / "rollback")
    assert (restored.failures, [each.warnings for each in restored.databases]) == ((), [()] * 3)
    for database in DATABASES:
        assert target.checksums(database) == source.checksums(database)
    make_comparable(source, target)
    source.sql("CREATE ROLE r")
    assert target.state() == source.state()
    target.sql("DROP USER 'gone'@'%'")
    tools.roll_back(target, tmp_path / "rollback")
    assert target.state() == before


def test_script_restores_what_the_directory_holds(
    new_mysql: Any, own_client: None, tools: Any, tmp_path: Path, fidelity_mysql: str
) -> None:
    source, target = (new_mysql("--partial-revokes=ON") for _ in range(2))
    source.sql(fidelity_mysql)
    tools.dump(source, tmp_path)
    script = tmp_path / "script.sql"
    CliRunner().invoke(fs2mysql, ["--tofile", str(script), str(tmp_path / "myfs")], catch_exceptions=False)
    target.sql(script.read_text(errors="surrogateescape"), "--binary-mode")
    for database in DATABASES:
        assert target.checksums(database) == source.checksums(database)
    make_comparable(source, target)
    assert target.state() == source.state()


def test_tables_get_no_keys_and_files_that_they_had_not(
    new_mysql: Any, own_client: None, tools: Any, tmp_path: Path
) -> None:
    made = "--sql-generate-invisible-primary-key=ON"
    source = new_mysql(made, "--show-gipk-in-create-table-and-information-schema=OFF")
    source.sql(
        "CREATE DATABASE d; USE d; CREATE TABLE own (a int); INSERT INTO own VALUES (1),(2);"
        "SET sql_generate_invisible_primary_key=0; CREATE TABLE none (a int); INSERT INTO none VALUES (5);"
        "CREATE TABLESPACE ts ADD DATAFILE 'ts.ibd'; CREATE TABLE placed (a int) TABLESPACE ts"
    )
    assert tools.dump(source, tmp_path).failures == ()
    for options in ((made,), ("--sql-require-primary-key=ON",)):
        target = new_mysql(*options)
        report = tools.restore(target, tmp_path)
        assert report.failures == ()
        assert report.databases[0].warnings == ("table placed: this server does not know the tablespace ts",)
        # mysqldump does not see values of a key that the server hides.
        assert target.sql("SELECT COUNT(my_row_id), SUM(a) FROM d.own") == "2\t3\n"
        assert "PRIMARY" not in target.sql("SHOW CREATE TABLE d.none")
        target.stop()


def test_foreign_keys_from_elsewhere_stay(new_mysql: Any, tools: Any, tmp_path: Path) -> None:
    server = new_mysql()
    server.sql(
        "CREATE DATABASE plain; CREATE TABLE plain.old (a int PRIMARY KEY); INSERT INTO plain.old VALUES (1);"
        "CREATE DATABASE `we-ird dß`; USE `we-ird dß`;"
        "CREATE TABLE `tä-b` (a int, CONSTRAINT `k-ß` FOREIGN KEY (a) REFERENCES plain.old (a));"
        "INSERT INTO `tä-b` VALUES (1)"
    )
    tools.dump(server, tmp_path)
    server.sql("INSERT INTO plain.old VALUES (5)")
    before = server.state()
    (tmp_path / "rollback").mkdir()
    assert tools.restore(server, tmp_path, "plain/old", "-mysql", rollback=tmp_path / "rollback").failures == ()
    assert server.sql("SELECT * FROM plain.old") == "1\n"
    assert "CONSTRAINT `k-ß`" in server.sql("SHOW CREATE TABLE `we-ird dß`.`tä-b`")
    with server.session() as session, pytest.raises(Error, match="foreign key constraint fails"):
        session.execute("INSERT INTO `we-ird dß`.`tä-b` VALUES (5)")
    tools.roll_back(server, tmp_path / "rollback")
    assert server.state() == before


def test_server_killed_in_mid_restore(new_mysql: Any, own_client: None, tools: Any, tmp_path: Path) -> None:
    source, target = new_mysql(), new_mysql()
    source.sql(
        "CREATE DATABASE plain; CREATE TABLE plain.big (id int PRIMARY KEY, t text);"
        "SET cte_max_recursion_depth=100000;"
        "INSERT INTO plain.big SELECT i, REPEAT('x', 1000) FROM"
        "(WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM s WHERE i<30000) SELECT * FROM s) AS numbers"
    )
    tools.dump(source, tmp_path)
    target.sql(OLD)
    before = target.state()
    (tmp_path / "rollback").mkdir()

    def kill(event: ProgressEvent) -> None:
        if event.done > 8 << 20:
            target.stop(signal.SIGKILL)

    request = RestoreRequest(
        extras=tmp_path,
        limits=tools.limits(),
        rollback=tmp_path / "rollback",
        options=target.options,
        progress=kill,
    )
    with pytest.raises(DatabaseError, match=r"went away while plain\.big|loading stopped"):
        MysqlPlugin().tklbam_database_restore(request)
    target.start()
    assert target.sql("SELECT * FROM plain.old") == "5\n"
    tools.roll_back(target, tmp_path / "rollback")
    assert target.state() == before


SAYS = """
SELECT id, name, mail, data, f+0e0, d, de, created, low, up, HEX(b), HEX(bl), ST_AsText(p), e, s, hidden, z
 FROM plain.users ORDER BY id;
SELECT * FROM plain.posts; SELECT id, f+0e0 FROM plain.my; SELECT * FROM plain.v ORDER BY name;
CALL plain.pr(1); SELECT plain.fu('a'); SELECT count(*) FROM information_schema.EVENTS WHERE EVENT_SCHEMA='plain';
INSERT INTO plain.posts VALUES (9, 1, 'new'); SELECT t FROM plain.posts WHERE id=9; DELETE FROM plain.posts WHERE id=9;
"""


def test_from_mysql_to_mariadb(new_mysql: Any, own_client: None, target: Any, tools: Any, tmp_path: Path) -> None:
    source = new_mysql()
    source.sql((HERE / "common.sql").read_text())
    source.sql(
        "CREATE DATABASE own; CREATE TABLE own.t (a int, KEY ((a + 1)));"
        "CREATE DATABASE ja COLLATE utf8mb4_ja_0900_as_cs"
    )
    assert tools.dump(source, tmp_path).failures == ()
    target.sql(f"{OLD} CREATE DATABASE own; CREATE TABLE own.t (b int); CREATE USER pw@'%' IDENTIFIED BY 'kept'")
    account = "SHOW GRANTS FOR pw@'%'"
    before, kept = target.state(), target.sql(account)
    (tmp_path / "rollback").mkdir()
    report = tools.restore(target, tmp_path, rollback=tmp_path / "rollback")
    assert [each.database for each in report.failures] == ["ja", "own", "mysql"]
    assert "utf8mb4_ja_0900_as_cs" in failed(report, "ja")[0]
    assert "table t" in failed(report, "own")[0]
    assert "`pw`@`%`: it signs in by caching_sha2_password" in failed(report, "mysql")[0]
    assert target.sql("SHOW COLUMNS FROM own.t").startswith("b\t")
    assert target.sql(account) == kept
    (plain,) = report.databases
    assert [each for each in plain.warnings if "utf8mb4_0900_ai_ci is not known here; utf8mb4_uca1400_nopad" in each]
    assert target.sql(SAYS) == source.sql(SAYS)
    tools.roll_back(target, tmp_path / "rollback")
    assert target.state() == before


def test_from_mariadb_to_mysql(new_mysql: Any, source: Any, tools: Any, tmp_path: Path) -> None:
    source.sql((HERE / "common.sql").read_text())
    source.sql(
        "CREATE DATABASE own COMMENT 'mine'; CREATE TABLE own.t (a int) WITH SYSTEM VERSIONING;"
        "CREATE DATABASE seq; CREATE SEQUENCE seq.s;"
        "CREATE DATABASE ticks; CREATE TABLE ticks.t (a int DEFAULT NEXTVAL(seq.s));"
        "CREATE DATABASE noted COMMENT 'a note'; CREATE TABLE noted.t (a int, KEY k (a) IGNORED);"
        "CREATE ROLE reader; GRANT SELECT ON plain.posts TO reader;"
        "CREATE USER nobody@localhost; GRANT reader TO nobody@localhost;"
        "SET DEFAULT ROLE reader FOR nobody@localhost"
    )
    assert tools.dump(source, tmp_path).failures == ()
    target = new_mysql()
    target.sql(f"{OLD} CREATE DATABASE own; CREATE TABLE own.t (b int); CREATE USER pw@'%' IDENTIFIED BY 'kept'")
    account = "SHOW CREATE USER pw@'%'"
    before, kept = target.state(), target.sql(account)
    (tmp_path / "rollback").mkdir()
    report = tools.restore(target, tmp_path, rollback=tmp_path / "rollback")
    assert [each.database for each in report.failures] == ["own", "seq", "ticks", "mysql"]
    assert "table t" in failed(report, "own")[0]
    assert "sequence s" in failed(report, "seq")[0]
    assert target.sql("SHOW DATABASES LIKE 'ticks'") == ""
    assert "`pw`@`%`: it signs in by mysql_native_password" in failed(report, "mysql")[0]
    assert target.sql("SHOW COLUMNS FROM own.t").startswith("b\t")
    assert target.sql(account) == kept
    noted = next(each for each in report.databases if each.name == "noted")
    assert "MySQL keeps no comments of databases: COMMENT 'a note'" in noted.warnings
    assert "INVISIBLE" in target.sql("SHOW CREATE TABLE noted.t")
    assert target.sql("SHOW GRANTS FOR nobody@localhost").endswith("GRANT `reader`@`%` TO `nobody`@`localhost`\n")
    assert target.sql(SAYS) == source.sql(SAYS)
    tools.roll_back(target, tmp_path / "rollback")
    assert target.state() == before


def test_what_names_no_collation_has_the_old_default(new_mysql: Any, source: Any, tools: Any, tmp_path: Path) -> None:
    """As older servers' dumps are: utf8mb4 alone is another collation on MySQL 8."""
    source.sql("CREATE DATABASE d CHARACTER SET utf8mb4; CREATE TABLE d.t (a varchar(9)) CHARSET=utf8mb4")
    tools.dump(source, tmp_path)
    for path in (tmp_path / "myfs/d/init", tmp_path / "myfs/d/tables/t/init"):
        text = path.read_text()
        path.write_text(re.sub(r" COLLATE[ =]utf8mb4_general_ci", "", text))
        assert path.read_text() != text
    target = new_mysql()
    assert tools.restore(target, tmp_path).failures == ()
    assert "utf8mb4_general_ci" in target.sql("SHOW CREATE DATABASE d")
    assert "utf8mb4_general_ci" in target.sql("SHOW CREATE TABLE d.t")


def without(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """As if this program were not installed."""
    which = shutil.which
    monkeypatch.setattr(
        shutil, "which", lambda name, *more, **words: None if name == program else which(name, *more, **words)
    )


def test_mariadbs_program_reads_mysql(
    new_mysql: Any, tools: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "mysqldump")
    source, target = new_mysql(), new_mysql()
    source.sql((HERE / "common.sql").read_text())
    source.sql(
        "CREATE TABLE plain.vectors (v vector(3)); INSERT INTO plain.vectors VALUES (TO_VECTOR('[1,2.5,-3e-30]'))"
    )
    assert tools.dump(source, tmp_path).failures == ()
    assert client_of(tmp_path).startswith("mariadb-dump ")
    assert tools.restore(target, tmp_path).failures == ()
    assert (target.checksums("plain"), target.state()) == (source.checksums("plain"), source.state())


def test_mysqls_program_reads_mariadb(
    own_client: None, source: Any, target: Any, tools: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.sql((HERE / "common.sql").read_text())
    tools.dump(source, tmp_path / "preferred")
    assert client_of(tmp_path / "preferred").startswith("mariadb-dump ")
    without(monkeypatch, "mariadb-dump")
    assert tools.dump(source, tmp_path).failures == ()
    assert client_of(tmp_path).startswith("mysqldump ")
    assert tools.restore(target, tmp_path).failures == ()
    assert (target.checksums("plain"), target.state()) == (source.checksums("plain"), source.state())


def test_an_account_never_gets_more_than_it_had(new_mysql: Any, tools: Any, tmp_path: Path) -> None:
    source, target = new_mysql("--partial-revokes=ON"), new_mysql()
    source.sql("CREATE DATABASE d; CREATE USER u@'%'; GRANT SELECT ON *.* TO u@'%'; REVOKE SELECT ON d.* FROM u@'%'")
    tools.dump(source, tmp_path)
    report = tools.restore(target, tmp_path)
    assert "account `u`@`%`: REVOKE SELECT" in failed(report, "mysql")[0]
    assert target.sql("SHOW GRANTS FOR u@'%'") == "GRANT USAGE ON *.* TO `u`@`%`\n"


def test_strangers_keep_the_roles_that_come_again(new_mysql: Any, tools: Any, tmp_path: Path) -> None:
    source, target = new_mysql(), new_mysql()
    source.sql("CREATE ROLE r; GRANT SELECT ON *.* TO r")
    tools.dump(source, tmp_path)
    target.sql("CREATE ROLE r; CREATE USER s@'%'; GRANT r TO s@'%' WITH ADMIN OPTION; SET DEFAULT ROLE r TO s@'%'")
    before = target.sql("SHOW GRANTS FOR s@'%'; SHOW CREATE USER s@'%'")
    assert tools.restore(target, tmp_path).failures == ()
    assert target.sql("SHOW GRANTS FOR s@'%'; SHOW CREATE USER s@'%'") == before
    assert "SELECT" in target.sql("SHOW GRANTS FOR r")
