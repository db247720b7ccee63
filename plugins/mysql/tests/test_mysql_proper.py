"""MySQL proper, out of an unpacked root (tests/make-server-root): by itself, and with MariaDB and its programs."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.other_servers import OtherServer, Root
from tklbam_core.api import DatabaseError, DatabaseReport, ProgressEvent, RestoreRequest
from tklbam_mysql.catalogue import database_names
from tklbam_mysql.cli import fs2mysql
from tklbam_mysql.connection import Error, Server, Session, connect, reach
from tklbam_mysql.names import literal, qualified, quote
from tklbam_mysql.plugin import MysqlPlugin
from tklbam_mysql.settings import Settings

if not os.environ.get("TKLBAM_MYSQL_ROOT"):
    pytest.skip(
        "TKLBAM_MYSQL_ROOT names no unpacked root; as root, "
        "tests/make-server-root sid DIRECTORY mysql-server-core mysql-client-core makes one",
        allow_module_level=True,
    )
HERE = Path(__file__).parent
DATABASES = ("shop", "other", "we.ird/na`me%")
OLD = "CREATE DATABASE plain; CREATE TABLE plain.old (a int PRIMARY KEY); INSERT INTO plain.old VALUES (5);"
HAS_OWN_CHECKSUMS = ("multi",)
"""Tables whose CHECKSUM TABLE is another each time, since MySQL sums the hidden column of an index up, too."""


class MySQL(OtherServer):
    """A MySQL server, and what the tests compare of it."""

    def server(self) -> Server:
        return reach(self.options)

    def session(self) -> Session:
        return connect(Settings("the test", socket=self.socket, user="root"))

    def vendor_dump(self, *databases: str) -> str:
        """What mysqldump says of these databases, less what says the same in two ways."""
        done = self.run(
            "mysqldump", b"", "--skip-comments", "--routines", "--events", "--hex-blob", "--order-by-primary",
            "--single-transaction", "--set-gtid-purged=OFF", "--no-tablespaces", "--databases", *databases,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode("utf-8", "surrogateescape").replace(" CHARACTER SET utf8mb4 COLLATE ", " COLLATE ")

    def checksums(self, database: str) -> dict[str, str]:
        with self.session() as session:
            names = session.texts(
                "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE='BASE TABLE' "
                f"AND TABLE_SCHEMA={literal(database)} AND ENGINE <> 'MRG_MYISAM'"
            )
            return {
                str(name): str(session.value_at(f"CHECKSUM TABLE {qualified(database, str(name))}", 1))
                for (name,) in names
                if name not in HAS_OWN_CHECKSUMS
            }

    def state(self) -> str:
        """All databases, but those that a restore keeps for its rollback, and all accounts, as text to compare."""
        with self.session() as session:
            session.execute("SET print_identified_with_as_hex=1")
            names = sorted(database_names(session))
            lines = list(names)
            for user, host in session.texts("SELECT User, Host FROM mysql.user ORDER BY 1, 2"):
                account = f"{quote(str(user))}@{quote(str(host))}"
                lines += [str(row) for row in session.texts(f"SHOW CREATE USER {account}")]
                lines += sorted(str(row) for row in session.texts(f"SHOW GRANTS FOR {account}"))
        return "\n".join([*lines, self.vendor_dump(*names) if names else ""])


@pytest.fixture(scope="session")
def mysql_root() -> Root:
    return Root(Path(os.environ["TKLBAM_MYSQL_ROOT"]))


@pytest.fixture(scope="session")
def mysql_template(mysql_root: Root) -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="tklbam-my-"))
    mysql_root.install(directory)
    (directory / "data/auto.cnf").unlink()  # each server has an identity of its own
    yield directory / "data"
    shutil.rmtree(directory)


@pytest.fixture
def new_mysql(mysql_root: Root, mysql_template: Path) -> Iterator[Callable[..., MySQL]]:
    """Makes a running, empty server, with more options of mysqld's."""
    made: list[MySQL] = []

    def make(*options: str) -> MySQL:
        directory = Path(tempfile.mkdtemp(prefix="tklbam-my-"))
        shutil.copytree(mysql_template, directory / "data")
        made.append(MySQL(mysql_root, directory, options))
        made[-1].start()
        return made[-1]

    yield make
    for server in made:
        server.stop(signal.SIGKILL)
        shutil.rmtree(server.directory)


@pytest.fixture
def own_client(mysql_root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MySQL's mysqldump is on the PATH, along with whatever of MariaDB's is."""
    directory = mysql_root.put_client(tmp_path / "bin", "mysqldump")
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")


def client_of(extras: Path) -> str:
    return str(json.loads((extras / "myfs/manifest.json").read_text())["client"])


def failed(report: DatabaseReport, database: str) -> list[str]:
    return [f"{each.table or ''}: {each.reason}" for each in report.failures if each.database == database]


def make_comparable(*servers: MySQL) -> None:
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
    new_mysql: Any, own_client: None, tools: Any, tmp_path: Path, options: tuple[str, ...]
) -> None:
    source, target = (new_mysql("--partial-revokes=ON", *options) for _ in range(2))
    source.sql(f"SET sql_mode='';\n{(HERE / 'fidelity_mysql.sql').read_text()}")
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


def test_script_restores_what_the_directory_holds(new_mysql: Any, own_client: None, tools: Any, tmp_path: Path) -> None:
    source, target = (new_mysql("--partial-revokes=ON") for _ in range(2))
    source.sql(f"SET sql_mode='';\n{(HERE / 'fidelity_mysql.sql').read_text()}")
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


@pytest.fixture
def busy(new_mysql: Any, own_client: None) -> Iterator[MySQL]:
    """A server with tables that are kept in step by a writer; two of them hold floats and two are large."""
    server: MySQL = new_mysql()
    server.sql(
        "CREATE DATABASE d; USE d; CREATE TABLE a (id int PRIMARY KEY, n int, t text); CREATE TABLE b LIKE a;"
        "SET cte_max_recursion_depth=100000; INSERT INTO a SELECT i, 0, REPEAT('x', 1000) FROM"
        "(WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM s WHERE i<30000) SELECT * FROM s) AS numbers;"
        "INSERT INTO b SELECT * FROM a; ANALYZE TABLE a, b;"
        "CREATE TABLE x (id int PRIMARY KEY, n float); CREATE TABLE e LIKE x;"
        "INSERT INTO x VALUES (1,0); INSERT INTO e VALUES (1,0)"
    )
    stop = threading.Event()

    def write() -> None:
        with server.session() as session:
            while not stop.is_set():
                session.execute("BEGIN")
                for table in ("x", "a", "b", "e"):
                    session.execute(f"UPDATE d.{table} SET n=n+1 WHERE id=1")
                session.execute("COMMIT")

    writer = threading.Thread(target=write)
    writer.start()
    yield server
    stop.set()
    writer.join()


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_dump_is_of_one_moment(busy: MySQL, tools: Any, tmp_path: Path, jobs: str) -> None:
    for number in range(4):
        report = tools.dump(busy, tmp_path / str(number), jobs=jobs)
        assert (report.failures, report.warnings) == ((), ())
        tables = tmp_path / str(number) / "myfs/d/tables"
        rows = {
            (tables / each / "rows/first").read_text().split("\n")[0].split(",")[1] for each in ("a", "b", "x", "e")
        }
        assert len(rows) == 1


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_nobody_waits_long_for_a_dump_while_a_query_is_long(busy: MySQL, tools: Any, tmp_path: Path, jobs: str) -> None:
    """MySQL's global read lock, once asked for, keeps everybody from the long query's tables until that has ended."""
    slowest = 0.0
    done = threading.Event()

    def read_long() -> None:
        with busy.session() as session, pytest.raises(Error):
            session.rows("SELECT SLEEP(60) FROM d.a LIMIT 1")

    def read_and_write() -> None:
        nonlocal slowest
        with busy.session() as session:
            while not done.is_set():
                started = time.monotonic()
                session.rows("SELECT n FROM d.a WHERE id=1")
                session.execute("UPDATE d.a SET n=n WHERE id=30000")
                slowest = max(slowest, time.monotonic() - started)
                time.sleep(0.01)

    others = [threading.Thread(target=read_long), threading.Thread(target=read_and_write)]
    for other in others:
        other.start()
    try:
        time.sleep(1.5)
        report = tools.dump(busy, tmp_path, jobs=jobs)
    finally:
        done.set()
        with busy.session() as session:
            for (number,) in session.texts(
                "SELECT ID FROM information_schema.PROCESSLIST WHERE INFO LIKE '%SLEEP(60)%LIMIT 1'"
            ):
                session.execute(f"KILL {number}")
        for other in others:
            other.join()
    assert (report.failures, report.databases[0].rows) == ((), 60_002)
    assert slowest < 5


def test_a_table_that_stays_locked_fails_alone(new_mysql: Any, own_client: None, tools: Any, tmp_path: Path) -> None:
    server = new_mysql()
    server.sql("CREATE DATABASE d; CREATE TABLE d.a (id int); CREATE TABLE d.b (id int); INSERT INTO d.b VALUES (1)")
    with server.session() as session:
        session.execute("LOCK TABLES d.a WRITE")
        report = tools.dump(server, tmp_path, **{"lock-timeout": "2"})
    assert [(each.database, each.table) for each in report.failures] == [("d", "a")]
    assert "locked" in report.failures[0].reason


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
