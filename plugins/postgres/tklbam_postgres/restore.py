"""The restore: roles are merged, then each database is loaded beside and takes the old one's place in one step."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tklbam_core.api import (
    DatabaseError,
    DatabaseFailure,
    DatabaseReport,
    DatabaseResult,
    Limits,
    RestoreRequest,
    TklbamError,
)

from . import (
    apart,
    catalogue,
    checks,
    clusters,
    databases,
    layout,
    options,
    public_schema,
    roles,
    search_path,
    selection,
    v1,
    without,
)
from .claim import Claim
from .connect import Server, connect, one_line, reach
from .failures import failure_of, told
from .journal import ClusterStep, DatabaseStep, Journal
from .keep import Kept, keeping
from .layout import StoredCluster, StoredDatabase
from .load import load, load_event_triggers
from .names import identifier, temporary_database
from .pairing import Pair, pair
from .sqltext import rename_database


def restore(request: RestoreRequest) -> DatabaseReport | None:
    """Restores `pgfs/` as `request` says. None: there is none in the extras.

    Raises DatabaseError where nothing can be restored; FormatError where pgfs is damaged.
    """
    base = request.extras / layout.DIRECTORY
    if not base.is_dir():
        return None
    chosen = options.parse(request.options)
    form = layout if layout.is_v2(base) else v1
    stored = form.read_index(base)
    found = clusters.find(chosen, request.root)
    if not found and request.root != Path("/"):
        # The root of another system: its servers are not running.
        return _skipped(stored)
    pairs, failures = pair(stored, found, chosen)
    journal = Journal(None if request.simulate else request.rollback)
    work = _Restore(request, chosen, form.read_database, journal, failures)
    servers = []
    for each in pairs:
        try:
            server = _reach(each, chosen)
        except DatabaseError as error:
            failures.append(failure_of(f"cluster {each.stored.name}", error))
            continue
        servers.append(str(server))
        prefix = f"{each.stored.name}:" if len(stored) > 1 else ""
        try:
            with contextlib.nullcontext() if request.simulate else Claim(server) as claim:
                work.cluster(server, each.stored, prefix, claim)
        except DatabaseError as error:
            failures.append(failure_of(f"cluster {each.stored.name}", error))
    work.warnings += [f"the limit pgsql:{rule} matches no database or table" for rule in request.limits.unmatched()]
    work.warnings += [
        f"leave-out: nothing that was to be restored is called {each}"
        for each in sorted(chosen.leave_out - work.left_out)
    ]
    if work.failures and not work.results:
        raise DatabaseError(
            f"no PostgreSQL database was restored: {told(work.failures)}",
            "The databases are as they were. Correct the cause, then run the restore again.",
        )
    return DatabaseReport(
        engine="pgsql",
        directory=layout.DIRECTORY,
        server=", ".join(servers),
        databases=tuple(work.results),
        failures=tuple(work.failures),
        warnings=tuple(work.warnings),
    )


def _skipped(stored: list[StoredCluster]) -> DatabaseReport:
    names = [name for each in stored for name in each.databases]
    return DatabaseReport(
        engine="pgsql",
        directory=layout.DIRECTORY,
        server="",
        warnings=(f"databases are not restored into another root: {', '.join(names)} (name a server to restore them)",),
    )


def _reach(each: Pair, chosen: options.Options) -> Server:
    server = reach(each.cluster, chosen)
    if server.standby:
        raise DatabaseError(
            f"{server} is a standby, which takes nothing but what its primary does",
            "Restore into the primary (database-option pgsql:host or cluster).",
        )
    before = each.stored.version // 10000
    if before > server.major:
        raise DatabaseError(
            f"the databases of {each.stored.name} ({', '.join(each.stored.databases)}) were dumped from PostgreSQL "
            f"{before}, and {server} is older",
            f"Install PostgreSQL {before} or newer, then run the restore again.",
        )
    return server


class _Restore:
    """One run's findings as they come."""

    def __init__(
        self,
        request: RestoreRequest,
        chosen: options.Options,
        read: Callable[[str, Path], StoredDatabase],
        journal: Journal,
        failures: list[DatabaseFailure],
    ) -> None:
        self.request = request
        self.options = chosen
        self.read = read
        self.journal = journal
        self.results: list[DatabaseResult] = []
        self.failures = failures
        self.warnings: list[str] = []
        self.left_out: set[str] = set()

    def cluster(self, server: Server, stored: StoredCluster, prefix: str, claim: Claim | None) -> None:
        """Restores one server's part of the backup; `prefix` goes before its databases' names in the report.

        `claim` holds the server (None: nothing is changed). Raises DatabaseError where it could not be prepared.
        """
        step, later = ClusterStep(stored.name, dict(self.request.options), server.identifier), {}
        if claim is not None:
            later = self._prepare(server, stored, step)
        for name, directory in stored.databases.items():
            if not self.request.limits.takes_database(name):
                continue
            began = time.monotonic()
            try:
                database = self.read(name, directory)
                found, warnings = without.leave_out(database.toc, self.options.leave_out)
                self.left_out |= found
                warnings += checks.check(server, database, self.options.locale)
                rows = None
                if claim is None:
                    _note_limits(self.request.limits, database)
                else:
                    rows, more = self._database(server, database, step, later.get(name, []), claim)
                    warnings += more
            except (TklbamError, OSError) as error:
                self.failures.append(failure_of(prefix + name, error))
                continue
            self.results.append(
                DatabaseResult(
                    name=prefix + name,
                    tables=len(database.toc.of_kind("TABLE")),
                    rows=database.rows if rows is None else rows,
                    size=database.size,
                    seconds=time.monotonic() - began,
                    warnings=tuple(warnings),
                )
            )

    def _prepare(self, server: Server, stored: StoredCluster, step: ClusterStep) -> dict[str, list[str]]:
        """Cleans up after an older restore, notes the state, merges the roles."""
        with connect(server) as connection:
            abandoned = catalogue.leftovers(connection)
            step.state = roles.state(connection)
        for name in abandoned:
            databases.drop(server, name)
        self.journal.clusters.append(step)
        self.journal.save()
        if stored.globals is None:
            return {}
        # Not as text: a carriage return in a role's name or comment is not the end of a line.
        script = stored.globals.read_bytes().decode("utf-8", "surrogateescape")
        with connect(server) as connection:
            warnings, later = roles.merge(connection, script, step, self.journal)
        self.warnings += warnings
        return later

    def _database(
        self, server: Server, stored: StoredDatabase, step: ClusterStep, settings: list[str], claim: Claim
    ) -> tuple[int, list[str]]:
        """Loads one database and puts it in place: how many rows it has now, and warnings. Raises TklbamError."""
        name, limits = stored.name, self.request.limits
        with connect(server) as connection:
            before = databases.oids(connection).get(name)
        entry = DatabaseStep(
            name, temporary_database("new"), temporary_database("old"), temporary_database("gone"), before
        )
        step.databases.append(entry)
        self.journal.save()
        with self._dropped_on_failure(server, entry, step), keeping(server, name, before is not None, limits) as kept:
            spaces = checks.tablespaces(server)
            warnings = checks.use_default_tablespace(stored.toc, spaces)
            try:
                rows, more = self._load(server, stored, entry, spaces, kept)
            except DatabaseError as error:
                if not search_path.may_help(stored.toc, error, server.major):
                    raise
                warnings.append(search_path.use(stored.toc))
                databases.drop(server, entry.new)
                rows, more = self._load(server, stored, entry, spaces, kept)
            warnings += more
            if kept is not None:
                kept.carry_sequences(entry.new)
                kept.take_over(entry.new)
            settings = [rename_database(statement, name, identifier(entry.new)) for statement in settings]
            warnings += databases.set_properties(server, stored.toc, entry.new, settings)
            warnings += apart.apply(server, stored.toc, entry.new)
            load_event_triggers(server, stored, entry.new)
            warnings += checks.collation_warnings(server, stored, entry.new)
            warnings += self._pause(server, entry)
        # Outside: the session that kept the old tables as they are has to end before the database can be renamed.
        with claim.aside(name), self._dropped_on_failure(server, entry, step):
            databases.swap(server, name, entry.new, entry.old if before is not None else None)
        if not self.journal.keeps and before is not None:
            databases.drop(server, entry.old)
        return rows, warnings

    def _load(
        self, server: Server, stored: StoredDatabase, entry: DatabaseStep, spaces: frozenset[str], kept: Kept | None
    ) -> tuple[int, list[str]]:
        """Makes `entry.new` and loads it: how many rows it has now, and warnings. Raises TklbamError."""
        entry.new_oid = databases.create(server, stored.toc, entry.new, self.options.locale, spaces)
        self.journal.save()
        databases.find_collations(server, stored.toc, entry.new)
        warnings = public_schema.prepare(server, stored, entry.new)
        excluded = selection.stored_without_rows(self.request.limits, stored)
        rows = load(
            server,
            stored,
            entry.new,
            self.options.jobs,
            lambda table: table.data not in excluded,
            lambda: 0 if kept is None else kept.copy_rows(entry.new, search_path.statements_of(stored.toc)),
            self.request.progress,
        )
        return rows, warnings

    def _pause(self, server: Server, entry: DatabaseStep) -> list[str]:
        """Stops the old database's subscriptions: they would go on feeding it under its other name.

        Returns warnings about those who follow it.
        """
        if entry.before_oid is None:
            return []
        with connect(server) as connection:
            entry.paused = [each for each, enabled in catalogue.subscriptions(connection, entry.name) if enabled]
            slots = catalogue.logical_slots(connection, entry.name)
        if entry.paused:
            self.journal.save()
            databases.pause_subscriptions(server, entry.name, entry.paused)
        if not slots:
            return []
        return [
            f"replication slots stay with the database that was replaced ({', '.join(slots)}): make them and the "
            "subscriptions anew, and drop these, for the server keeps its log for them"
        ]

    @contextlib.contextmanager
    def _dropped_on_failure(self, server: Server, entry: DatabaseStep, step: ClusterStep) -> Iterator[None]:
        """What was loaded goes away again when the block fails, and the old database is as it was."""
        try:
            yield
        except Exception as failure:
            try:
                if entry.paused:
                    databases.pause_subscriptions(server, entry.name, entry.paused, resume=True)
                databases.drop(server, entry.new)
                step.databases.remove(entry)
                self.journal.save()
            except TklbamError as error:
                self.warnings.append(f"{entry.new}, loaded in part, is left on the server: {one_line(error)}")
            raise _plain(failure) from failure


def _plain(error: Exception) -> Exception:
    """A driver's error as one of ours."""
    import psycopg

    if isinstance(error, psycopg.Error):
        return DatabaseError(one_line(error), "See the server's log.")
    return error


def _note_limits(limits: Limits, stored: StoredDatabase) -> None:
    for table in stored.tables:
        selection.takes_rows(limits, stored.name, table.schema, table.name)
