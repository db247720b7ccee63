"""A dump is of one moment, by however many programs and in whatever ways its tables are read."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tklbam_mysql.streams import Streams


@contextlib.contextmanager
def in_step(server: Any, *tables: str) -> Iterator[None]:
    """A writer that adds 1 to column `n` of row 1 of each of these tables, in transactions, as long as it may."""
    stop = threading.Event()

    def write() -> None:
        with server.session() as session:
            while not stop.is_set():
                session.execute("BEGIN")
                for table in tables:
                    session.execute(f"UPDATE {table} SET n=n+1 WHERE id=1")
                session.execute("COMMIT")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        time.sleep(0.2)
        yield
    finally:
        stop.set()
        writer.join()


def test_dump_is_of_one_moment_also_where_floats_are_read_apart(source: Any, tools: Any, tmp_path: Path) -> None:
    """A writer keeps two tables in step while they are read in two ways; what is dumped is in step, too."""
    source.sql(
        "CREATE DATABASE d; USE d; CREATE TABLE plain (id int PRIMARY KEY, n int); "
        "CREATE TABLE exact (id int PRIMARY KEY, n float);"
        "INSERT INTO plain VALUES (1,0); INSERT INTO exact VALUES (1,0); CREATE TABLE big (id int, t text); "
        "INSERT INTO big SELECT seq, REPEAT('x', 500) FROM seq_1_to_5000"
    )
    with in_step(source, "d.plain", "d.exact"):
        for number in range(5):
            report = tools.dump(source, tmp_path / str(number))
            assert report.warnings == ()
            tables = tmp_path / str(number) / "myfs/d/tables"
            assert (tables / "plain/rows/first").read_text() == (tables / "exact/rows/first").read_text()


@pytest.fixture
def twins(source: Any) -> Any:
    """A server with two tables that are large enough to be read at once, and one that is not."""
    source.sql(
        "CREATE DATABASE d; USE d; CREATE TABLE small (id int PRIMARY KEY, n int); INSERT INTO small VALUES (1,0);"
        "CREATE TABLE a (id int PRIMARY KEY, n int, t text); CREATE TABLE b LIKE a;"
        "INSERT INTO a SELECT seq, 0, REPEAT('x', 1000) FROM seq_1_to_30000; INSERT INTO b SELECT * FROM a;"
        "ANALYZE TABLE a, b"
    )
    return source


def first_rows(extras: Path) -> set[str]:
    tables = extras / "myfs/d/tables"
    return {(tables / table / "rows/first").read_text().split(",")[1].split("\n")[0] for table in ("a", "b", "small")}


def shares_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that gets, of each reading from now on, among how many programs it is shared out."""
    read = Streams.read
    shared: list[int] = []

    def count(self: Streams, shares: Any, *rest: Any) -> None:
        shared.append(len(shares))
        read(self, shares, *rest)

    monkeypatch.setattr(Streams, "read", count)
    return shared


def test_dump_is_of_one_moment_where_several_programs_read(
    twins: Any, tools: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = shares_read(monkeypatch)
    with in_step(twins, "d.a", "d.b", "d.small"):
        for number in range(4):
            report = tools.dump(twins, tmp_path / str(number), jobs="2")
            assert (report.warnings, report.databases[0].rows) == ((), 60_001)
            assert len(first_rows(tmp_path / str(number))) == 1
    assert shared == [2] * 4


def test_one_program_reads_where_commits_can_not_be_held_back(twins: Any, tools: Any, tmp_path: Path) -> None:
    twins.sql(
        "CREATE USER reader@localhost IDENTIFIED BY 'p';"
        "GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON *.* TO reader@localhost"
    )
    (tmp_path / "password").write_text("p\n")
    account = {"user": "reader", "password-file": str(tmp_path / "password"), "jobs": "2"}
    with in_step(twins, "d.a", "d.b", "d.small"):
        report = tools.dump(twins, tmp_path, **account)
    assert report.databases[0].rows == 60_001
    assert len(first_rows(tmp_path)) == 1


def test_programs_are_no_more_than_the_server_lets_in(
    twins: Any, tools: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account with four connections, of which the dump itself takes three."""
    shared = shares_read(monkeypatch)
    twins.sql("CREATE USER few@localhost WITH MAX_USER_CONNECTIONS 4; GRANT ALL ON *.* TO few@localhost")
    try:
        report = tools.dump(twins, tmp_path, user="few", jobs="4")
    finally:
        twins.sql("DROP USER few@localhost")
    assert (report.failures, report.databases[0].rows, shared) == ((), 60_001, [1])
