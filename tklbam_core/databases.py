"""Databases through their plugins: each is called by itself, so that one's failure is its own and is always named."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .api.errors import PluginError, TklbamError
from .api.limits import Limits
from .api.models import DatabaseReport, DumpRequest, RestoreRequest, RollbackRequest
from .context import Context
from .plugins import Plugin


@dataclasses.dataclass(slots=True)
class DatabaseOutcome:
    """What all database plugins did together. `missing` names, a line each, what was not dumped or restored;
    `owners` maps an engine's directory in the extras to the distribution that wrote it."""

    reports: list[DatabaseReport] = dataclasses.field(default_factory=list)
    missing: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)
    owners: dict[str, str] = dataclasses.field(default_factory=dict)


def dump_databases(context: Context, extras: Path, limits: Sequence[str]) -> DatabaseOutcome:
    """Asks every database plugin to dump into the extras."""

    def request(plugin: Plugin) -> DumpRequest:
        return DumpRequest(
            extras=extras,
            limits=Limits.parse(limits, plugin.name),
            options=context.database_options.get(plugin.name, {}),
            root=context.host.root,
            progress=context.progress,
        )

    # Equal dumps must be equal files, modes included, whoever starts the backup.
    mask = os.umask(0o077)
    try:
        outcome = _ask_each(context, "tklbam_database_dump", request, "was not dumped")
    finally:
        os.umask(mask)
    # A plugin that can't be used may have had databases to dump.
    outcome.missing += [str(problem) for problem in context.plugins.problems if problem.plugin.startswith("databases:")]
    return outcome


def restore_databases(
    context: Context,
    extras: Path,
    limits: Sequence[str],
    *,
    rollback: Path | None,
    simulate: bool,
) -> DatabaseOutcome:
    """Asks every database plugin to restore what the extras hold of it.

    `rollback` is the directory below which each engine gets its own.
    """

    def request(plugin: Plugin) -> RestoreRequest:
        place = None
        if rollback is not None and not simulate:
            place = rollback / plugin.name
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        return RestoreRequest(
            extras=extras,
            limits=Limits.parse(limits, plugin.name),
            rollback=place,
            options=context.database_options.get(plugin.name, {}),
            root=context.host.root,
            simulate=simulate,
            progress=context.progress,
        )

    return _ask_each(context, "tklbam_database_restore", request, "was not restored")


def roll_back_databases(context: Context, rollback: Path) -> DatabaseOutcome:
    """Asks every plugin that saved something below `rollback` to put it back."""
    saved = {path.name for path in rollback.iterdir() if any(path.iterdir())} if rollback.is_dir() else set()

    def request(plugin: Plugin) -> RollbackRequest | None:
        if plugin.name not in saved:
            return None
        return RollbackRequest(
            rollback=rollback / plugin.name,
            options=context.database_options.get(plugin.name, {}),
            root=context.host.root,
            progress=context.progress,
        )

    outcome = _ask_each(context, "tklbam_database_rollback", request, "was not put back")
    usable = {plugin.name for plugin in context.plugins.load("databases")}
    outcome.missing += [
        f"{engine}: its plugin is not installed, so its databases were not put back"
        for engine in sorted(saved - usable)
    ]
    return outcome


def _ask_each(
    context: Context, hook: str, make_request: Callable[[Plugin], Any | None], failed: str
) -> DatabaseOutcome:
    outcome = DatabaseOutcome()
    for plugin, call in _callers(context, hook, make_request):
        try:
            report = _checked(plugin, hook, call())
        except TklbamError as error:
            outcome.missing.append(f"{plugin.name} {failed}: {error.what}")
            continue
        if report is None:
            continue
        outcome.reports.append(report)
        outcome.owners[report.directory] = plugin.distribution
        outcome.warnings += report.warnings
        for database in report.databases:
            outcome.warnings += [f"{plugin.name}:{database.name}: {warning}" for warning in database.warnings]
        for failure in report.failures:
            name = failure.database + (f"/{failure.table}" if failure.table else "")
            outcome.missing.append(f"{plugin.name}:{name} {failed}: {failure.reason}")
    return outcome


def _callers(
    context: Context, hook: str, make_request: Callable[[Plugin], Any | None]
) -> Iterator[tuple[Plugin, Callable[[], Any]]]:
    for plugin in context.plugins.load("databases"):
        request = make_request(plugin)
        if request is not None:
            yield plugin, context.plugins.caller(plugin, hook, request=request)


def _checked(plugin: Plugin, hook: str, answer: Any) -> DatabaseReport | None:
    if answer is None or isinstance(answer, DatabaseReport):
        return answer
    raise PluginError(
        f"plugin {plugin.label} ({plugin.distribution}) answered {hook} with {type(answer).__name__}, "
        "not with a DatabaseReport",
        "Report this to the plugin's author.",
    )
