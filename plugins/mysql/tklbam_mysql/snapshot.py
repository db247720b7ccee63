"""One moment for several readers: commits are held back, briefly, while each of them takes its snapshot."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from .connection import Error, Server, Session, connect, reason

MOST_PROGRAMS = 4
OWN_CONNECTIONS = 3
"""Those that exact rows, held commits and the watch for locks need besides the programs'."""
LOCK_WAIT = 10
"""Seconds to wait for the lock before going on without it; longer would hold up the server's users."""


@dataclass(slots=True)
class Hold:
    """Commits held back. `problem` says why they are not."""

    session: Session | None
    problem: str = ""

    def release(self) -> None:
        """Lets commits through again; a second call does nothing."""
        if self.session is not None:
            # Closing the connection ends the backup stage and every lock with it.
            self.session.close()
            self.session = None


def holds_gently(server: Server) -> bool:
    """Whether holding commits back waits for nobody's queries and stops nothing but commits."""
    return server.is_mariadb and server.version >= (10, 4, 1)


@contextlib.contextmanager
def hold_commits(server: Server) -> Iterator[Hold]:
    """Holds commits until `release`. MariaDB ≥ 10.4 blocks commits alone, others take a global read lock."""
    session = connect(server.settings)
    hold = Hold(session)
    try:
        session.execute(f"SET lock_wait_timeout={LOCK_WAIT}")
        if holds_gently(server):
            session.execute("BACKUP STAGE START")
            session.execute("BACKUP STAGE BLOCK_COMMIT")
        else:
            session.execute("FLUSH TABLES WITH READ LOCK")
    except Error as error:
        hold.problem = reason(error)
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
    return max(1, min(most, _spare_connections(session) - OWN_CONNECTIONS))


def _spare_connections(session: Session) -> int:
    (most, most_of_user) = session.rows("SELECT @@max_connections, @@max_user_connections")[0]
    spare = int(most) - int(session.value_at("SHOW GLOBAL STATUS LIKE 'Threads_connected'", 1))
    if not most_of_user:
        return spare
    query = "SELECT count(*) FROM information_schema.PROCESSLIST WHERE USER = SUBSTRING_INDEX(USER(), '@', 1)"
    return min(spare, int(most_of_user) - int(session.value(query)))


def begin_snapshot(session: Session) -> None:
    """Starts a read view that stays as it is until the session's transaction ends."""
    session.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    session.execute("START TRANSACTION /*!40100 WITH CONSISTENT SNAPSHOT */")
