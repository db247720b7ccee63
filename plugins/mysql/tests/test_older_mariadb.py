"""Off an older MariaDB, out of an unpacked root (tests/make-server-root), and what is told on the way back."""

from __future__ import annotations

import filecmp
import re
from pathlib import Path
from typing import Any

import pytest

from tests.other_servers import root_or_skip

root_or_skip("TKLBAM_OLD_MARIADB_ROOT", "bullseye DIRECTORY mariadb-server-core-10.5 mariadb-client-10.5")
root_or_skip("TKLBAM_MARIADB_ROOT", "trixie DIRECTORY mariadb-server-core mariadb-client")
# What that version has of its own.
MORE = """
SET GLOBAL mysql56_temporal_format=OFF; CREATE DATABASE old CHARACTER SET utf8; USE old;
CREATE TABLE times (t time(3), d datetime, ts timestamp(2) NULL); SET GLOBAL mysql56_temporal_format=ON;
INSERT INTO times VALUES ('-01:02:03.456', '2020-00-31', '2001-01-01 01:01:01.12'), ('838:59:59', '0000-00-00', NULL);
CREATE TABLE texts (id int PRIMARY KEY, t text COMPRESSED, u varchar(9) COLLATE utf8_bin);
INSERT INTO texts VALUES (1,REPEAT('a',999),'é');
CREATE TABLE past (a int) WITH SYSTEM VERSIONING PARTITION BY SYSTEM_TIME LIMIT 100
 (PARTITION p HISTORY, PARTITION q HISTORY, PARTITION c CURRENT);
INSERT INTO past VALUES (1); UPDATE past SET a=2;
CREATE VIEW v AS SELECT u, CONVERT(u USING utf8) AS c FROM texts;
"""


def differing(first: Path, second: Path) -> list[str]:
    compared = filecmp.dircmp(first, second, ignore=[])
    found = [*compared.left_only, *compared.right_only]
    found += [name for name in compared.common_files if (first / name).read_bytes() != (second / name).read_bytes()]
    return found + [name for each in compared.common_dirs for name in differing(first / each, second / each)]


def test_collations_that_older_servers_do_not_name_stay(older: Any, newer: Any, tools: Any, tmp_path: Path) -> None:
    """As their first versions printed statements: where it was the default, it was not named."""
    older.sql(
        "CREATE DATABASE d CHARACTER SET utf16; USE d; CREATE TABLE t (a varchar(9), KEY (a)) ENGINE=MyISAM;"
        "INSERT INTO t VALUES ('x'); CREATE TABLE m (a varchar(9), KEY (a)) ENGINE=MERGE UNION=(t);"
        "CREATE FUNCTION f(a int) RETURNS varchar(9) CHARSET utf8mb4 RETURN a"
    )
    tools.dump(older, tmp_path)
    for name in ("init", "tables/t/init", "tables/m/init", "routines"):
        path = tmp_path / "myfs/d" / name
        path.write_text(re.sub(r" COLLATE[ =](?:utf16|utf8mb4)_general_ci", "", path.read_text()))
    assert tools.restore(newer, tmp_path).failures == ()
    says = "USE d; SELECT a, COLLATION(a), COLLATION(f(1)), @@collation_database FROM m"
    assert newer.sql(says) == older.sql(says)


def test_everything_comes_from_an_older_server(
    older: Any, target: Any, newer: Any, tools: Any, tmp_path: Path, fidelity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    older.sql(fidelity.replace("u uuid,", "u char(36),") + MORE)
    by_this, by_own = tmp_path / "this", tmp_path / "own"
    report = tools.dump(older, by_this)
    assert (report.failures, len(report.warnings)) == ((), 2)  # about views without definers
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(older.root.put_client(tmp_path / "bin", "mariadb-dump")), prepend=":")
        assert tools.dump(older, by_own).failures == ()
    assert differing(by_this, by_own) == ["manifest.json"]
    for server in (target, newer):
        restored = tools.restore(server, by_own)
        assert (restored.failures, [each.warnings for each in restored.databases]) == ((), [()] * 4)
        old, new = older.state_without_orphans(server), server.state_without_orphans(older)
        old = old.replace("/*!100301 COMPRESSED*/", "/*M!100301 COMPRESSED*/").replace(" /* mariadb-5.3 */", "")
        assert tools.without_versions(new) == tools.without_versions(old)
        floats = "SELECT f + 0e0, fu + 0e0, d FROM shop.kinds"
        assert server.sql(floats) == older.sql(floats)


@pytest.mark.parametrize("name", ["target", "newer"])
def test_accounts_are_what_an_upgrade_makes_of_them(
    older: Any, request: pytest.FixtureRequest, tools: Any, tmp_path: Path, name: str
) -> None:
    older.sql(
        "CREATE USER boss@'%' IDENTIFIED BY 'x' PASSWORD EXPIRE; GRANT SUPER, RELOAD ON *.* TO boss@'%';"
        "CREATE USER copier@'%'; GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO copier@'%' WITH GRANT OPTION"
    )
    records = older.sql("SELECT User, Priv FROM mysql.global_priv WHERE User IN ('boss', 'copier')").splitlines()
    tools.dump(older, tmp_path)
    server = request.getfixturevalue(name)
    assert tools.restore(server, tmp_path).failures == ()
    for user, record in (line.split("\t") for line in records):
        server.sql(f"INSERT INTO mysql.global_priv VALUES ('upgraded', '{user}', '{record}'); FLUSH PRIVILEGES")
        restored, upgraded = (
            server.sql(f"SHOW CREATE USER {user}@'{host}'; SHOW GRANTS FOR {user}@'{host}'")
            for host in ("%", "upgraded")
        )
        assert restored == upgraded.replace("`upgraded`", "`%`")


@pytest.mark.parametrize("loads", ["ON", "OFF"])
def test_what_an_older_server_can_not_have_is_told(
    source: Any, older: Any, tools: Any, tmp_path: Path, loads: str
) -> None:
    source.sql(
        "CREATE DATABASE past; USE past; CREATE TABLE v (id int PRIMARY KEY, t text, b blob) WITH SYSTEM VERSIONING;"
        "INSERT INTO v VALUES (1,'a),(\\'',0x00),(2,'b','c'); UPDATE v SET t='c' WHERE id=1; DELETE FROM v WHERE id=2;"
        "CREATE TABLE p (e timestamp(6) GENERATED ALWAYS AS ROW END, id int AUTO_INCREMENT PRIMARY KEY, f float,"
        " s timestamp(6) GENERATED ALWAYS AS ROW START, PERIOD FOR SYSTEM_TIME(s, e)) WITH SYSTEM VERSIONING;"
        "INSERT INTO p (id, f) VALUES (1, 1.5),(2, 2); DELETE FROM p WHERE id=2;"
        "CREATE DATABASE three CHARACTER SET utf8mb3; CREATE TABLE three.t (a varchar(9));"
        "INSERT INTO three.t VALUES ('é'); CREATE DATABASE ids; CREATE TABLE ids.t (u uuid);"
        "CREATE TABLE three.made (a timestamp NOT NULL); GRANT SELECT ON past.* TO PUBLIC"
    )
    tools.dump(source, tmp_path)
    older.sql(f"CREATE DATABASE ids; CREATE TABLE ids.kept (a int); SET GLOBAL local_infile={loads}")
    before = older.state()
    (tmp_path / "rollback").mkdir()
    report = tools.restore(older, tmp_path, rollback=tmp_path / "rollback")
    assert [each.database for each in report.failures] == ["ids", "mysql"]
    assert "table t: Unknown data type: 'uuid'" in report.failures[0].reason
    assert "account `PUBLIC`" in report.failures[1].reason
    warnings = sorted(each for result in report.databases for each in result.warnings)
    assert [each[:40] for each in warnings] == [
        "table made: this server does not know a ",
        "table p: 1 past rows are left out, and t",
        "table v: 2 past rows are left out, and t",
    ]
    assert "DEFAULT '0000-00-00 00:00:00'" in older.sql("SHOW CREATE TABLE three.made")
    assert older.sql("SELECT * FROM past.v; SELECT id, f FROM past.p; SELECT * FROM three.t; SHOW TABLES FROM ids") == (
        "1\tc\t\\0\n1\t1.5\né\nkept\n"
    )
    tools.roll_back(older, tmp_path / "rollback")
    assert older.state() == before
