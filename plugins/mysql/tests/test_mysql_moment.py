"""MySQL proper, out of an unpacked root: what is dumped is of one moment, and nobody has to wait for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.other_servers import root_or_skip
from tklbam_mysql.connection import Error

root_or_skip("TKLBAM_MYSQL_ROOT", "sid DIRECTORY mysql-server-core mysql-client-core")


@pytest.fixture
def busy(new_mysql: Any, own_client: None) -> Iterator[Any]:
    """A server with tables that are kept in step by a writer; two of them hold floats and two are large."""
    server = new_mysql()
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
def test_dump_is_of_one_moment(busy: Any, tools: Any, tmp_path: Path, jobs: str) -> None:
    for number in range(4):
        report = tools.dump(busy, tmp_path / str(number), jobs=jobs)
        assert (report.failures, report.warnings) == ((), ())
        tables = tmp_path / str(number) / "myfs/d/tables"
        rows = {
            (tables / each / "rows/first").read_text().split("\n")[0].split(",")[1] for each in ("a", "b", "x", "e")
        }
        assert len(rows) == 1


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_nobody_waits_long_for_a_dump_while_a_query_is_long(busy: Any, tools: Any, tmp_path: Path, jobs: str) -> None:
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
