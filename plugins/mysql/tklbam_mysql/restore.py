"""A dump onto a server: loaded beside, swapped in, and everything noted that a rollback needs."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tklbam_core.api import DatabaseError, DatabaseFailure, DatabaseReport, DatabaseResult, Limits, ProgressEvent
from tklbam_core.api.progress import Progress

from . import accounts as accounts_
from . import foreign
from .catalogue import Database, Reader, database_names
from .connection import GONE, Error, Server, Session, code, connect, reason
from .layout import DIRECTORY, AccountEntry, Layout
from .load import keep_meanings
from .names import HiddenNames, is_hidden, quote
from .plan import DatabasePlan, leaving, make_plan
from .stage import Staged, stage
from .state import FILE, SavedDatabase, State
from .swap import Objects, make_late, make_objects, put_back, relations, swap_in


@dataclass(slots=True)
class Outcome:
    """What the report is made of."""

    results: list[DatabaseResult] = field(default_factory=list)
    failures: list[DatabaseFailure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def report(self, server: Server) -> DatabaseReport:
        return DatabaseReport(
            engine="mysql",
            directory=DIRECTORY,
            server=str(server),
            databases=tuple(self.results),
            failures=tuple(self.failures),
            warnings=tuple(self.warnings),
        )


def restore_databases(
    server: Server, source: Layout, limits: Limits, *, rollback: Path | None, simulate: bool, progress: Progress
) -> DatabaseReport:
    """Restores what `limits` take of `source`.

    `rollback` is an empty directory for the record (None: nothing is kept for a rollback). Raises DatabaseError when
    the server is lost; what single databases lack is in the report.
    """
    outcome = Outcome()
    try:
        with connect(server.settings) as session:
            keep_meanings(session)
            present = {name: set(relations(session, name)) for name in database_names(session)}
            folded = session.value("SELECT @@lower_case_table_names") == 1
            plans = _distinct(make_plan(source, limits, present, folded), outcome)
            foreign.adapt(session, server, plans)
            entries = _account_plan(session, source, limits)
            outcome.warnings += _compare_versions(server, source)
            outcome.warnings += source.losses() if limits.takes_database("mysql") else []
            unmatched = [rule.worded("mysql") for rule in limits.unmatched()]
            outcome.warnings += [f"limit {rule} matches nothing in the backup" for rule in unmatched]
            if simulate:
                return _simulated(server, plans, entries, present, outcome)
            state = _save_state(session, server, plans, entries, limits, rollback)
            _drop_leftovers(session)
        staged = _load_beside(server, plans, state, progress)
        with connect(server.settings) as session:
            keep_meanings(session)
            done = _swap_all(session, state, staged, outcome)
            _finish(session, done, outcome)
            _restore_accounts(session, server, entries, source.manifest(), state, limits, outcome)
            if rollback is None:
                _drop_hidden(session, state)
    except Error as error:
        raise DatabaseError(
            f"{server} failed: {reason(error)}", "See the server's error log, then roll back."
        ) from error
    return outcome.report(server)


def _distinct(plans: list[DatabasePlan], outcome: Outcome) -> list[DatabasePlan]:
    """Those that are distinct from all others, and so are all in them, on a server that knows small letters only."""
    names = [plan.name for plan in plans]
    found = []
    for plan in plans:
        inside = [name for name in plan.names if plan.names.count(name) > 1]
        if names.count(plan.name) > 1 or inside:
            outcome.failures.append(
                DatabaseFailure(
                    database=plan.name,
                    table=inside[0] if inside else None,
                    reason="several of this name, in small and capital letters, are one on this server "
                    "(lower_case_table_names=1)",
                )
            )
        else:
            found.append(plan)
    return found


def _account_plan(session: Session, source: Layout, limits: Limits) -> list[AccountEntry]:
    if not limits.takes_database("mysql"):
        return []
    return accounts_.wanted(source.accounts(), accounts_.current_account(session))


def _compare_versions(server: Server, source: Layout) -> list[str]:
    manifest = source.manifest()
    there = _version(manifest)
    if there is None:
        return []
    if manifest.get("flavour") != server.flavour:
        return [f"the backup is from {manifest.get('server')}, this server is another make: {server}"]
    if there > server.version[:2]:
        return [f"the backup is from a newer server, {manifest.get('server')}; this is {server}"]
    return []


def _version(manifest: dict[str, Any]) -> tuple[int, int] | None:
    numbers = re.match(r"(\d+)\.(\d+)", str(manifest.get("server_version", "")))
    return (int(numbers.group(1)), int(numbers.group(2))) if numbers else None


def _origin(manifest: dict[str, Any]) -> tuple[int, int] | None:
    """The MariaDB whose privileges a dump's are, None where that is not known. MySQL's are those of the first ones."""
    if manifest["format"] == 1 or manifest.get("flavour") == "mysql":
        return (0, 0)
    return _version(manifest)


def _simulated(
    server: Server, plans: Sequence[DatabasePlan], entries: Sequence[AccountEntry], present: dict[str, set[str]],
    outcome: Outcome,
) -> DatabaseReport:  # fmt: skip
    for plan in plans:
        rows = sum(table.info.rows or 0 for table in plan.tables if table.rows)
        size = sum(table.size for table in plan.tables)
        notes = [*plan.notes, "would be replaced" if plan.name in present else "would be created"]
        outcome.results.append(
            DatabaseResult(
                name=plan.name, tables=len(plan.tables), rows=rows, size=size, seconds=0.0, warnings=tuple(notes)
            )
        )
    if entries:
        names = ", ".join(entry.account for entry in entries[:10]) + (", …" if len(entries) > 10 else "")
        outcome.warnings.append(f"accounts that would be made or replaced: {names}")
    return outcome.report(server)


def _drop_leftovers(session: Session) -> None:
    """Databases hidden by restores before this one: their rollback is no longer possible."""
    for (name,) in session.texts("SHOW DATABASES"):
        if is_hidden(str(name)):
            session.execute(f"DROP DATABASE {quote(str(name))}")


def _save_state(
    session: Session, server: Server, plans: Sequence[DatabasePlan], entries: Sequence[AccountEntry], limits: Limits,
    rollback: Path | None,
) -> State:  # fmt: skip
    """Notes what is there now, before anything changes."""
    state = State(HiddenNames().token, str(server), path=rollback / FILE if rollback else None)
    names = set(database_names(session))
    reader = Reader(session, server.is_mariadb)
    for number, plan in enumerate(plans):
        found = reader.read(plan.name) if plan.name in names else None
        state.databases.append(_saved(number, plan, found, limits))
    unreadable = [failure for failure in reader.failures if rollback is not None]
    if unreadable:
        first = unreadable[0]
        raise DatabaseError(
            f"{first.database} can't be saved for a rollback: {first.table or 'the database'}: {first.reason}",
            "Repair it, leave the database out with --limits, or restore with --no-rollback.",
        )
    if entries:
        before, failures = accounts_.read_accounts(session, server)
        own = accounts_.current_account(session)
        state.accounts = accounts_.wanted(before, own)
        state.touched = [[entry.account, entry.role] for entry in entries]
        if failures and rollback is not None:
            raise DatabaseError(f"accounts can't be saved for a rollback: {failures[0].reason}")
    state.save()
    return state


def _saved(number: int, plan: DatabasePlan, found: Database | None, limits: Limits) -> SavedDatabase:
    saved = SavedDatabase(plan.name, number, existed=found is not None, whole=plan.whole)
    saved.incoming = plan.incoming
    saved.externals = [table.name for table in plan.tables if table.external]
    saved.new_views = [view.name for view in plan.views]
    if found is None:
        return saved
    going, views = leaving(plan, found, limits)
    merges = {table.name: table.statement for table in found.tables if table.engine.upper().startswith("MRG_")}
    saved.statement = found.statement
    saved.going = [name for name in going if name not in merges]
    saved.merges = [[name, statement] for name, statement in merges.items() if name in going]
    saved.views = [view for view in found.views if view.name in views]
    saved.triggers = [trigger for table in found.tables if table.name in going for trigger in table.triggers]
    if plan.whole:
        saved.routines, saved.events = found.routines, found.events
    return saved


def _load_beside(server: Server, plans: Sequence[DatabasePlan], state: State, progress: Progress) -> list[Staged]:
    names = HiddenNames(state.token)
    staged = [Staged(plan, names.new(saved.number)) for plan, saved in zip(plans, state.databases, strict=True)]
    total = sum(table.size for plan in plans for table in plan.tables)
    done = [0]

    def tell(size: int, item: str) -> None:
        done[0] += size
        progress(ProgressEvent("mysql restore", done[0], total, "bytes", item))

    stage(server, staged, tell)
    return staged


def _swap_all(session: Session, state: State, staged: Sequence[Staged], outcome: Outcome) -> list[Staged]:
    """Swaps in each database that was loaded; one that fails is put back at once. Returns those in place."""
    done = []
    for each, saved in zip(staged, state.databases, strict=True):
        if each.failed is not None:
            table, why = each.failed
            outcome.failures.append(DatabaseFailure(database=each.plan.name, table=table, reason=why))
            continue
        started = time.monotonic()
        try:
            broken = swap_in(session, state, saved, each.plan.statement)
        except Error as error:
            if code(error) in GONE:
                raise
            put_back(session, state, [saved])
            outcome.failures.append(DatabaseFailure(database=each.plan.name, reason=reason(error)))
            continue
        staying = [pair for pair in broken if not _goes_too(pair[0].database, pair[0].table, state)]
        each.warnings += [f"foreign key {k.name} of {k.database}.{k.table} is lost: {why}" for k, why in staying]
        each.seconds += time.monotonic() - started
        done.append(each)
    return done


def _goes_too(database: str, table: str, state: State) -> bool:
    return any(saved.name == database and table in saved.going for saved in state.databases)


def _finish(session: Session, done: Sequence[Staged], outcome: Outcome) -> None:
    """What needs every database in its place: references between tables, and all that is made rather than moved."""
    for each in done:
        plan = each.plan
        troubles = make_late(session, plan.name, each.late)
        # Another engine would keep rows that belong elsewhere, or nowhere.
        session.execute("SET sql_mode='NO_ENGINE_SUBSTITUTION'")
        for table in plan.tables:
            if table.external:
                try:
                    session.execute(f"USE {quote(plan.name)}")
                    session.execute(table.statement)
                except Error as error:
                    troubles.append(f"table {table.name}: {reason(error)}")
        outcome.failures += [DatabaseFailure(database=plan.name, reason=trouble) for trouble in troubles]
    groups = [
        Objects(
            e.plan.name, e.plan.routines, e.plan.views, [x for t in e.plan.tables for x in t.triggers], e.plan.events
        )
        for e in done
    ]
    for database, trouble in make_objects(session, groups):
        stored = trouble.stored
        text = f"{stored.kind.lower()} {stored.name}: {trouble.reason}"
        if stored.broken:
            outcome.warnings.append(f"{database}: {text} (it could not be used on the old server either)")
        else:
            outcome.failures.append(DatabaseFailure(database=database, table=stored.name, reason=text))
    for each in done:
        outcome.results.append(
            DatabaseResult(
                name=each.plan.name,
                tables=len(each.plan.tables),
                rows=each.rows,
                size=sum(table.size for table in each.plan.tables),
                seconds=round(each.seconds, 3),
                warnings=(*each.plan.notes, *each.warnings),
            )
        )


def _restore_accounts(
    session: Session, server: Server, entries: list[AccountEntry], manifest: dict[str, Any], state: State,
    limits: Limits, outcome: Outcome,
) -> None:  # fmt: skip
    if not entries:
        return
    plugins, origin = foreign.ways_to_sign_in(session), _origin(manifest)
    known = []
    for entry in entries:
        try:
            adapted, lost = foreign.account(entry, server, plugins, origin)
        except foreign.NotCarriedError as error:
            outcome.failures.append(
                DatabaseFailure(
                    database="mysql",
                    reason=f"account {entry.account}: {error}, which this server does not offer: the account is left "
                    "as it is here; make it with a new password",
                )
            )
            continue
        known.append(adapted)
        outcome.warnings += [f"account {entry.account}: this server does not know {each}" for each in lost]
    missing_is_fine = bool(limits.rules)
    applied = accounts_.apply_accounts(session, server, known, missing_is_fine=missing_is_fine, before=state.accounts)
    outcome.failures += applied.failures
    outcome.warnings += applied.warnings
    outcome.warnings += accounts_.weak_passwords(entries)


def _drop_hidden(session: Session, state: State) -> None:
    names = HiddenNames(state.token)
    session.execute("SET foreign_key_checks=0")
    for saved in state.databases:
        for hidden in (names.new(saved.number), names.old(saved.number)):
            session.execute(f"DROP DATABASE IF EXISTS {quote(hidden)}")
