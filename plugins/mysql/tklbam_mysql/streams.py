"""Runs of the vendor's dump program, one or several at once, whose output is taken apart while it comes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tklbam_core.api import CommandError, DatabaseError, Process, start

from .connection import GONE, Client, Server, connect, option_argument, option_file
from .exact import prints_history
from .jobs import Job, by_database
from .locks import INTERRUPTED, LockWatch, told
from .names import quote
from .settings import quote_option
from .snapshot import Hold
from .split import Splitter

BLOCK = 1 << 20
WRITES = 32 << 10
"""Bytes that a dump program writes at once: each time both of us are woken, which costs more than the copying. Its
first ones show that it has its snapshot, so with many more, commits would be held back for longer."""
PIPE_WAIT = 0.001
"""Seconds in which the dump program, where it can't be told that, fills a part of the pipe, and never the whole."""
FIRST_BYTES_WAIT = 15
"""Seconds to wait for the dump programs' first rows."""
_TABLE_ERROR = re.compile(r"Error (\d+): (.*) when dumping table `(.*)` at row: \d+")
_ANY_ERROR = re.compile(r"(?:mariadb-dump|mysqldump): (.*)")
_ERROR_NUMBER = re.compile(r"\((\d{4})\)|[Ee]rror:? (\d{4})")

Tell = Callable[[int, str, float], object]
"""Is told bytes that came, the table (or database) they are of, and the seconds since the last ones came."""


@dataclass(frozen=True, slots=True)
class _Stream:
    process: Process
    splitter: Splitter

    @property
    def descriptor(self) -> int:
        return self.process.stdout.fileno()


class Streams:
    """Reads jobs of one server, once their databases were learnt.

    `problems` are warnings; a single table's trouble is its job's `failed`.
    """

    def __init__(self, server: Server, client: Client, lock_timeout: int, tell: Tell) -> None:
        self._server = server
        self._client = client
        self._lock_timeout = lock_timeout
        self._tell = tell
        self._names: dict[str, list[str]] = {}
        self.problems: list[str] = []

    def learn(self, jobs: Iterable[Job]) -> None:
        """Asks what else is in these jobs' databases, while nobody waits."""
        with connect(self._server.settings) as session:
            for database in sorted({job.table.database for job in jobs} - set(self._names)):
                listed = session.texts(f"SHOW TABLES FROM {quote(database)}")
                self._names[database] = [str(name) for (name,) in listed]

    def read(self, shares: Sequence[Sequence[Job]], consistency: Sequence[str], hold: Hold | None) -> None:
        """Reads each share with a program of its own, all at once; `hold` is released when they have their snapshots.

        Raises DatabaseError when the server is lost.
        """
        with contextlib.ExitStack() as stack:
            watch = stack.enter_context(contextlib.closing(LockWatch(self._server, self._lock_timeout)))
            streams = [stack.enter_context(self._running(jobs, consistency, watch)) for jobs in shares]
            if hold is not None and not hold.problem:
                self._await_snapshots(streams)
                hold.release()
            self._pump(streams, watch)
        for jobs in shares:
            for job in jobs:
                job.writer.finish()

    @contextlib.contextmanager
    def _running(self, jobs: Sequence[Job], consistency: Sequence[str], watch: LockWatch) -> Iterator[_Stream]:
        tables = by_database(jobs)
        splitter = Splitter(tables)
        with option_file(self._server.settings, self._ignored(tables)) as option:
            argv = [self._client.program, option_argument(option), *self._options(), *consistency, "--databases", "--"]
            try:
                with start([*_large_writes(), *argv, *tables], stdout=subprocess.PIPE, pass_fds=[option]) as process:
                    fcntl.fcntl(process.stdout.fileno(), fcntl.F_SETPIPE_SZ, BLOCK)
                    yield _Stream(process, splitter)
                    if not splitter.finish():
                        process.wait()
                        raise self._server.lost(splitter.at, "its rows end in mid-statement")
            except CommandError as error:
                named = CommandError(Path(self._client.program).name, error.status, error.stderr)
                self._judge(named, jobs, splitter, watch.ended > 0)
        self.problems += [f"rows of an unknown table were left out: {each}" for each in sorted(splitter.strangers)]

    def _await_snapshots(self, streams: Sequence[_Stream]) -> None:
        end = time.monotonic() + FIRST_BYTES_WAIT
        for stream in streams:
            if not select.select([stream.descriptor], [], [], max(0.0, end - time.monotonic()))[0]:
                self.problems.append(
                    f"{self._client.program} gave nothing for {FIRST_BYTES_WAIT} seconds, for which commits were held "
                    "back; then they were let through: tables may be of different moments"
                )
                return

    def _pump(self, streams: Sequence[_Stream], watch: LockWatch) -> None:
        by_descriptor = {stream.descriptor: stream for stream in streams}
        poll = select.poll()
        for descriptor in by_descriptor:
            poll.register(descriptor, select.POLLIN)
        last = time.monotonic()
        size = BLOCK // len(streams)
        while by_descriptor:
            watch.look()
            for descriptor, _ in poll.poll(1000):
                block = os.read(descriptor, size)
                if not block:
                    poll.unregister(descriptor)
                    del by_descriptor[descriptor]
                    continue
                splitter = by_descriptor[descriptor].splitter
                splitter.feed(block)
                now = time.monotonic()
                self._tell(len(block), splitter.at, now - last)
                last = now
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
            return [*options, *(["--dump-history"] if prints_history(self._client) else [])]
        return [*options, "--set-gtid-purged=OFF", "--no-tablespaces", *(
            ["--column-statistics=0"] if self._client.version >= (8, 0) else []
        )]  # fmt: skip

    def _ignored(self, taken: Mapping[str, Mapping[str, object]]) -> list[str]:
        """Lines of an option file that leave out all other tables and views of these databases."""
        return ["[mysqldump]"] + [
            f"ignore-table={quote_option(f'{database}.{name}')}"
            for database, tables in taken.items()
            for name in self._names[database]
            if name not in tables
        ]

    def _judge(self, error: CommandError, jobs: Sequence[Job], splitter: Splitter, locked: bool) -> None:
        """Finds out which tables a failed dump program could not read; raises when it was the server that failed."""
        named = False
        known = ""  # the error that the line before has said of a table; the program repeats it without the table
        for line in error.stderr.splitlines():
            match = _TABLE_ERROR.search(line)
            said = _ANY_ERROR.search(line)
            found = _ERROR_NUMBER.search(line)
            number = found.group(1) or found.group(2) if found else ""
            if (number and int(number) in GONE) or (match and int(match.group(1)) in GONE):
                raise self._server.lost(splitter.at, said.group(1) if said else line) from error
            if match:
                for job in jobs:
                    if job.table.name == match.group(3) and not job.failed:
                        said_of_it = f"{match.group(2)} ({match.group(1)})"
                        job.failed = told(int(match.group(1)) if locked else 0, said_of_it, self._lock_timeout)
                        named = True
            elif said and not (known and known == number and "when retrieving data" in line):
                known = number if self._blame(said.group(1), jobs, locked and number == str(INTERRUPTED)) else ""
                named = True
        if not named:
            raise DatabaseError(
                f"{self._client.program} failed while reading {splitter.at}: {error.what}",
                "See the server's error log.",
            ) from error

    def _blame(self, text: str, jobs: Sequence[Job], interrupted: bool) -> bool:
        """An error that names no row: of the table it mentions, else of them all, for none can be trusted.

        Returns whether it mentions one.
        """
        mentioned = [job for job in jobs if f"`{job.table.name}`" in text or f"'{job.table.label}'" in text]
        why = told(INTERRUPTED if interrupted else 0, text, self._lock_timeout)
        for job in mentioned or jobs:
            job.failed = job.failed or why
        return bool(mentioned)


def _large_writes() -> list[str]:
    """Words before the dump program's, with which it writes more at once than the few kilobytes of its own accord."""
    program = shutil.which("stdbuf")
    return [program, f"--output={WRITES}"] if program else []
