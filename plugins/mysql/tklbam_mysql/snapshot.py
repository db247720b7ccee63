"""One moment for several readers: commits are held back, briefly, while each of them takes its snapshot.

MariaDB holds back commits and nothing else. MySQL has no such thing. Its global read lock waits for every running
query, and whoever wants a table that such a query uses waits for that query's end, even when the lock has been given
up. So it is not tried while a query is long. Where only some tables must agree with the snapshot of one other reader,
locking these for reading is enough: nothing can be committed to them, and whoever reads does not notice.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from .catalogue import Table
from .connection import Error, Server, Session, code, connect, reason
from .locks import LOCK_WAIT_TIMEOUT, OWN_CONNECTIONS
from .names import qualified

MOST_PROGRAMS = 4
NEEDED_CONNECTIONS = 3
"""Those that exact rows, held commits and the watch for locks need besides the programs'."""
LOCK_WAIT = 10
"""Seconds to wait for MariaDB's lock before going on without it; longer would hold up the server's users."""
GLOBAL_LOCK_WAIT = 3
"""The same for the global read lock."""
LONG_QUERY = 1
"""Seconds after which a query is taken for one that may go on."""
QUIET_WAIT = 10
"""Seconds to wait for such queries to end."""
TABLE_LOCK_WAIT = 1
"""The same for a lock of one table: who writes to those that are locked already waits, too. The server's least."""
TRIES = 6
PAUSE = 0.5
"""Seconds between two tries, in which everybody writes."""
MOST_LOCKS = 32
"""Tables that are locked one by one, each by a connection of its own; nor more than half of those that are left."""

_LONG = f"""
SELECT MAX(TIME) FROM information_schema.PROCESSLIST
WHERE COMMAND IN ('Query', 'Execute') AND TIME >= {LONG_QUERY} AND ID <> CONNECTION_ID() AND USER <> 'system user'
"""


@dataclass(slots=True)
class Hold:
    """Commits held back. `problem` says why they are not."""

    sessions: list[Session] = field(default_factory=list)
    problem: str = ""

    def connect(self, server: Server) -> Session:
        """A session whose locks last until `release`."""
        self.sessions.append(connect(server.settings))
        return self.sessions[-1]

    def release(self) -> None:
        """Lets commits through again; a second call does nothing."""
        # Closing a connection ends the backup stage and every lock with it.
        while self.sessions:
            self.sessions.pop().close()


def holds_gently(server: Server) -> bool:
    """Whether holding commits back waits for nobody's queries and stops nothing but commits."""
    return server.is_mariadb and server.version >= (10, 4, 1)


@contextlib.contextmanager
def hold_commits(server: Server, tables: Sequence[Table] | None = None) -> Iterator[Hold]:
    """Holds back commits until `release`: all, or, with `tables`, at least all to these.

    MariaDB ≥ 10.4 blocks commits alone; MySQL ≥ 8 locks the tables, or takes a global read lock as others do.
    """
    hold = Hold()
    try:
        if tables is None or server.is_mariadb or server.version < (8,):
            hold.problem = _hold_all(hold, server)
        else:
            hold.problem = _lock_tables(hold, server, tables)
    except Error as error:
        hold.problem = reason(error)
    if hold.problem:
        hold.release()
    try:
        yield hold
    finally:
        hold.release()


def how_many_programs(server: Server, session: Session, wanted: int) -> int:
    """How many dump programs read at once: `wanted`, or (0) several where commits can be held back gently.

    One alone is sure to see one moment. Never more than the server lets in besides our own connections.
    """
    most = wanted or (min(MOST_PROGRAMS, os.cpu_count() or 1) if holds_gently(server) else 1)
    return max(1, min(most, _spare_connections(session) - NEEDED_CONNECTIONS))


def _spare_connections(session: Session) -> int:
    (most, most_of_user) = session.rows("SELECT @@max_connections, @@max_user_connections")[0]
    spare = int(most) - int(session.value_at("SHOW GLOBAL STATUS LIKE 'Threads_connected'", 1))
    if not most_of_user:
        return spare
    return min(spare, int(most_of_user) - int(session.value(f"SELECT count(*) {OWN_CONNECTIONS}")))


def _hold_all(hold: Hold, server: Server) -> str:
    """Returns why it can't be done, "" where it was."""
    session = hold.connect(server)
    if holds_gently(server):
        session.execute(f"SET lock_wait_timeout={LOCK_WAIT}")
        session.execute("BACKUP STAGE START")
        session.execute("BACKUP STAGE BLOCK_COMMIT")
        return ""
    end = time.monotonic() + QUIET_WAIT
    while seconds := int(session.value(_LONG) or 0):
        if time.monotonic() > end:
            return f"a query has been running for {seconds} seconds"
        time.sleep(PAUSE)
    session.execute(f"SET lock_wait_timeout={GLOBAL_LOCK_WAIT}")
    session.execute("FLUSH TABLES WITH READ LOCK")
    return ""


def _lock_tables(hold: Hold, server: Server, tables: Sequence[Table]) -> str:
    """Locks each table in a session of its own, so that none waits while it holds a lock; returns as `_hold_all`.

    One that does would be seen as half of a deadlock, of which the server ends the other half, somebody's transaction.
    That transaction holds one table and wants another, so the table that could not be had is the first to be tried
    next: who locks in the order in which transactions do meets none that is half way.
    """
    with connect(server.settings) as session:
        most = min(MOST_LOCKS, _spare_connections(session) // 2)
    if len(tables) > most:
        return f"{len(tables)} tables would have to be locked, each by a connection of its own"
    names = [qualified(table.database, table.name) for table in tables]
    for left in reversed(range(TRIES)):
        at = ""
        sessions = [hold.connect(server) for _ in names]
        for session in sessions:
            session.execute(f"SET lock_wait_timeout={TABLE_LOCK_WAIT}")
        try:
            for session, at in zip(sessions, names, strict=True):
                session.execute(f"LOCK TABLES {at} READ")
            break
        except Error as error:
            if code(error) != LOCK_WAIT_TIMEOUT or not left:
                raise
        hold.release()
        names = [at, *(name for name in names if name != at)]
        time.sleep(PAUSE)
    return ""


def begin_snapshot(session: Session) -> None:
    """Starts a read view that stays as it is until the session's transaction ends."""
    session.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    session.execute("START TRANSACTION /*!40100 WITH CONSISTENT SNAPSHOT */")
