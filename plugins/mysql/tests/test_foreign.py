"""What another make of server says: put in this one's words, or left out by name, with what is here left as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.mariadb import MariaDB
from tklbam_core.api import ProgressEvent, RestoreRequest
from tklbam_mysql.connection import Server
from tklbam_mysql.foreign import NotCarriedError, account
from tklbam_mysql.layout import AccountEntry, TableFile
from tklbam_mysql.load import computed_values, insert_lines
from tklbam_mysql.plugin import MysqlPlugin
from tklbam_mysql.settings import Settings

NATIVE = "*3600EB0AE4F7B67FB00A3BC3D550DAC7E0D7D032"
HASH = f"PASSWORD '{NATIVE}'"
OPTIONS = "PASSWORD HISTORY 5 PASSWORD REUSE INTERVAL DEFAULT PASSWORD REQUIRE CURRENT DEFAULT COMMENT 'it''s'"
USER = "CREATE USER `a`@`h`"
MARIADB = Server(Settings("the test"), "mariadb", "10.11.1-MariaDB", (10, 11, 1))
MYSQL = Server(Settings("the test"), "mysql", "8.4.0", (8, 4, 0))
PLUGINS = frozenset({"mysql_native_password", "unix_socket"})


@pytest.mark.parametrize(
    ("server", "said", "put", "lost"),
    [
        (
            MARIADB,
            f"{USER} IDENTIFIED WITH 'mysql_native_password' AS '{NATIVE}' REQUIRE NONE ACCOUNT LOCK {OPTIONS}",
            f"{USER} IDENTIFIED VIA mysql_native_password USING '{NATIVE}' REQUIRE NONE ACCOUNT LOCK",
            ["PASSWORD HISTORY 5", "COMMENT 'it''s'"],
        ),
        (MARIADB, f"{USER} IDENTIFIED WITH 'auth_socket'", f"{USER} IDENTIFIED VIA unix_socket", []),
        (MARIADB, "GRANT BACKUP_ADMIN,XA_A ON *.* TO `a`@`h`", None, ["privileges BACKUP_ADMIN,XA_A"]),
        (MARIADB, "GRANT SELECT, CREATE ROLE ON *.* TO `a`@`h`", "GRANT SELECT ON *.* TO `a`@`h`", []),
        (MARIADB, f"{USER} IDENTIFIED BY {HASH}", f"{USER} IDENTIFIED BY {HASH}", []),
        (
            MYSQL,
            f"{USER} IDENTIFIED BY {HASH} REQUIRE SSL",
            f"{USER} IDENTIFIED WITH mysql_native_password AS '{NATIVE}' REQUIRE SSL",
            [],
        ),
        (MYSQL, f"GRANT USAGE ON *.* TO `a`@`h` IDENTIFIED BY {HASH}", "GRANT USAGE ON *.* TO `a`@`h`", []),
        (MYSQL, "SET DEFAULT ROLE `r FOR x` FOR `a`@`h`", "SET DEFAULT ROLE `r FOR x` TO `a`@`h`", []),
    ],
)
def test_accounts_in_other_words(server: Server, said: str, put: str | None, lost: list[str]) -> None:
    adapted, left = account(AccountEntry("`a`@`h`", False, [said]), server, PLUGINS)
    assert (adapted.statements, left) == ([put] if put else [], lost)


@pytest.mark.parametrize(
    ("server", "said", "why"),
    [
        (MARIADB, f"{USER} IDENTIFIED WITH 'caching_sha2_password' AS 0x2441 REQUIRE NONE", "caching_sha2"),
        (MYSQL, f"{USER} IDENTIFIED VIA unix_socket OR mysql_native_password USING '{NATIVE}'", "OR mysql_native"),
        (MYSQL, f"{USER} IDENTIFIED VIA ed25519 USING '{NATIVE}'", "ed25519"),
    ],
)
def test_accounts_that_nobody_could_use(server: Server, said: str, why: str) -> None:
    with pytest.raises(NotCarriedError, match=why) as caught:
        account(AccountEntry("`a`@`h`", False, [said]), server, PLUGINS)
    assert NATIVE not in str(caught.value)


def test_a_dump_in_mysqls_words_restores(source: Any, target: Any, tools: Any, tmp_path: Path) -> None:
    source.sql(
        "CREATE DATABASE d; CREATE TABLE d.t (a varchar(9), b int, KEY k (b)); INSERT INTO d.t VALUES ('x',1);"
        "CREATE FUNCTION d.f() RETURNS int RETURN 1; CREATE USER kept@'%', native@'%', broken@'%'"
    )
    tools.dump(source, tmp_path)
    myfs = tmp_path / "myfs"
    collation = "utf8mb4_0900_ai_ci"
    (myfs / "d/init").write_text(
        f"CREATE DATABASE `d` /*!40100 DEFAULT CHARACTER SET utf8mb4 COLLATE {collation} */ "
        "/*!80016 DEFAULT ENCRYPTION='N' */"
    )
    (myfs / "d/tables/t/init").write_text(
        f"CREATE TABLE `t` (\n  `a` varchar(9) COLLATE {collation} DEFAULT NULL,\n"
        "  `b` int DEFAULT '5' /*!80023 INVISIBLE */,\n  KEY `k` (`b`) /*!80000 INVISIBLE */,\n"
        "  CONSTRAINT `c` CHECK ((`b` > 0)) /*!80016 NOT ENFORCED */\n) ENGINE=InnoDB"
    )
    routine = json.loads((myfs / "d/routines").read_text())
    routine |= {"sql_mode": "STRICT_TRANS_TABLES,TIME_TRUNCATE_FRACTIONAL", "database_collation": collation}
    (myfs / "d/routines").write_text(json.dumps(routine) + "\n")
    said = {
        "kept": "CREATE USER `kept`@`%` IDENTIFIED WITH 'caching_sha2_password' AS 0x24",
        "native": f"CREATE USER `native`@`%` IDENTIFIED WITH 'mysql_native_password' AS '{NATIVE}' {OPTIONS}",
        "broken": "CREATE USER `broken`@`%` REQUIRE WHAT NOBODY KNOWS",
    }
    entries = [{"account": f"`{name}`@`%`", "role": False, "statements": [text]} for name, text in said.items()]
    (myfs / "accounts").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    target.sql(
        "CREATE USER kept@'%' IDENTIFIED BY 'a', broken@'%' IDENTIFIED BY 'b'; GRANT SELECT ON *.* TO broken@'%'"
    )
    accounts = "SHOW GRANTS FOR kept@'%'; SHOW GRANTS FOR broken@'%'"
    before = target.sql(accounts)
    report = tools.restore(target, tmp_path)
    assert [each.reason.split(":")[0] for each in report.failures] == ["account `kept`@`%`", "account `broken`@`%`"]
    assert target.sql(accounts) == before
    assert NATIVE in target.sql("SHOW GRANTS FOR native@'%'")
    assert "account `native`@`%`: this server does not know PASSWORD HISTORY 5" in report.warnings
    (result,) = report.databases
    assert any("NOT ENFORCED" in each for each in result.warnings)
    # Newer MariaDBs know it by that name, too.
    known = bool(target.sql(f"SHOW COLLATION LIKE '{collation}'"))
    taken = collation if known else "utf8mb4_uca1400_nopad_ai_ci"
    told = [each for each in result.warnings if f"{collation} is not known here" in each]
    assert not told if known else any(f"; {taken}" in each for each in told)
    table = target.sql("SHOW CREATE TABLE d.t")
    for each in ("INVISIBLE", "DEFAULT 5", "IGNORED", taken):
        assert each in table
    assert target.sql("SELECT a, b, d.f() FROM d.t") == "x\t1\t1\n"


def test_capital_letters_come_to_a_server_of_small_ones(
    source: Any, new_server: Any, tools: Any, tmp_path: Path
) -> None:
    source.sql(
        "CREATE DATABASE Shop; CREATE TABLE Shop.Goods (id int PRIMARY KEY); INSERT INTO Shop.Goods VALUES (1);"
        "CREATE TABLE Shop.Sold (id int, CONSTRAINT k FOREIGN KEY (id) REFERENCES Shop.Goods (id));"
        "CREATE VIEW Shop.V AS SELECT * FROM Shop.Goods; CREATE DATABASE two; CREATE TABLE two.A (id int);"
        "CREATE TABLE two.a (id int); CREATE DATABASE One; CREATE DATABASE oNE"
    )
    tools.dump(source, tmp_path)
    target = new_server("--lower-case-table-names=1")
    target.sql(
        "CREATE DATABASE shop; CREATE TABLE shop.goods (old int); INSERT INTO shop.goods VALUES (7);"
        "CREATE DATABASE two; CREATE TABLE two.a (old int); CREATE DATABASE one; CREATE TABLE one.a (old int)"
    )
    before = target.state()
    (tmp_path / "rollback").mkdir()
    report = tools.restore(target, tmp_path, rollback=tmp_path / "rollback")
    assert [(each.database, each.table) for each in report.failures] == [("one", None), ("one", None), ("two", "a")]
    assert target.sql("SELECT * FROM shop.v; SHOW TABLES FROM shop") == "1\ngoods\nsold\nv\n"
    assert target.sql("SHOW COLUMNS FROM two.a; SHOW COLUMNS FROM one.a").count("old") == 2
    tools.roll_back(target, tmp_path / "rollback")
    assert target.state() == before


def test_a_database_made_meanwhile_is_left_alone(source: Any, target: Any, tools: Any, tmp_path: Path) -> None:
    source.sql("CREATE DATABASE d; CREATE TABLE d.t (id int); INSERT INTO d.t VALUES (1)")
    tools.dump(source, tmp_path)

    def progress(_: ProgressEvent) -> None:
        target.sql("CREATE DATABASE IF NOT EXISTS d; CREATE TABLE IF NOT EXISTS d.mine (id int)")

    report = MysqlPlugin().tklbam_database_restore(
        RestoreRequest(extras=tmp_path, limits=tools.limits(), rollback=None, options=target.options, progress=progress)
    )
    assert report is not None
    assert ["made while" in each.reason for each in report.failures] == [True]
    assert target.sql("SHOW TABLES FROM d") == "mine\n"


def test_values_that_the_server_computes_are_left_to_it(target: MariaDB, tmp_path: Path) -> None:
    """However they are quoted, and wherever they stand."""
    rows = tmp_path / "rows"
    rows.write_bytes(b"10,1,'a\\'),(\\\\',NULL,'x'\n20,2,'',0x00FF,'),(\\n'\n")
    info = TableFile(columns=["g", "a", "t", "v", "w"], generated=["g", "w"])
    target.sql(
        "CREATE DATABASE d;"
        "CREATE TABLE d.t (g int AS (a * 10) STORED, a int, t text, v blob, w text AS (hex(t)) VIRTUAL)"
    )
    with target.session() as session:  # type: ignore[attr-defined]
        session.execute("SET sql_mode='STRICT_ALL_TABLES'")
        insert_lines(session, b"INSERT INTO d.t VALUES (", [rows], lambda _: None, computed_values(info))
    assert target.sql("SELECT g, a, hex(t), hex(v), w FROM d.t") == (
        "10\t1\t6127292C285C\tNULL\t6127292C285C\n20\t2\t\t00FF\t\n"
    )


def test_a_privilege_that_is_not_known_takes_no_others_with_it(
    source: Any, target: Any, tools: Any, tmp_path: Path
) -> None:
    source.sql(
        "CREATE DATABASE d; CREATE TABLE d.t (a int, `b,)` int); CREATE USER u@'%';"
        "GRANT SELECT, UPDATE ON *.* TO u@'%'; GRANT INSERT (a, `b,)`), DELETE ON d.t TO u@'%' WITH GRANT OPTION"
    )
    tools.dump(source, tmp_path)
    accounts = tmp_path / "myfs/accounts"
    accounts.write_text(accounts.read_text().replace("UPDATE", "UPDATE ALL").replace("DELETE", "DELETE ALL"))
    report = tools.restore(target, tmp_path)
    failed = [each.reason.split(" TO ")[0] for each in report.failures]
    assert failed == [f"account `u`@`%`: GRANT {each}" for each in ("UPDATE ALL ON *.*", "DELETE ALL ON `d`.`t`")]
    grants = target.sql("SHOW GRANTS FOR u@'%'")
    assert grants == source.sql("SHOW GRANTS FOR u@'%'").replace(", UPDATE", "").replace(", DELETE", "")


def test_utf8_stays_what_it_was(source: Any, new_server: Any, tools: Any, tmp_path: Path) -> None:
    """As older servers' dumps say it; a server may be told to take it for utf8mb4."""
    source.sql(
        "CREATE DATABASE d CHARACTER SET utf8mb3; USE d; CREATE TABLE t (a varchar(9) COLLATE utf8mb3_bin);"
        "CREATE VIEW v AS SELECT CONVERT(a USING utf8mb3) AS c FROM t"
    )
    tools.dump(source, tmp_path)
    for path in (tmp_path / "myfs/d").rglob("*"):
        if path.name in ("init", "post"):
            path.write_text(path.read_text().replace("utf8mb3", "utf8"))
    target = new_server("--old-mode=")
    assert tools.restore(target, tmp_path).failures == ()
    assert target.state() == source.state()


def test_a_timestamp_gets_no_default_that_it_had_not(source: Any, new_server: Any, tools: Any, tmp_path: Path) -> None:
    """Where a server gives one, it would change with its row."""
    source.sql("CREATE DATABASE d; CREATE TABLE d.t (a timestamp NOT NULL COMMENT 'x', b timestamp(3) NOT NULL)")
    tools.dump(source, tmp_path)
    target = new_server("--explicit-defaults-for-timestamp=OFF")
    assert [each.warnings for each in tools.restore(target, tmp_path).databases] == [()]
    assert target.sql("SHOW CREATE TABLE d.t") == source.sql("SHOW CREATE TABLE d.t")


def test_a_certificate_may_say_anything(source: Any, target: Any, tools: Any, tmp_path: Path) -> None:
    source.sql(r"CREATE USER c@'%' REQUIRE SUBJECT '/O=L\'Eau\\x' AND ISSUER '/CN=a' AND CIPHER 'AES'")
    tools.dump(source, tmp_path)
    assert tools.restore(target, tmp_path).failures == ()
    assert target.state() == source.state()


def test_a_table_of_an_engine_that_is_not_here_is_told(source: Any, target: Any, tools: Any, tmp_path: Path) -> None:
    source.sql(
        "CREATE DATABASE d; USE d; CREATE TABLE part (a int) ENGINE=MyISAM; INSERT INTO part VALUES (1);"
        "CREATE TABLE kept (a int); INSERT INTO kept VALUES (2);"
        "CREATE TABLE far (a int) ENGINE=MERGE UNION=(part)"
    )
    tools.dump(source, tmp_path)
    for table, engine in (("far", "MRG_MyISAM"), ("kept", "InnoDB")):
        statement = tmp_path / "myfs/d/tables" / table / "init"
        statement.write_text(statement.read_text().replace(engine, "ELSEWHERE"))
    report = tools.restore(target, tmp_path)
    assert ["table far: Unknown storage engine" in each.reason for each in report.failures] == [True]
    assert "table kept: Unknown storage engine 'ELSEWHERE'" in report.databases[0].warnings
    assert target.sql("SHOW TABLES FROM d; SELECT a FROM d.kept") == "kept\npart\n2\n"
