"""A database loaded beside the one it will replace, under a hidden name, by several connections at once."""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from tklbam_core.api import DatabaseError

from .connection import GONE, Error, Server, Session, code, connect, reason
from .load import explain, load_rows, prepare
from .names import FOREIGN_KEY, qualified, quote, unquote
from .objects import make
from .plan import DatabasePlan, TablePlan

WORKERS = 2
OLD = frozenset({1287, 1681, 3090, 3719, 3720, 3778})
"""Warnings that something is out of fashion, which the table was before."""
_SEQUENCE_DEFAULT = re.compile(r"^  (`(?:[^`]|``)*` .*?) DEFAULT .*\b(?:nextval|lastval|setval)\(`", re.IGNORECASE)


@dataclass(slots=True)
class Staged:
    """A database that is being loaded beside. `late` are statements that only hold once it is in its place."""

    plan: DatabasePlan
    hidden: str
    late: list[tuple[str, str]] = field(default_factory=list)
    rows: int = 0
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)
    failed: tuple[str | None, str] | None = None


def stage(server: Server, staged: Sequence[Staged], tell: Callable[[int, str], None]) -> None:
    """Makes and fills the hidden databases. One that fails has `failed` (table, reason), and is removed again.

    Raises DatabaseError when the server is lost.
    """
    with connect(server.settings) as session:
        prepare(session)
        for each in staged:
            _attempt(each, None, partial(_make_tables, session, each, server.is_mariadb))
    _Loading(server, [each for each in staged if each.failed is None], tell).run()
    with connect(server.settings) as session:
        for each in staged:
            if each.failed is not None:
                session.execute(f"DROP DATABASE IF EXISTS {quote(each.hidden)}")


def _attempt(staged: Staged, table: str | None, action: Callable[[], None]) -> None:
    try:
        action()
    except (Error, DatabaseError) as error:
        if isinstance(error, Error) and code(error) in GONE:
            raise _gone(staged, table, explain(error)) from error
        staged.failed = staged.failed or (table, explain(error))


def _still_there(session: Session, staged: Staged) -> None:
    """Raises DatabaseError where a failure was the server's end (a broken connection looks like a missing file)."""
    try:
        session.value("SELECT 1")
    except Error as error:
        table, why = staged.failed or (None, "")
        raise _gone(staged, table, why or explain(error)) from error


def _gone(staged: Staged, table: str | None, why: str) -> DatabaseError:
    where = f"{staged.plan.name}.{table}" if table else staged.plan.name
    return DatabaseError(
        f"the server went away while {where} was being restored: {why}",
        "Every database is as it was before. See the server's error log, then restore again.",
    )


def _make_tables(session: Session, staged: Staged, has_sequences: bool) -> None:
    plan = staged.plan
    session.execute(f"DROP DATABASE IF EXISTS {quote(staged.hidden)}")
    session.execute(renamed_database(plan.statement, plan.name, staged.hidden))
    session.execute(f"USE {quote(staged.hidden)}")
    for sequence in plan.sequences:
        try:
            make(session, staged.hidden, sequence)
        except Error as error:
            if code(error) in GONE:
                raise
            raise DatabaseError(f"sequence {sequence.name}: {explain(error)}") from error
        prepare(session)
    arriving = set(plan.incoming)
    for table in plan.tables:
        if table.external:
            continue
        try:
            session.execute(loadable(table, plan.name, arriving, staged.late, has_sequences))
            if session.warning_count:
                said = [
                    str(row[2]) for row in session.rows("SHOW WARNINGS") if row[0] == "Warning" and row[1] not in OLD
                ]
                staged.warnings += [f"table {table.name}: {each}" for each in said]
        except Error as error:
            if code(error) in GONE:
                raise
            why = "; ".join([explain(error), *_more(session, error)])
            raise DatabaseError(f"table {table.name}: {why}") from error
        if "DATA DIRECTORY=" in table.statement or "INDEX DIRECTORY=" in table.statement:
            staged.warnings.append(f"table {table.name} is now in the data directory, not in the one it named")


def _more(session: Session, error: Error) -> list[str]:
    """What else the server says about a statement's failure."""
    said = [str(message) for _, _, message in session.rows("SHOW WARNINGS")]
    return [message for message in said if message not in reason(error)]


def renamed_database(statement: str, name: str, hidden: str) -> str:
    """CREATE DATABASE for another name, with the same character set and comment."""
    return statement.replace(quote(name), quote(hidden), 1)


def loadable(
    table: TablePlan, database: str, arriving: set[str], late: list[tuple[str, str]], has_sequences: bool
) -> str:
    """The CREATE TABLE statement without what refers to tables that are not beside it.

    Foreign keys out of the set, and defaults that name sequences, go into `late` as (table, ALTER clause).
    """
    kept = []
    for line in table.statement.split("\n"):
        key = FOREIGN_KEY.match(line)
        if key:
            target_database = key.group(3)
            inside = target_database in (None, quote(database)) and unquote(key.group(4)) in arriving
            if inside and target_database is None:
                kept.append(line)
            else:
                late.append((table.name, f"ADD {key.group(1)}"))
            continue
        sequence = _SEQUENCE_DEFAULT.match(line) if has_sequences else None
        if sequence:
            late.append((table.name, f"MODIFY {line.strip().removesuffix(',')}"))
            line = f"  {sequence.group(1)}" + ("," if line.endswith(",") else "")
        kept.append(line)
    text = "\n".join(kept)
    # The last definition must not end in a comma.
    return re.sub(r",\n\)", "\n)", text, count=1) if len(kept) != table.statement.count("\n") + 1 else text


class _Loading:
    """Tables, the largest first, shared out among connections."""

    def __init__(self, server: Server, staged: Sequence[Staged], tell: Callable[[int, str], None]) -> None:
        self._server = server
        self._tell = tell
        self._lock = threading.Lock()
        self._work: queue.SimpleQueue[tuple[Staged, TablePlan]] = queue.SimpleQueue()
        self._lost: Exception | None = None
        tasks = [(each, table) for each in staged for table in each.plan.tables if table.rows and table.info.files]
        for task in sorted(tasks, key=lambda task: -task[1].size):
            self._work.put(task)
        self._count = min(WORKERS, len(tasks))

    def run(self) -> None:
        workers = [threading.Thread(target=self._work_off, daemon=True) for _ in range(self._count)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if isinstance(self._lost, (Error, OSError)):
            raise DatabaseError(
                f"loading stopped: {explain(self._lost)}", "Every database is as it was before."
            ) from self._lost
        if self._lost is not None:
            raise self._lost

    def _work_off(self) -> None:
        try:
            with connect(self._server.settings, local_infile=True) as session:
                prepare(session)
                while self._lost is None:
                    try:
                        staged, table = self._work.get_nowait()
                    except queue.Empty:
                        return
                    if staged.failed is None:
                        started = time.monotonic()
                        _attempt(staged, table.name, partial(self._load, session, staged, table))
                        staged.seconds += time.monotonic() - started
                    if staged.failed is not None:
                        _still_there(session, staged)
        except Exception as error:  # noqa: BLE001 - nothing that ends a thread may go unheard
            self._lost = self._lost or error

    def _load(self, session: Session, staged: Staged, table: TablePlan) -> None:
        label = f"{staged.plan.name}.{table.name}"
        with self._lock:
            files = table.entry.row_files()

        def tell(size: int) -> None:
            with self._lock:
                self._tell(size, label)

        loaded = load_rows(session, staged.hidden, table.name, table.statement, table.info, files, tell)
        if table.info.checksum is not None:
            found = session.value_at(f"CHECKSUM TABLE {qualified(staged.hidden, table.name)} QUICK", 1)
            if found is not None and int(found) != table.info.checksum:
                staged.warnings.append(f"table {table.name}: its checksum is not the one noted when it was backed up")
        with self._lock:
            staged.rows += loaded.rows
            staged.warnings += [f"table {table.name}: {warning}" for warning in loaded.warnings]
