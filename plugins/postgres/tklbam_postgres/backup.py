"""The backup of a host's PostgreSQL: every cluster found, every database that the limits take."""

from __future__ import annotations

import shutil
from dataclasses import replace

from tklbam_core.api import (
    DatabaseError,
    DatabaseFailure,
    DatabaseReport,
    DatabaseResult,
    DumpRequest,
    TklbamError,
)

from . import clusters, layout, options
from .connect import Server, reach
from .dump import dump_cluster
from .failures import failure_of, told

ENGINE = "pgsql"


def dump(request: DumpRequest) -> DatabaseReport | None:
    """Dumps what `request` asks for into `pgfs/`. None: PostgreSQL is not on this host.

    Raises DatabaseError where nothing could be read, ConfigError for options that make no sense.
    """
    chosen = options.parse(request.options)
    found = clusters.find(chosen, request.root)
    if not found:
        return None
    servers, failures = _reach_all(found, chosen)
    results: list[DatabaseResult] = []
    warnings: list[str] = []
    base = request.extras / layout.DIRECTORY
    if base.exists():
        shutil.rmtree(base)
    base.mkdir(mode=0o700, parents=True)
    index = []
    for server in servers:
        prefix = f"{server.cluster.name}:" if len(found) > 1 else ""
        try:
            dumped = dump_cluster(server, base, request.limits, chosen, request.progress)
        except TklbamError as error:
            failures.append(failure_of(f"cluster {server.cluster.name}", error))
            continue
        index.append(dumped.index)
        results += [_named(prefix, result) for result in dumped.results]
        failures += [
            DatabaseFailure(database=prefix + each.database, table=each.table, reason=each.reason)
            for each in dumped.failures
        ]
        warnings += [f"{prefix}{'' if not prefix else ' '}{warning}" for warning in dumped.warnings]
    warnings += [f"the limit pgsql:{rule} matches no database or table" for rule in request.limits.unmatched()]
    if failures and not results:
        shutil.rmtree(base, ignore_errors=True)
        raise DatabaseError(
            f"nothing of PostgreSQL could be read: {told(failures)}",
            "Start the server, or put `allow-missing-database yes` into the configuration to back up without it.",
        )
    layout.write_index(base, index)
    return DatabaseReport(
        engine=ENGINE,
        directory=layout.DIRECTORY,
        server=", ".join(str(server) for server in servers),
        databases=tuple(results),
        failures=tuple(failures),
        warnings=tuple(warnings),
    )


def _reach_all(found: list[clusters.Cluster], chosen: options.Options) -> tuple[list[Server], list[DatabaseFailure]]:
    servers, failures = [], []
    for cluster in found:
        try:
            servers.append(reach(cluster, chosen))
        except DatabaseError as error:
            failures.append(failure_of(f"cluster {cluster.name}", error))
    return servers, failures


def _named(prefix: str, result: DatabaseResult) -> DatabaseResult:
    return replace(result, name=prefix + result.name)
