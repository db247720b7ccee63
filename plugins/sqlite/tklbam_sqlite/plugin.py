"""The hooks of the engine `sqlite`."""

from __future__ import annotations

from tklbam_core.api import DatabaseReport, DumpRequest, RestoreRequest, RollbackRequest, hookimpl


@hookimpl
def tklbam_database_dump(request: DumpRequest) -> DatabaseReport | None:
    from .dump import dump

    return dump(request)


@hookimpl
def tklbam_database_restore(request: RestoreRequest) -> DatabaseReport | None:
    from .restore import restore

    return restore(request)


@hookimpl
def tklbam_database_rollback(request: RollbackRequest) -> DatabaseReport | None:
    from .restore import roll_back

    return roll_back(request)
