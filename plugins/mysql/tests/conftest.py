"""Real servers, each with its own data directory, socket and loopback port, stopped by pid; MySQL's out of a root."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tests.mariadb import SMALL, MariaDB, install
from tests.other_servers import OtherServer, Root
from tklbam_core.api import DatabaseReport, DumpRequest, Limits, RestoreRequest, RollbackRequest
from tklbam_mysql.catalogue import database_names
from tklbam_mysql.connection import Server, Session, connect, reach
from tklbam_mysql.names import literal, qualified, quote
from tklbam_mysql.plugin import MysqlPlugin
from tklbam_mysql.settings import Settings
from tklbam_mysql.versions import ENDS

Made = TypeVar("Made", bound=MariaDB)
OWN_ACCOUNTS = re.compile(
    r"^.*(?:CREATE USER|GRANT|SET DEFAULT)[^\n]*[`'](?:root|PUBLIC|mariadb\.sys)[`'].*\n", re.MULTILINE
)
HAS_OWN_CHECKSUMS = ("multi",)
"""Tables whose CHECKSUM TABLE is another each time, since MySQL sums the hidden column of an index up, too."""


class RealServer(MariaDB):
    """A MariaDB server, and what the tests compare of it."""

    def server(self) -> Server:
        return reach(self.options)

    def session(self) -> Session:
        return connect(Settings("the test", socket=self.socket, user="root"))

    def reset(self) -> None:
        """Drops everything that tests made."""
        with self.session() as session:
            session.execute("SET foreign_key_checks=0")
            for (name,) in session.texts("SHOW DATABASES"):
                if name not in ("mysql", "information_schema", "performance_schema", "sys"):
                    session.execute(f"DROP DATABASE {quote(str(name))}")
            for user, host, role in session.texts("SELECT User, Host, is_role FROM mysql.user"):
                if user == "PUBLIC":
                    session.execute("REVOKE ALL PRIVILEGES, GRANT OPTION FROM PUBLIC")
                elif role == "Y":
                    session.execute(f"DROP ROLE {quote(str(user))}")
                elif user not in ("root", "mariadb.sys"):
                    session.execute(f"DROP USER {quote(str(user))}@{quote(str(host))}")

    def vendor_dump(self, *databases: str) -> str:
        """What mariadb-dump says of these databases, all in; `--hex-blob` so that it is text."""
        done = subprocess.run(
            ["mariadb-dump", "--no-defaults", f"--socket={self.socket}", "--user=root", "--skip-dump-date",
             "--routines", "--events", "--hex-blob", "--dump-history", "--order-by-primary", "--single-transaction",
             "--databases", *databases],
            capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode("utf-8", "surrogateescape")

    def checksums(self, database: str) -> dict[str, str]:
        with self.session() as session:
            names = session.texts(
                "SELECT TABLE_NAME FROM information_schema.TABLES "
                "WHERE TABLE_TYPE IN ('BASE TABLE','SYSTEM VERSIONED') "
                f"AND TABLE_SCHEMA={literal(database)} AND ENGINE NOT LIKE 'MRG%'"
            )
            return {
                str(name): str(session.value_at(f"CHECKSUM TABLE {qualified(database, str(name))}", 1))
                for (name,) in names
            }

    def state_without_orphans(self, other: RealServer) -> str:
        """The state, after a definer that both servers lack was made on both (mariadb-dump stops at such views)."""
        for server in (self, other):
            server.sql("CREATE USER IF NOT EXISTS 'gone'@'%'; GRANT ALL ON *.* TO 'gone'@'%'")
        return self.state()

    def state(self) -> str:
        """Everything that people could see: all databases and accounts, as text to compare."""
        with self.session() as session:
            databases = sorted(
                str(row[0])
                for row in session.texts("SHOW DATABASES")
                if row[0] not in ("mysql", "information_schema", "performance_schema", "sys")
            )
            rows = session.texts("SELECT User, Host, is_role FROM mysql.user ORDER BY 1, 2")
            grants = []
            for user, host, role in rows:
                name = quote(str(user)) if role == "Y" else f"{quote(str(user))}@{quote(str(host))}"
                if role != "Y":
                    grants += session.texts(f"SHOW CREATE USER {name}")
                grants += sorted(session.texts(f"SHOW GRANTS FOR {name}"))
        dump = self.vendor_dump(*databases) if databases else ""
        return "\n".join([*databases, *(str(grant) for grant in grants), dump])


@pytest.fixture(scope="session")
def template() -> Iterator[Path]:
    if shutil.which("mariadb-install-db") is None:
        pytest.skip("mariadb-server is not installed")
    directory = Path(tempfile.mkdtemp(prefix="tklbam-my-"))
    install(directory)
    yield directory / "data"
    shutil.rmtree(directory)


@contextlib.contextmanager
def _servers(data: Path, new: Callable[..., Made]) -> Iterator[Callable[..., Made]]:
    """Gives what makes running servers with a copy of `data`; `new` takes a directory and more options."""
    made: list[Made] = []

    def make(*options: str) -> Made:
        directory = Path(tempfile.mkdtemp(prefix="tklbam-my-"))
        shutil.copytree(data, directory / "data")
        made.append(new(directory, *options))
        made[-1].start()
        return made[-1]

    yield make
    for server in made:
        server.stop(signal.SIGKILL)
        shutil.rmtree(server.directory)


@pytest.fixture(scope="session")
def new_server(template: Path) -> Iterator[Callable[..., RealServer]]:
    """Makes a running server from the template, with more options of mariadbd's."""
    with _servers(template, lambda directory, *options: RealServer(directory, (*SMALL, *options))) as make:
        yield make


@pytest.fixture(scope="session")
def _source(new_server: Callable[..., RealServer]) -> RealServer:
    return new_server()


@pytest.fixture(scope="session")
def _target(new_server: Callable[..., RealServer]) -> RealServer:
    return new_server()


@pytest.fixture
def source(_source: RealServer) -> RealServer:
    """A server with nothing in it."""
    _source.reset()
    return _source


@pytest.fixture
def target(_target: RealServer) -> RealServer:
    """Another server with nothing in it."""
    _target.reset()
    return _target


class OtherMariaDB(OtherServer, RealServer):
    """A MariaDB of another version, out of a root, and what the tests compare of it."""


@contextlib.contextmanager
def _other_mariadb(variable: str) -> Iterator[OtherMariaDB]:
    root, directory = Root(Path(os.environ[variable])), Path(tempfile.mkdtemp(prefix="tklbam-my-"))
    root.install(directory)
    server = OtherMariaDB(root, directory)
    server.start()
    yield server
    server.stop(signal.SIGKILL)
    shutil.rmtree(directory)


@pytest.fixture
def newer() -> Iterator[OtherMariaDB]:
    """An empty server of a newer version than this system's."""
    with _other_mariadb("TKLBAM_MARIADB_ROOT") as server:
        yield server


@pytest.fixture
def older() -> Iterator[OtherMariaDB]:
    """An empty server of an older version than this system's."""
    with _other_mariadb("TKLBAM_OLD_MARIADB_ROOT") as server:
        yield server


class MySQL(OtherServer):
    """A MySQL server, and what the tests compare of it."""

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
    with _servers(mysql_template, lambda directory, *options: MySQL(mysql_root, directory, options)) as make:
        yield make


@pytest.fixture
def own_client(mysql_root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MySQL's mysqldump is on the PATH, along with whatever of MariaDB's is."""
    directory = mysql_root.put_client(tmp_path / "bin", "mysqldump")
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")


def limits(*words: str) -> Limits:
    return Limits.parse(words, "mysql", prefixed=False, always={"mysql"})


def dump(server: RealServer, extras: Path, *words: str, **more: str) -> DatabaseReport:
    report = MysqlPlugin().tklbam_database_dump(
        DumpRequest(extras=extras, limits=limits(*words), options=server.options | more)
    )
    assert report is not None
    return report


def restore(
    server: RealServer, extras: Path, *words: str, rollback: Path | None = None, simulate: bool = False
) -> DatabaseReport:
    report = MysqlPlugin().tklbam_database_restore(
        RestoreRequest(
            extras=extras, limits=limits(*words), rollback=rollback, options=server.options, simulate=simulate
        )
    )
    assert report is not None
    return report


def roll_back(server: RealServer, rollback: Path) -> DatabaseReport | None:
    return MysqlPlugin().tklbam_database_rollback(RollbackRequest(rollback=rollback, options=server.options))


class Tools:
    """What the tests do with servers, as one fixture (test modules are not importable from each other)."""

    dump = staticmethod(dump)
    restore = staticmethod(restore)
    roll_back = staticmethod(roll_back)
    limits = staticmethod(limits)

    @staticmethod
    def without_volatile(text: str) -> str:
        """A vendor dump without what differs between servers holding the same: host names and sandbox lines."""
        return re.sub(r"^-- Host: .*$", "", text, flags=re.MULTILINE)

    @staticmethod
    def without_versions(state: str) -> str:
        """A state without what differs between versions that hold the same: comments, the servers' own accounts, where
        a column's INVISIBLE stands, what utf8 is called, and when current rows end."""
        text = re.sub(r"^--.*$", "", state.replace(" INVISIBLE", ""), flags=re.MULTILINE)
        return OWN_ACCOUNTS.sub("", text).replace("utf8mb3", "utf8").replace(ENDS[1], ENDS[0])


@pytest.fixture
def tools() -> Tools:
    return Tools()


@pytest.fixture
def fidelity() -> str:
    """A script for MariaDB that makes databases which use everything."""
    return _scripts("fidelity.sql", "fidelity_mariadb.sql")


@pytest.fixture
def fidelity_mysql() -> str:
    """The same for MySQL."""
    return "SET sql_mode='';\n" + _scripts("fidelity.sql", "fidelity_mysql.sql")


def _scripts(*names: str) -> str:
    return "".join((Path(__file__).parent / name).read_text() for name in names)
