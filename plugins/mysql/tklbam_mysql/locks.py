"""Tables that somebody else keeps locked: how long a dump waits for them, and who ends the wait.

Our own sessions can be told (`lock_wait_timeout`), the dump programs can't: their waiting queries are ended from
outside, upon which they report the table and go on with the next.
"""

from __future__ import annotations

import contextlib
import time

from .connection import Error, Server, Session, connect, reason

EVERY = 1.0
"""Seconds between two looks."""
INTERRUPTED = 1317
LOCK_WAIT_TIMEOUT = 1205

OWN_CONNECTIONS = "FROM information_schema.PROCESSLIST WHERE USER = SUBSTRING_INDEX(USER(), '@', 1)"
"""In a query: those of the account that asks."""

# Only what the dump programs ask, and only in connections made after this one: nobody else's queries are ended.
_WAITING = f"""
SELECT ID {OWN_CONNECTIONS}
AND ID > CONNECTION_ID() AND STATE LIKE 'Waiting for %lock%' AND TIME >= {{}}
AND (INFO LIKE '%SQL_NO_CACHE%' OR INFO LIKE 'LOCK TABLES%' OR INFO LIKE 'SHOW %')
"""


class LockWatch:
    """Ends queries of dump programs, started after this, that wait for a lock longer than `seconds`."""

    def __init__(self, server: Server, seconds: int) -> None:
        self._session: Session | None = connect(server.settings)
        self._seconds = seconds
        self._next = time.monotonic() + seconds
        self.ended = 0

    def look(self) -> None:
        """Ends what has waited for too long, if it is time. Where the server refuses to say, the programs wait on."""
        now = time.monotonic()
        if self._session is None or now < self._next:
            return
        self._next = now + EVERY
        try:
            for (number,) in self._session.texts(_WAITING.format(self._seconds)):
                with contextlib.suppress(Error):  # it has just ended by itself
                    self._session.execute(f"KILL QUERY {number}")
                    self.ended += 1
        except Error:
            self.close()

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


def bound_waits(session: Session, seconds: int) -> None:
    """Makes a session of ours wait no longer for a locked table."""
    session.execute(f"SET lock_wait_timeout={seconds}")


def told(number: int, error: Error | str, seconds: int) -> str:
    """Why a table could not be read: in our words where it was locked."""
    if number in (INTERRUPTED, LOCK_WAIT_TIMEOUT):
        return (
            f"another connection has kept it locked for more than {seconds} seconds; end that, or have the backup wait "
            "longer: database-option mysql:lock-timeout=SECONDS"
        )
    return error if isinstance(error, str) else reason(error)
