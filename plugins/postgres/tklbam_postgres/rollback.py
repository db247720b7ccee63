"""Undoes a restore by its journal. Each step looks at what is there, so it can be run again after being killed."""

from __future__ import annotations

import time

from tklbam_core.api import (
    DatabaseError,
    DatabaseFailure,
    DatabaseReport,
    DatabaseResult,
    RollbackRequest,
    TklbamError,
)

from . import clusters, databases, layout, options, roles
from .connect import APPLICATION, Server, connect, open_connection, reach
from .failures import failure_of
from .journal import ClusterStep, DatabaseStep, load

LEFTOVER_TIMEOUT = 60.0
"""Seconds to wait for the end of sessions that a killed restore left."""


def roll_back(request: RollbackRequest) -> DatabaseReport | None:
    """Puts databases and roles back as the restore found them. None: the restore changed no PostgreSQL server.

    Raises DatabaseError where a server can't be reached or is another one.
    """
    journal = load(request.rollback)
    if journal is None:
        return None
    results: list[DatabaseResult] = []
    failures: list[DatabaseFailure] = []
    warnings: list[str] = []
    servers = []
    for step in journal.clusters:
        server = _server(step, request)
        servers.append(str(server))
        end_killed_restore(server)
        for entry in reversed(step.databases):
            began = time.monotonic()
            try:
                put_back(server, entry)
            except TklbamError as error:
                failures.append(failure_of(entry.name, error))
                continue
            seconds = time.monotonic() - began
            results.append(DatabaseResult(name=entry.name, tables=0, rows=None, size=0, seconds=seconds))
        connection = open_connection(server, "template1")
        try:
            warnings += roles.put_back(connection, step)
        finally:
            connection.close()
    return DatabaseReport(
        engine="pgsql",
        directory=layout.DIRECTORY,
        server=", ".join(servers),
        databases=tuple(results),
        failures=tuple(failures),
        warnings=tuple(warnings),
    )


def _server(step: ClusterStep, request: RollbackRequest) -> Server:
    """The server that the restore changed: found again by its identifier, wherever it now listens."""
    chosen = options.parse({**step.options, **request.options})
    errors = []
    for cluster in clusters.find(chosen):
        try:
            server = reach(cluster, chosen)
        except DatabaseError as error:
            errors.append(error.what)
            continue
        if server.identifier == step.identifier and not server.standby:
            return server
    detail = f": {'; '.join(errors)}" if errors else ""
    raise DatabaseError(
        f"the PostgreSQL server that {step.name} was restored into can't be found{detail}",
        "Start it, then run the rollback again; if it has moved, say where with database-option pgsql:host or socket.",
    )


def end_killed_restore(server: Server) -> None:
    """The server goes on with what a killed restore last asked for; a database could still appear behind our back.

    Ends the sessions of ours that are left over and waits for their end. Raises DatabaseError when one does not end.
    """
    deadline = time.monotonic() + LEFTOVER_TIMEOUT
    with connect(server) as connection:
        while connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()",
            (APPLICATION,),
        ).fetchall():
            if time.monotonic() > deadline:
                raise DatabaseError(
                    f"{server}: a session of the killed restore does not end",
                    "Restart the server, and roll back again.",
                )
            time.sleep(0.05)


def put_back(server: Server, entry: DatabaseStep) -> None:
    """Gives the name back to the database that had it, and drops the one that was loaded. Raises DatabaseError."""
    with connect(server) as connection:
        names = {oid: name for name, oid in databases.oids(connection).items()}
    loaded = names.get(entry.new_oid) if entry.new_oid is not None else None
    if entry.before_oid is not None and names.get(entry.before_oid) == entry.old:
        in_the_way = next((name for name in names.values() if name == entry.name), None)
        if in_the_way is not None:
            databases.swap(server, entry.name, entry.old, entry.gone)
            loaded = entry.gone
        else:
            databases.swap(server, entry.name, entry.old, None)
    if loaded not in (entry.name, entry.new, entry.gone):
        loaded = None  # somebody has renamed it since, so it is theirs now
    # The name first: the loaded one may have been made in the moment before its object id was noted.
    for name in (entry.new, entry.gone, loaded):
        if name is not None:
            databases.drop(server, name)
    if entry.paused:
        databases.pause_subscriptions(server, entry.name, entry.paused, resume=True)
