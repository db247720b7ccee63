"""The hooks: what the core calls."""

from __future__ import annotations

import dataclasses

from tklbam_core.api import DatabaseReport, DumpRequest, Limits, RestoreRequest, RollbackRequest, hookimpl


def _with_accounts(limits: Limits) -> Limits:
    """A positive rule does not turn the accounts out, only a negative one for `mysql` does."""
    return dataclasses.replace(limits, always=limits.always | {"mysql"})


class MysqlPlugin:
    """The engine `mysql`: one MySQL or MariaDB server, found on this host or named by `database-option mysql:…`.

    A host has a server when its program (mariadbd, mysqld) is installed, /var/lib/mysql holds system tables, or a
    socket is at one of the usual places. Under another root than `/` none is looked for, only one that was named.
    """

    @hookimpl
    def tklbam_database_dump(self, request: DumpRequest) -> DatabaseReport | None:
        from .connection import detect
        from .dump import dump_databases
        from .layout import DIRECTORY
        from .settings import dump_options

        server = detect(request.options, request.root)
        if server is None:
            return None
        return dump_databases(
            server,
            request.extras / DIRECTORY,
            _with_accounts(request.limits),
            how=dump_options(request.options),
            progress=request.progress,
        )

    @hookimpl
    def tklbam_database_restore(self, request: RestoreRequest) -> DatabaseReport | None:
        from .connection import is_looked_for, reach
        from .restore import restore_databases
        from .source import not_looked_for, open_source

        source = open_source(request.extras)
        if source is None:
            return None
        if not is_looked_for(request.options, request.root):
            return not_looked_for(source)
        return restore_databases(
            reach(request.options),
            source,
            _with_accounts(request.limits),
            rollback=request.rollback,
            simulate=request.simulate,
            progress=request.progress,
        )

    @hookimpl
    def tklbam_database_rollback(self, request: RollbackRequest) -> DatabaseReport | None:
        from .connection import reach
        from .rollback import roll_back
        from .state import State

        state = State.load(request.rollback)
        return roll_back(reach(request.options), state) if state is not None else None
