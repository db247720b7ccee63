"""The server as a restore found it: from that restore's record, whenever it was stopped."""

from __future__ import annotations

import time

from tklbam_core.api import DatabaseError, DatabaseFailure, DatabaseReport, DatabaseResult

from .accounts import put_accounts_back
from .connection import Error, Server, connect, reason
from .layout import DIRECTORY
from .state import PLANNED, State
from .swap import put_back


def roll_back(server: Server, state: State) -> DatabaseReport:
    """Puts databases and accounts back. Safe to run again after being stopped. Raises DatabaseError."""
    started = time.monotonic()
    failures = []
    try:
        with connect(server.settings) as session:
            for database, trouble in put_back(session, state, state.databases):
                stored = trouble.stored
                what = f"{stored.kind.lower()} {stored.name}: {trouble.reason}"
                if not stored.broken:
                    failures.append(DatabaseFailure(database=database, table=stored.name, reason=what))
            touched = [(str(account), bool(role)) for account, role in state.touched]
            failures += put_accounts_back(session, server, state.accounts, touched)
    except Error as error:
        raise DatabaseError(
            f"the databases can't be put back: {reason(error)}", "Remove the cause and run the rollback again."
        ) from error
    seconds = round(time.monotonic() - started, 3)
    return DatabaseReport(
        engine="mysql",
        directory=DIRECTORY,
        server=str(server),
        databases=tuple(
            DatabaseResult(name=saved.name, tables=len(saved.going), rows=None, size=0, seconds=seconds)
            for saved in state.databases
            if saved.step != PLANNED
        ),
        failures=tuple(failures),
    )
