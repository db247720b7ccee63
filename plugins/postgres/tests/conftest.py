"""Real PostgreSQL clusters for the tests: each with its own data, socket directory and free port, stopped by pid."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port
from tklbam_core.api import DatabaseReport, DumpRequest, Limits, RestoreRequest, RollbackRequest
from tklbam_postgres import connect, plugin

ROOT = os.environ.get("TKLBAM_POSTGRES_ROOT")
OLD_ROOT = os.environ.get("TKLBAM_OLD_POSTGRES_ROOT")
BINARIES = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), default=Path())
SETTINGS = {
    "fsync": "off",
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "32MB",
    "max_wal_size": "4GB",
    "wal_level": "logical",
    "log_min_messages": "warning",
    "max_prepared_transactions": "2",
}


if os.environ.get("CI"):  # where a skip is a failure
    collect_ignore = ([] if ROOT else ["test_newer.py"]) + ([] if ROOT and OLD_ROOT else ["test_older.py"])


class PgCluster:
    """One server. Run as the `postgres` account when the tests run as root, else as whoever runs them."""

    def __init__(self, base: Path, template: Path, *, binaries: Path = BINARIES, **settings: str) -> None:
        self.base = base
        self.binaries = binaries
        self.data = base / "data"
        self.port = free_port()
        self.settings = {**SETTINGS, **settings}
        shutil.copytree(template, self.data, symlinks=True)
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            for directory, _, files in os.walk(base):
                for name in (directory, *(os.path.join(directory, file) for file in files)):
                    os.chown(name, account.pw_uid, account.pw_gid)

    @staticmethod
    def as_owner(argv: list[str]) -> list[str]:
        if os.geteuid() != 0:
            return argv
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--", *argv]

    @property
    def major(self) -> int:
        return int(self.binaries.parent.name)

    @property
    def options(self) -> dict[str, str]:
        return {"socket": str(self.base), "port": str(self.port)}

    @property
    def environment(self) -> dict[str, str]:
        words = [
            "role=none",
            "statement_timeout=0",
            "default_transaction_read_only=off",
            "standard_conforming_strings=on",
        ]
        if self.major >= 14:
            words.append("idle_session_timeout=0")
        settings = " ".join(f"-c {word}" for word in words)
        where = {"PGHOST": str(self.base), "PGPORT": str(self.port)}
        return {**os.environ, **where, "LC_ALL": "C.UTF-8", "PGOPTIONS": settings}

    @property
    def pid(self) -> int:
        return int((self.data / "postmaster.pid").read_text().split("\n")[0])

    def run(self, *argv: str, input: str | None = None) -> str:
        done = subprocess.run(
            self.as_owner([str(self.binaries / argv[0]), *argv[1:]]),
            input=None if input is None else input.encode(),
            env=self.environment,
            cwd="/",
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()  # not as text, which would hide carriage returns

    def start(self) -> None:
        words = " ".join(f"-c {key}='{value}'" for key, value in self.settings.items())
        with open(self.base / "log", "ab") as log:
            done = subprocess.run(
                self.as_owner(
                    [
                        *(str(self.binaries / "pg_ctl"), "-D", str(self.data), "-w", "-t", "60", "-o"),
                        f"{words} -c unix_socket_directories='{self.base}' -p {self.port}",
                        "start",
                    ]
                ),
                stdout=log,
                stderr=log,
                cwd="/",
                check=False,
            )
        assert done.returncode == 0, (self.base / "log").read_text(errors="replace")[-3000:]

    def stop(self) -> None:
        if (self.data / "postmaster.pid").exists():
            subprocess.run(
                self.as_owner([str(self.binaries / "pg_ctl"), "-D", str(self.data), "-m", "immediate", "-w", "stop"]),
                capture_output=True,
                cwd="/",
                check=False,
            )

    def kill(self) -> None:
        """As when the machine's memory runs out: the postmaster is gone, and its children notice."""
        postmaster = Path("/proc", str(self.pid))
        os.kill(self.pid, signal.SIGKILL)
        # Its children end by themselves; a new one refuses to start until they have, and somebody has noted its end.
        end = time.monotonic() + 60
        while postmaster.exists() or any(_works_in(each, self.data) for each in Path("/proc").glob("[0-9]*")):
            assert time.monotonic() < end, "the server's processes outlive it"
            time.sleep(0.02)

    def sql(self, script: str, database: str = "postgres", stop: bool = True) -> str:
        """Runs a script (`stop`: until one of its statements fails); returns its rows, `|` between columns."""
        words = ("-X", "-q", "-A", "-t", "-v", f"ON_ERROR_STOP={int(stop)}", "-d", database, "-f", "-")
        return self.run("psql", *words, input=script)

    def databases(self) -> list[str]:
        return self.sql("SELECT datname FROM pg_database ORDER BY 1").split()

    def snapshot(self, database: str, by: PgCluster | None = None, encoding: str = "UTF8") -> str:
        """What pg_dump (or that of `by`) says of a database, without what differs between any two runs."""
        program = str((by or self).binaries / "pg_dump")
        text = self.run(program, "--create", f"--encoding={encoding}", f"--dbname=dbname='{database}'")
        return re.sub(r"(?m)^\\(un)?restrict .*\n", "", text)

    def globals(self) -> str:
        text = re.sub(r"(?m)^\\(un)?restrict .*\n", "", self.run("pg_dumpall", "--globals-only"))
        return text + self.sql("SELECT setconfig FROM pg_db_role_setting WHERE setdatabase = 0 AND setrole = 0")

    def large_objects(self, database: str) -> str:
        what = "oid, lomowner::regrole, lomacl, md5(lo_get(oid))"
        return self.sql(f"SELECT {what} FROM pg_largeobject_metadata ORDER BY oid", database)

    def checksums(self, database: str) -> dict[str, str]:
        """MD5 of every table's rows in their own order."""
        names = self.sql(
            "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
            " WHERE relkind IN ('r', 'm') AND relispopulated AND n.nspname !~ '^pg_|^information_schema' ORDER BY 1",
            database,
        ).splitlines()
        # Without these their order is not always the same (from 16 on string_agg() works in parallel, too).
        script = "SET synchronize_seqscans = off; SET max_parallel_workers_per_gather = 0;\n"
        script += "".join(
            f"SELECT '{name.replace(chr(39), chr(39) * 2)}', md5(string_agg(t::text, E'\\n')) "
            f"FROM (SELECT * FROM {name}) t;\n"
            for name in names
        )
        return dict(line.rsplit("|", 1) for line in self.sql(script, database).splitlines())

    def empty(self) -> None:
        """Makes the server as new."""
        for line in self.sql(
            "SELECT datname, subname FROM pg_subscription JOIN pg_database d ON d.oid = subdbid"
        ).splitlines():
            database, subscription = line.split("|")
            self.sql(f'ALTER DATABASE "{database}" ALLOW_CONNECTIONS true')
            self.sql(
                f"ALTER SUBSCRIPTION {subscription} DISABLE; ALTER SUBSCRIPTION {subscription} SET (slot_name = NONE);"
                f"DROP SUBSCRIPTION {subscription}",
                database,
            )
        drops = self.run(
            *("psql", "-X", "-q", "-A", "-t", "-d", "template1", "-c"),
            "SELECT format('ALTER DATABASE %1$I IS_TEMPLATE false; DROP DATABASE %1$I WITH (FORCE);', datname)"
            " FROM pg_database WHERE datname !~ '^template[01]$'",
        )
        self.run("psql", "-X", "-q", "-d", "template1", "-f", "-", input=drops + "CREATE DATABASE postgres;")
        self.sql("COMMENT ON DATABASE postgres IS 'default administrative connection database'")
        roles = "string_agg(quote_ident(rolname), ', ') FROM pg_roles WHERE rolname !~ '^pg_' AND oid <> 10"
        self.sql(f"SELECT 'DROP OWNED BY ' || {roles} \\gexec\nSELECT 'DROP ROLE ' || {roles} \\gexec\n")
        self.sql("ALTER ROLE postgres PASSWORD NULL; ALTER ROLE ALL RESET ALL")
        self.sql(
            "".join(
                f"DROP TABLESPACE {name};"
                for name in self.sql("SELECT spcname FROM pg_tablespace WHERE spcname !~ '^pg_'").split()
            )
        )

    # --- what the core would call ---

    def dump(self, extras: Path, *limits: str, **options: str) -> DatabaseReport:
        report = plugin.tklbam_database_dump(
            DumpRequest(extras=extras, limits=Limits.parse(limits, "pgsql"), options={**self.options, **options})
        )
        assert report is not None
        return report

    def restore(
        self, extras: Path, *limits: str, rollback: Path | None = None, simulate: bool = False, **options: str
    ) -> DatabaseReport:
        report = plugin.tklbam_database_restore(
            RestoreRequest(
                extras=extras,
                limits=Limits.parse(limits, "pgsql"),
                rollback=rollback,
                simulate=simulate,
                options={**self.options, **options},
            )
        )
        assert report is not None
        return report

    def roll_back(self, rollback: Path) -> DatabaseReport | None:
        return plugin.tklbam_database_rollback(RollbackRequest(rollback=rollback))


def scratch_directory() -> Path:
    """In memory where there is room, for servers write a lot; with a short path, for a socket's may have 107 bytes."""
    memory = Path("/dev/shm")
    base = Path(tempfile.mkdtemp(prefix="tklbam-pg-", dir=memory if os.access(memory, os.W_OK) else None))
    base.chmod(0o755)
    return base


def _works_in(process: Path, directory: Path) -> bool:
    try:
        return os.readlink(process / "cwd") == str(directory)
    except OSError:  # it has ended, or is not ours
        return False


def unpacked(root: Path, place: Path) -> Path:
    """The programs of the server in an unpacked Debian root, as scripts below `place`: the root's own loader runs them,
    so that they see this system's files."""
    (found,) = root.glob("usr/lib/postgresql/*/bin")
    binaries = place / found.relative_to(root)
    binaries.mkdir(parents=True)
    # PostgreSQL's programs look for its other files from where they are.
    (binaries.parent / "lib").symlink_to(found.parent / "lib")
    (place / "usr/share").symlink_to(root / "usr/share")
    loader, libraries = _loader(root, place)
    for program in found.iterdir():
        script = binaries / program.name
        words = [str(loader), "--library-path", libraries, "--argv0", str(script), str(program)]
        script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        script.chmod(0o755)
    return binaries


def _loader(root: Path, place: Path) -> tuple[Path, str]:
    """The dynamic loader that runs the root's programs, and where it finds their libraries."""
    loader = next(root.glob("usr/lib/*-linux-gnu/ld-linux*.so.*"))
    directories = list(root.glob("usr/lib/*-linux-gnu"))
    if b"--argv0" not in subprocess.run([loader, "--help"], capture_output=True).stdout:
        # One before glibc 2.33 can't tell a program where it is. This system's C library serves older programs, too.
        loader = next(Path("/").glob("usr/lib/*-linux-gnu/ld-linux*.so.*"))
        listed = next(root.glob("var/lib/dpkg/info/libc6:*.list")).read_text()
        of_libc = {Path(line).name for line in listed.splitlines()}
        (place / "libraries").mkdir()
        for library in (path for directory in directories for path in directory.glob("*.so*")):
            if library.name not in of_libc:
                (place / "libraries" / library.name).symlink_to(library)
        directories = [place / "libraries"]
    return loader, ":".join(map(str, directories))


@contextlib.contextmanager
def template(binaries: Path) -> Iterator[Path]:
    base = scratch_directory()
    try:
        if os.geteuid() == 0:
            shutil.chown(base, "postgres")
        done = subprocess.run(
            PgCluster.as_owner(
                [
                    *(str(binaries / "initdb"), "-N", "-D", str(base / "data"), "-U", "postgres", "--locale=C.UTF-8"),
                    "--auth-local=peer" if os.geteuid() == 0 else "--auth-local=trust",
                    "--auth-host=scram-sha-256",
                ]
            ),
            capture_output=True,
            cwd="/",
        )
        assert done.returncode == 0, done.stderr
        yield base / "data"
    finally:
        shutil.rmtree(base)


@contextlib.contextmanager
def server(data: Path, binaries: Path, **settings: str) -> Iterator[PgCluster]:
    """A running server with a copy of a data directory."""
    base = scratch_directory()
    cluster = PgCluster(base, data, binaries=binaries, **settings)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(base)


@pytest.fixture(scope="session")
def pg_template() -> Iterator[Path]:
    """A fresh data directory to copy: initdb takes longer than a copy."""
    if not BINARIES.name:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with template(BINARIES) as data:
        yield data


@pytest.fixture(scope="session")
def make_cluster(pg_template: Path) -> Callable[..., Any]:
    """A function that gives a running cluster of its own for the length of a `with` block."""

    def make(data: Path = pg_template, **settings: str) -> contextlib.AbstractContextManager[PgCluster]:
        return server(data, BINARIES, **settings)

    return make


@contextlib.contextmanager
def _programs(root: str | None, needed: str) -> Iterator[Path]:
    """The programs of an unpacked root, for the length of a block; `needed` says what to do where none is named."""
    if not root:
        pytest.skip(needed)
    place = scratch_directory()
    try:
        yield unpacked(Path(root), place)
    finally:
        shutil.rmtree(place)


@pytest.fixture(scope="session")
def newer() -> Iterator[PgCluster]:
    """A server of a newer major version, whose programs our code finds beside the installed ones."""
    needed = (
        "TKLBAM_POSTGRES_ROOT names no Debian root with a newer PostgreSQL: "
        "tests/make-server-root trixie DIRECTORY postgresql-17"
    )
    with _programs(ROOT, needed) as binaries:
        installed = binaries.parent.parent
        (installed / BINARIES.parent.name).symlink_to(BINARIES.parent)
        with pytest.MonkeyPatch.context() as patch, template(binaries) as data, server(data, binaries) as cluster:
            patch.setattr(connect, "PROGRAMS", installed)
            yield cluster


@pytest.fixture(scope="session")
def oldest() -> Iterator[PgCluster]:
    """A server of an older major version."""
    needed = (
        "TKLBAM_OLD_POSTGRES_ROOT names no Debian root with an older PostgreSQL: "
        "tests/make-server-root bullseye DIRECTORY postgresql-13"
    )
    with _programs(OLD_ROOT, needed) as binaries, template(binaries) as data, server(data, binaries) as cluster:
        yield cluster


@pytest.fixture
def older(oldest: PgCluster) -> Iterator[PgCluster]:
    """An empty server of an older major version."""
    yield oldest
    oldest.empty()


@pytest.fixture
def newest(newer: PgCluster) -> Iterator[PgCluster]:
    """An empty server of a newer major version."""
    yield newer
    newer.empty()


@pytest.fixture(scope="session")
def running(make_cluster: Callable[..., Any]) -> Iterator[tuple[PgCluster, PgCluster]]:
    with make_cluster() as one, make_cluster() as two:
        yield one, two


@pytest.fixture
def cluster(running: tuple[PgCluster, PgCluster]) -> Iterator[PgCluster]:
    """An empty server."""
    yield running[0]
    running[0].empty()


@pytest.fixture
def other(running: tuple[PgCluster, PgCluster]) -> Iterator[PgCluster]:
    """A second empty server: where a restore goes."""
    yield running[1]
    running[1].empty()


@pytest.fixture
def extras(tmp_path: Path) -> Path:
    """As the core makes it: nobody else may look in."""
    directory = tmp_path / "extras"
    directory.mkdir(mode=0o700)
    return directory


@pytest.fixture
def rollback(tmp_path: Path) -> Path:
    directory = tmp_path / "rollback"
    directory.mkdir(mode=0o700)
    return directory


@pytest.fixture(scope="session")
def everything() -> str:
    """A script for psql that uses all that PostgreSQL has to get lost on the way."""
    return (Path(__file__).parent / "everything.sql").read_text()
