"""Reading the rows of many tables: by the vendor's dump program in one snapshot, and by ourselves what it can't."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from tklbam_core.api import ProgressEvent
from tklbam_core.api.progress import Progress

from . import exact
from .connection import GONE, Client, Error, Server, Session, code, connect, reason
from .jobs import Job, named, shares
from .locks import bound_waits, told
from .names import qualified
from .snapshot import begin_snapshot, hold_commits
from .streams import Streams

SNAPSHOT = ("--single-transaction",)
FORBIDDEN = frozenset({1044, 1142})
TRIES = 3
"""Of locking tables together, less those each time that could not be had."""


class RowReader:
    """Reads tables from one server. `clock` has the seconds spent by database."""

    def __init__(
        self,
        server: Server,
        client: Client,
        unsafe: frozenset[str],
        programs: int,
        lock_timeout: int,
        progress: Progress,
        total: int,
    ) -> None:
        self._server = server
        self._client = client
        self._unsafe = unsafe
        self._programs = programs
        self._lock_timeout = lock_timeout
        self._progress = progress
        self._total = total
        self._done = 0
        self.clock: dict[str, float] = {}
        self.problems: list[str] = []
        self.at = ""
        self._streams = Streams(server, client, lock_timeout, self._tell)

    def read(self, transactional: Sequence[Job], others: Sequence[Job], lock: Callable[[str], bool]) -> None:
        """Reads all rows: `transactional` in one snapshot; `others` after it, locked where `lock(database)` says so.

        Raises DatabaseError when the server is lost; a single table's trouble is its job's `failed`.
        """
        self._streams.learn([*transactional, *others])
        exactly = [job for job in transactional if self._needs_exact(job)]
        streamed = [job for job in transactional if job not in exactly] if exactly else list(transactional)
        if exactly:
            with self._raw_session() as session:
                self._at_one_moment(streamed, session, exactly)
                self._exactly(session, exactly)
        elif streamed:
            self._at_one_moment(streamed, None, ())
        self._others(others, lock)
        self.problems += self._streams.problems

    def _at_one_moment(self, streamed: Sequence[Job], session: Session | None, exactly: Sequence[Job]) -> None:
        """Reads `streamed`, and begins a transaction in `session` that sees what their readers see."""
        among = shares(streamed, self._programs)
        if len(among) > 1:
            with hold_commits(self._server) as hold:
                if not hold.problem:
                    if session is not None:
                        begin_snapshot(session)
                    self._streams.read(among, SNAPSHOT, hold)
                    return
        if session is None:
            self._streams.read([streamed], SNAPSHOT, None)
        elif not streamed:
            begin_snapshot(session)
        else:
            with hold_commits(self._server, [job.table for job in exactly]) as hold:
                begin_snapshot(session)
                if hold.problem:
                    self.problems.append(
                        f"commits could not be held back ({hold.problem}): {named(exactly)} were read a moment "
                        "before the other tables"
                    )
                self._streams.read([streamed], SNAPSHOT, hold)

    def _others(self, jobs: Sequence[Job], lock: Callable[[str], bool]) -> None:
        for database in sorted({job.table.database for job in jobs}):
            group = [job for job in jobs if job.table.database == database]
            locked = lock(database)
            if locked:
                # The program locks all of them or none, and reads on as if nothing were, without saying which it was.
                with self._raw_session() as session:
                    group, locked = self._locking(session, group)
            streamed = [job for job in group if not self._needs_exact(job)]
            if streamed:
                self._streams.read([streamed], ["--lock-tables" if locked else "--skip-lock-tables"], None)
            rest = [job for job in group if job not in streamed]
            if rest:
                with self._raw_session() as session:
                    self._exactly(session, self._locking(session, rest)[0] if locked else rest)

    def _locking(self, session: Session, jobs: list[Job]) -> tuple[list[Job], bool]:
        """Locks these tables together, but for those that can't be had, which are told.

        Returns those to read, and whether they are locked: they are not where this account may not.
        """
        for _ in range(TRIES):
            if not jobs or (error := self._lock(session, jobs)) is None:
                return jobs, True
            if code(error) in FORBIDDEN:
                self.problems.append(
                    f"{named(jobs)}: read while in use, so they may be inconsistent, since this account may not lock "
                    f"them: {reason(error)}"
                )
                return jobs, False
            session.execute("SET lock_wait_timeout=1")  # they have been waited for
            for job in jobs:
                if (why := self._lock(session, [job])) is not None:
                    job.failed = told(code(why), why, self._lock_timeout)
            bound_waits(session, self._lock_timeout)
            jobs = [job for job in jobs if not job.failed]
        for job in jobs:
            job.failed = "others keep locking it, or tables of its database that are to be locked with it"
        return [], True

    def _lock(self, session: Session, jobs: Sequence[Job]) -> Error | None:
        """Locks these tables and no others; returns why that can't be done."""
        names = [f"{qualified(job.table.database, job.table.name)} READ" for job in jobs]
        try:
            session.execute(f"LOCK TABLES {', '.join(names)}")
        except Error as error:
            if code(error) in GONE:
                raise self._server.lost(jobs[0].table.label, reason(error)) from error
            return error
        return None

    def _needs_exact(self, job: Job) -> bool:
        return exact.needs_exact(job.table, self._unsafe, self._client)

    def _raw_session(self) -> Session:
        session = connect(self._server.settings, raw=True)
        bound_waits(session, self._lock_timeout)
        return session

    def _exactly(self, session: Session, jobs: Iterable[Job]) -> None:
        for job in jobs:
            last = time.monotonic()
            try:
                for block in exact.row_blocks(session, job.table, self._unsafe):
                    job.writer.write(block)
                    now = time.monotonic()
                    self._tell(len(block), job.table.label, now - last)
                    last = now
            except Error as error:
                if code(error) in GONE:
                    raise self._server.lost(job.table.label, reason(error)) from error
                job.failed = told(code(error), error, self._lock_timeout)
            job.writer.finish()

    def _tell(self, size: int, item: str, seconds: float) -> None:
        """Takes note of rows that came: bytes, the table they are of, and how long they took."""
        self._done += size
        self.at = item
        database = item.split(".", 1)[0]
        self.clock[database] = self.clock.get(database, 0.0) + seconds
        self._progress(ProgressEvent("mysql dump", self._done, max(self._total, self._done), "bytes", item))
