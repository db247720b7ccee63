"""What goes wrong: a clear error that names database and table, and nothing half-applied."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tklbam_core.api import DatabaseError, DumpRequest, FormatError, ProgressEvent, RestoreRequest, SpaceError
from tklbam_mysql.plugin import MysqlPlugin

OLD = "CREATE DATABASE d; CREATE TABLE d.big (id int PRIMARY KEY, old int); INSERT INTO d.big VALUES (1,1)"
BIG = """
CREATE DATABASE d; USE d; CREATE TABLE big (id int PRIMARY KEY, t text);
INSERT INTO big SELECT seq, REPEAT(MD5(seq), 30) FROM seq_1_to_60000;
CREATE TABLE small (id int PRIMARY KEY); INSERT INTO small VALUES (1),(2);
"""


class After:
    """A progress sink that does something once so many bytes are done."""

    def __init__(self, size: int, action: Callable[[], None]) -> None:
        self.size, self.action, self.done = size, action, False

    def __call__(self, event: ProgressEvent) -> None:
        if event.done > self.size and not self.done:
            self.done = True
            self.action()


@pytest.mark.parametrize("limits", [[], ["-mysql"]], ids=["all", "without accounts"])
def test_server_killed_in_mid_dump(new_server: Any, tools: Any, tmp_path: Path, limits: list[str]) -> None:
    server = new_server()
    server.sql(BIG)
    request = DumpRequest(
        extras=tmp_path,
        limits=tools.limits(*limits),
        options=server.options,
        progress=After(4 << 20, lambda: server.stop(signal.SIGKILL)),
    )
    with pytest.raises(DatabaseError, match=r"went away while d\.big"):
        MysqlPlugin().tklbam_database_dump(request)
    with pytest.raises(FormatError, match="never finished"):
        tools.restore(server, tmp_path)


def test_server_killed_in_mid_restore(new_server: Any, source: Any, tools: Any, tmp_path: Path) -> None:
    source.sql(BIG)
    tools.dump(source, tmp_path)
    server = new_server("--innodb-flush-log-at-trx-commit=1")
    server.sql(OLD)
    before = server.state()
    (tmp_path / "rollback").mkdir()
    request = RestoreRequest(
        extras=tmp_path,
        limits=tools.limits(),
        rollback=tmp_path / "rollback",
        options=server.options,
        progress=After(8 << 20, lambda: server.stop(signal.SIGKILL)),
    )
    with pytest.raises(DatabaseError, match=r"went away while d\.big|loading stopped"):
        MysqlPlugin().tklbam_database_restore(request)
    server.start()
    assert server.sql("SELECT * FROM d.big") == "1\t1\n"
    tools.roll_back(server, tmp_path / "rollback")
    assert server.state() == before


def test_wrong_password_names_the_account_and_the_remedy(source: Any, tools: Any, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("wrong\n")
    source.sql("CREATE USER backup@localhost IDENTIFIED BY 'right'; GRANT ALL ON *.* TO backup@localhost")
    options = {"socket": source.socket, "user": "backup", "password-file": str(tmp_path / "password")}
    with pytest.raises(DatabaseError, match="backup@") as caught:
        MysqlPlugin().tklbam_database_dump(DumpRequest(extras=tmp_path, limits=tools.limits(), options=options))
    assert "password-file" in caught.value.remedy
    (tmp_path / "password").write_text("right\n")
    assert MysqlPlugin().tklbam_database_dump(DumpRequest(extras=tmp_path, limits=tools.limits(), options=options))


def test_password_is_in_no_argument_list(source: Any, tools: Any, tmp_path: Path) -> None:
    source.sql(BIG)
    source.sql("CREATE USER backup@localhost IDENTIFIED BY 'sesame-open'; GRANT ALL ON *.* TO backup@localhost")
    (tmp_path / "password").write_text("sesame-open\n")
    seen: list[str] = []

    def look() -> None:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                seen.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
            except OSError:
                continue

    options = {"socket": source.socket, "user": "backup", "password-file": str(tmp_path / "password")}
    MysqlPlugin().tklbam_database_dump(
        DumpRequest(extras=tmp_path, limits=tools.limits(), options=options, progress=After(1 << 20, look))
    )
    dumpers = [line for line in seen if "mariadb-dump" in line and "--defaults-file" in line]
    assert dumpers
    assert not [line for line in seen if "sesame-open" in line]


def test_crashed_table_is_named_and_everything_else_is_dumped(
    new_server: Any, target: Any, tools: Any, tmp_path: Path
) -> None:
    server = new_server()
    server.sql(
        "CREATE DATABASE d; CREATE TABLE d.bad (id int, t text) ENGINE=MyISAM;"
        "INSERT INTO d.bad VALUES (1,'x'),(2,'y');"
        "CREATE TABLE d.good (id int); INSERT INTO d.good VALUES (1); CREATE TABLE d.other (id int) ENGINE=MyISAM;"
        "INSERT INTO d.other VALUES (5); FLUSH TABLES"
    )
    server.stop()
    file = server.directory / "data/d/bad.MYI"
    file.write_bytes(b"\0" * 100 + file.read_bytes()[100:])
    server.start()
    report = tools.dump(server, tmp_path)
    assert [(each.database, each.table) for each in report.failures] == [("d", "bad")]
    tools.restore(target, tmp_path)
    assert target.sql("SELECT id FROM d.good UNION SELECT id FROM d.other") == "1\n5\n"


@pytest.mark.parametrize(
    ("table", "column", "engine"),
    [
        ("plain", "t text", "InnoDB"),
        ("exact", "f float", "InnoDB"),
        ("old", "t text", "MyISAM"),
        ("late", "f float", "MyISAM"),
    ],
)
def test_a_table_that_stays_locked_is_named_and_the_rest_is_dumped(
    source: Any, tools: Any, tmp_path: Path, table: str, column: str, engine: str
) -> None:
    source.sql(
        "CREATE DATABASE d; CREATE TABLE d.good (id int PRIMARY KEY); INSERT INTO d.good VALUES (7);"
        f"CREATE TABLE d.{table} (id int PRIMARY KEY, {column}) ENGINE={engine};"
        "CREATE TABLE d.near (id int) ENGINE=MyISAM; INSERT INTO d.near VALUES (8);"
        "CREATE TABLE d.near_exact (f float) ENGINE=MyISAM; INSERT INTO d.near_exact VALUES (0.5)"
    )
    with source.session() as other:
        other.execute(f"LOCK TABLES d.{table} WRITE")
        report = tools.dump(source, tmp_path, **{"lock-timeout": "1"})
    assert [(each.database, each.table) for each in report.failures] == [("d", table)]
    assert "locked for more than 1 seconds" in report.failures[0].reason
    rows = {each: (tmp_path / "myfs/d/tables" / each / "rows/first") for each in ("good", "near", "near_exact")}
    assert [path.read_text() for path in rows.values()] == ["7\n", "8\n", "0.5\n"]


def test_tables_that_may_not_be_locked_are_read_and_told(source: Any, tools: Any, tmp_path: Path) -> None:
    source.sql(
        "CREATE DATABASE d; CREATE TABLE d.old (id int) ENGINE=MyISAM; INSERT INTO d.old VALUES (8);"
        "CREATE TABLE d.exact (f float) ENGINE=MyISAM; INSERT INTO d.exact VALUES (0.5);"
        "CREATE USER reader@localhost; GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON *.* TO reader@localhost"
    )
    report = tools.dump(source, tmp_path, user="reader")
    assert (report.failures, report.databases[0].rows) == ((), 2)
    assert [each for each in report.warnings if "d.exact, d.old: read while in use" in each]


def test_view_without_its_definer_does_not_end_the_dump(source: Any, target: Any, tools: Any, tmp_path: Path) -> None:
    source.sql(
        "CREATE USER gone@'%'; CREATE DATABASE d; CREATE TABLE d.t (id int); INSERT INTO d.t VALUES (1);"
        "CREATE DEFINER=gone@'%' VIEW d.v AS SELECT id FROM d.t; CREATE VIEW d.lost AS SELECT id FROM d.t;"
        "CREATE TABLE d.x (id int); CREATE VIEW d.dangling AS SELECT id FROM d.x; DROP TABLE d.x; DROP USER gone@'%'"
    )
    report = tools.dump(source, tmp_path)
    assert report.failures == ()
    assert [warning for warning in report.warnings if "d.v " in warning]
    restored = tools.restore(target, tmp_path)
    assert restored.failures == ()
    assert [warning for warning in restored.warnings if "dangling" in warning]
    assert target.sql("SELECT count(*) FROM information_schema.VIEWS WHERE TABLE_SCHEMA='d'") == "2\n"


def test_what_only_looks_like_a_database_is_none_or_told(new_server: Any, tools: Any, tmp_path: Path) -> None:
    """A file system's lost+found, and directories that somebody made."""
    server = new_server()
    for name in ("lost+found", "old-copy"):
        (server.directory / "data" / name).mkdir()
    server.sql("CREATE DATABASE d; CREATE TABLE d.`t-1` (a int) ENGINE=MyISAM; FLUSH TABLES")
    for path in (server.directory / "data/d").glob("t@002d1.*"):
        path.rename(path.with_name(path.name.replace("@002d", "-")))
    assert "lost+found" in server.sql("SHOW DATABASES")
    report = tools.dump(server, tmp_path)
    assert ([each.name for each in report.databases], report.failures) == (["#mysql50#old-copy", "d"], ())
    told = [each.split(" can be restored nowhere")[0] for each in report.warnings]
    assert told == ["database #mysql50#old-copy", "table d.#mysql50#t-1"]


@pytest.mark.root
def test_full_disk_is_an_error_that_says_so(source: Any, tools: Any, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    source.sql(BIG)
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8M", "tmpfs", str(small)], check=True)
    try:
        with pytest.raises(SpaceError, match=r"No space left .* d\.big"):
            tools.dump(source, small)
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_table_that_does_not_fit_leaves_its_database_as_it_was(
    source: Any, target: Any, tools: Any, tmp_path: Path
) -> None:
    source.sql(BIG + "CREATE DATABASE fine; CREATE TABLE fine.t (id int); INSERT INTO fine.t VALUES (9)")
    tools.dump(source, tmp_path)
    target.sql(OLD)
    statement = tmp_path / "myfs/d/tables/small/init"
    statement.write_text(statement.read_text().replace("int(11)", "no_such_type"))
    report = tools.restore(target, tmp_path)
    assert [each.database for each in report.failures] == ["d"]
    assert "small" in report.failures[0].reason
    assert target.sql("SELECT * FROM d.big; SELECT * FROM fine.t") == "1\t1\n9\n"
    assert "tklbam" not in target.sql("SHOW DATABASES")


@pytest.mark.parametrize("loads", ["ON", "OFF"])
def test_a_value_that_changed_is_told_behind_any_number_of_empty_ones(
    source: Any, new_server: Any, tools: Any, tmp_path: Path, loads: str
) -> None:
    """An empty ENUM draws a warning, too, and is what it was."""
    source.sql(
        "SET sql_mode=''; CREATE DATABASE d; USE d; CREATE TABLE t (id int PRIMARY KEY, e enum('a'), n tinyint);"
        "INSERT INTO t SELECT seq, 'b', 1 FROM seq_1_to_500"
    )
    tools.dump(source, tmp_path)
    target = new_server(f"--local-infile={loads}")
    assert [each.warnings for each in tools.restore(target, tmp_path).databases] == [()]
    rows = tmp_path / "myfs/d/tables/t/rows/first"
    rows.write_text(rows.read_text().replace("500,'',1", "500,'',999"))
    (result,) = tools.restore(target, tmp_path).databases
    assert [each.split(" at row")[0] for each in result.warnings] == ["table t: Out of range value for column 'n'"]


def test_missing_rows_are_noticed(source: Any, target: Any, tools: Any, tmp_path: Path) -> None:
    source.sql(BIG)
    tools.dump(source, tmp_path)
    target.sql(OLD)
    rows = tmp_path / "myfs/d/tables/small/rows/first"
    rows.write_bytes(b"1\n")
    report = tools.restore(target, tmp_path)
    assert [(each.database, each.table) for each in report.failures] == [("d", "small")]
    assert "1 of 2 rows" in report.failures[0].reason
    assert target.sql("SELECT * FROM d.big") == "1\t1\n"


def test_dump_of_a_newer_server_is_a_warning(source: Any, target: Any, tools: Any, tmp_path: Path) -> None:
    source.sql("CREATE DATABASE d; CREATE TABLE d.t (id int)")
    tools.dump(source, tmp_path)
    manifest = tmp_path / "myfs/manifest.json"
    manifest.write_text(re.sub(r'"\d+\.\d+\.', '"99.1.', manifest.read_text()))
    report = tools.restore(target, tmp_path)
    assert [warning for warning in report.warnings if "newer server" in warning]


def test_server_without_local_infile_gets_inserts(
    source: Any, new_server: Any, tools: Any, tmp_path: Path, fidelity: str
) -> None:
    source.sql(fidelity)
    tools.dump(source, tmp_path)
    server = new_server("--local-infile=OFF")
    assert tools.restore(server, tmp_path).failures == ()
    for database in ("shop", "other"):
        assert server.checksums(database) == source.checksums(database)


def test_server_that_forbids_local_infile_on_the_way_gets_every_row_once(
    source: Any, new_server: Any, tools: Any, tmp_path: Path
) -> None:
    source.sql(BIG + "ALTER TABLE big DROP PRIMARY KEY")
    tools.dump(source, tmp_path)
    server = new_server()
    request = RestoreRequest(
        extras=tmp_path,
        limits=tools.limits(),
        rollback=None,
        options=server.options,
        progress=After(20 << 20, lambda: server.sql("SET GLOBAL local_infile=OFF")),
    )
    report = MysqlPlugin().tklbam_database_restore(request)
    assert report is not None
    assert report.failures == ()
    assert server.checksums("d") == source.checksums("d")


def test_both_programs_end_when_the_server_does(new_server: Any, tools: Any, tmp_path: Path) -> None:
    server = new_server()
    server.sql(BIG + "CREATE TABLE other LIKE big; INSERT INTO other SELECT * FROM big; ANALYZE TABLE big, other")
    request = DumpRequest(
        extras=tmp_path,
        limits=tools.limits(),
        options=server.options | {"jobs": "2"},
        progress=After(8 << 20, lambda: server.stop(signal.SIGKILL)),
    )
    with pytest.raises(DatabaseError, match=r"went away while d\.(big|other)"):
        MysqlPlugin().tklbam_database_dump(request)


def test_restore_while_others_use_the_tables(source: Any, target: Any, tools: Any, tmp_path: Path) -> None:
    """A reader in mid-transaction only holds the swap up."""
    source.sql(BIG)
    tools.dump(source, tmp_path)
    target.sql(OLD)
    with target.session() as reader:
        reader.execute("BEGIN")
        reader.rows("SELECT * FROM d.big")
        threading.Timer(1.0, lambda: reader.execute("COMMIT")).start()
        assert tools.restore(target, tmp_path).failures == ()
        assert target.sql("SELECT count(*) FROM d.big") == "60000\n"
