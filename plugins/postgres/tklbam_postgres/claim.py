"""One restore at a time works on a server: each removes what earlier ones have left, and takes another's for that."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tklbam_core.api import DatabaseError

from .connect import Server, open_connection

if TYPE_CHECKING:
    import psycopg

KEY = int.from_bytes(b"tklbam", "big")
PATIENCE = 5.0
"""Seconds in which a session ends whose restore was killed."""


class Claim:
    """Holds the server for the length of a `with` block, by a session of its own in a maintenance database.

    Raises DatabaseError where another restore holds it.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._session: psycopg.Connection[Any] | None = None

    def __enter__(self) -> Claim:
        self._take()
        return self

    def __exit__(self, *_: object) -> None:
        self._let_go()

    def _take(self) -> None:
        session = open_connection(self._server)
        deadline = time.monotonic() + PATIENCE
        while not session.execute("SELECT pg_try_advisory_lock(%s)", (KEY,)).fetchall()[0][0]:
            if time.monotonic() > deadline:
                holders = session.execute(
                    "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
                    " AND (classid::bigint << 32) + objid::bigint = %s",
                    (KEY,),
                ).fetchall()
                session.close()
                raise DatabaseError(
                    f"another restore is at work on {self._server}",
                    f"Wait for its end; if it has none, end its session ({', '.join(str(row[0]) for row in holders)}).",
                )
            time.sleep(0.1)
        self._session = session

    def _let_go(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    @contextlib.contextmanager
    def aside(self, database: str) -> Iterator[None]:
        """For the length of the block nothing of this is in the way of `database`, which gets another name in it."""
        if self._session is None or self._session.info.dbname != database:
            yield
            return
        self._let_go()
        try:
            yield
        finally:
            self._take()
