"""Reading the rows of many tables: by the vendor's dump program in one snapshot, and by ourselves what it can't."""

from __future__ import annotations

import fcntl
import os
import re
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tklbam_core.api import CommandError, DatabaseError, Process, ProgressEvent, start
from tklbam_core.api.progress import Progress

from . import exact
from .catalogue import Table
from .connection import GONE, Client, Error, Server, Session, code, connect, option_file, reason
from .cut import RowsWriter
from .names import qualified, quote
from .settings import quote_option
from .snapshot import Hold, begin_snapshot, hold_commits
from .split import Splitter

BLOCK = 1 << 20
WRITES = BLOCK // 8
"""Bytes that the dump program writes at once: each time both of us are woken, which costs more than the copying."""
PIPE_WAIT = 0.001
"""Seconds in which the dump program, where it can't be told that, fills a part of the pipe, and never the whole."""
FIRST_BYTES_WAIT = 15
"""Seconds to wait for the dump program's first rows, which show that it has its snapshot."""
_TABLE_ERROR = re.compile(r"Error (\d+): (.*) when dumping table `(.*)` at row: \d+")
_ANY_ERROR = re.compile(r"(?:mariadb-dump|mysqldump): (.*)")
_ERROR_NUMBER = re.compile(r"\((\d{4})\)|[Ee]rror:? (\d{4})")


@dataclass(slots=True)
class Job:
    """One table to be read, and where its rows go. `failed` says why they are not all there."""

    table: Table
    writer: RowsWriter
    failed: str = ""
    warnings: list[str] = field(default_factory=list)


class RowReader:
    """Reads tables from one server. `clock` has the seconds spent by database; `history` whether past rows are read."""

    def __init__(self, server: Server, client: Client, unsafe: frozenset[str], progress: Progress, total: int) -> None:
        self._server = server
        self._client = client
        self._unsafe = unsafe
        self._progress = progress
        self._total = total
        self._done = 0
        self.history = client.is_mariadb and client.version >= (10, 11) and server.version >= (10, 11, 0)
        self.clock: dict[str, float] = {}
        self.problems: list[str] = []
        self.at = ""

    def read(self, transactional: Sequence[Job], others: Sequence[Job], lock: Callable[[str], bool]) -> None:
        """Reads all rows: `transactional` in one snapshot; `others` after it, locked where `lock(database)` says so.

        Raises DatabaseError when the server is lost; a single table's trouble is its job's `failed`.
        """
        exactly = [job for job in transactional if exact.needs_exact(job.table, self._unsafe)]
        streamed = [job for job in transactional if job not in exactly] if exactly else list(transactional)
        if not exactly:
            if streamed:
                self._stream(streamed, ["--single-transaction"], None)
        else:
            with connect(self._server.settings, raw=True) as session:
                with hold_commits(self._server) as hold:
                    begin_snapshot(session)
                    if hold.problem and streamed:
                        self.problems.append(
                            f"commits could not be held back ({hold.problem}): {_named(exactly)} were read a moment "
                            "before the other tables"
                        )
                    if streamed:
                        self._stream(streamed, ["--single-transaction"], hold)
                self._exactly(session, exactly)
        self._others(others, lock)

    def _others(self, jobs: Sequence[Job], lock: Callable[[str], bool]) -> None:
        for database in sorted({job.table.database for job in jobs}):
            group = [job for job in jobs if job.table.database == database]
            locked = lock(database)
            streamed = [job for job in group if not exact.needs_exact(job.table, self._unsafe)]
            if streamed:
                self._stream(streamed, ["--lock-tables" if locked else "--skip-lock-tables"], None)
            rest = [job for job in group if job not in streamed]
            if rest:
                with connect(self._server.settings, raw=True) as session:
                    if locked:
                        names = ", ".join(f"{qualified(database, job.table.name)} READ" for job in rest)
                        session.execute(f"LOCK TABLES {names}")
                    self._exactly(session, rest)

    def _exactly(self, session: Session, jobs: Iterable[Job]) -> None:
        for job in jobs:
            started = time.monotonic()
            try:
                for block in exact.row_blocks(session, job.table, self._unsafe, self.history):
                    job.writer.write(block)
                    self._tell(len(block), job.table.label)
            except Error as error:
                if code(error) in GONE:
                    raise self._lost(job.table.label, reason(error)) from error
                job.failed = reason(error)
            job.writer.finish()
            self._count(job.table.database, started)

    def _stream(self, jobs: Sequence[Job], consistency: Sequence[str], hold: Hold | None) -> None:
        by_database: dict[str, dict[str, RowsWriter]] = {}
        for job in jobs:
            by_database.setdefault(job.table.database, {})[job.table.name] = job.writer
        splitter = Splitter(by_database)
        with option_file(self._server.settings, self._ignored(by_database)) as option:
            argv = [self._client.program, option, *self._options(), *consistency, "--databases", "--", *by_database]
            try:
                with start([*_large_writes(), *argv], stdout=subprocess.PIPE) as process:
                    self._pump(process, splitter, hold)
                    if not splitter.finish():
                        process.wait()
                        raise self._lost(splitter.at, "its rows end in mid-statement")
            except CommandError as error:
                named = CommandError(Path(self._client.program).name, error.status, error.stderr)
                self._judge(named, jobs, splitter)
        for job in jobs:
            job.writer.finish()
        self.problems += [f"rows of an unknown table were left out: {each}" for each in sorted(splitter.strangers)]

    def _pump(self, process: Process, splitter: Splitter, hold: Hold | None) -> None:
        pipe = process.stdout
        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, BLOCK)
        if hold is not None:
            select.select([pipe], [], [], FIRST_BYTES_WAIT)
            hold.release()
        started = time.monotonic()
        descriptor = pipe.fileno()
        while block := os.read(descriptor, BLOCK):
            splitter.feed(block)
            at = splitter.at
            self._tell(len(block), at)
            started = self._count(at.split(".", 1)[0], started)
            if len(block) < WRITES:
                time.sleep(PIPE_WAIT)

    def _options(self) -> list[str]:
        options = [
            *("--quick", "--extended-insert", "--complete-insert", "--no-create-info", "--no-create-db"),
            *("--skip-triggers", "--hex-blob", "--order-by-primary", "--skip-comments", "--skip-add-locks"),
            *("--skip-disable-keys", "--default-character-set=utf8mb4", "--tz-utc", "--max-allowed-packet=1G"),
            *("--net-buffer-length=1M", "--force"),
        ]
        if self._client.is_mariadb:
            return [*options, *(["--dump-history"] if self.history else [])]
        return [*options, "--set-gtid-purged=OFF", "--no-tablespaces", *(
            ["--column-statistics=0"] if self._client.version >= (8, 0) else []
        )]  # fmt: skip

    def _ignored(self, taken: dict[str, dict[str, RowsWriter]]) -> list[str]:
        """Lines of an option file that leave out all other tables and views of these databases."""
        lines = ["[mysqldump]"]
        with connect(self._server.settings) as session:
            for database, tables in taken.items():
                for (name,) in session.texts(f"SHOW TABLES FROM {quote(database)}"):
                    if str(name) not in tables:
                        lines.append(f"ignore-table={quote_option(f'{database}.{name}')}")
        return lines

    def _judge(self, error: CommandError, jobs: Sequence[Job], splitter: Splitter) -> None:
        """Finds out which tables a failed dump program could not read; raises when it was the server that failed."""
        named = False
        for line in error.stderr.splitlines():
            match = _TABLE_ERROR.search(line)
            said = _ANY_ERROR.search(line)
            number = _ERROR_NUMBER.search(line)
            lost = number is not None and int(number.group(1) or number.group(2)) in GONE
            if lost or (match and int(match.group(1)) in GONE):
                raise self._lost(splitter.at, said.group(1) if said else line) from error
            if match:
                for job in jobs:
                    if job.table.name == match.group(3) and not job.failed:
                        job.failed = f"{match.group(2)} ({match.group(1)})"
                        named = True
            elif said:
                self._blame(said.group(1), jobs)
                named = True
        if not named:
            raise DatabaseError(
                f"{self._client.program} failed while reading {splitter.at}: {error.what}",
                "See the server's error log.",
            ) from error

    def _blame(self, text: str, jobs: Sequence[Job]) -> None:
        """An error that names no row: of the table it mentions, else of them all, for none can be trusted."""
        mentioned = [job for job in jobs if f"`{job.table.name}`" in text or f"'{job.table.label}'" in text]
        for job in mentioned or jobs:
            job.failed = job.failed or text

    def _lost(self, at: str, why: str) -> DatabaseError:
        where = f" while {at} was being read" if at else ""
        return DatabaseError(f"{self._server} went away{where}: {why}", "See the server's error log, then run again.")

    def _tell(self, size: int, item: str) -> None:
        self._done += size
        self.at = item
        self._progress(ProgressEvent("mysql dump", self._done, max(self._total, self._done), "bytes", item))

    def _count(self, database: str, started: float) -> float:
        now = time.monotonic()
        self.clock[database] = self.clock.get(database, 0.0) + now - started
        return now


def _large_writes() -> list[str]:
    """Words before the dump program's, with which it writes more at once than the few kilobytes of its own accord."""
    program = shutil.which("stdbuf")
    return [program, f"--output={WRITES}"] if program else []


def _named(jobs: Sequence[Job]) -> str:
    names = [job.table.label for job in jobs]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
