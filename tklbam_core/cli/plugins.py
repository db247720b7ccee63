"""`tklbam plugins`"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from ..api.errors import ConfigError
from ..host import Host
from .common import Output, common_options

if TYPE_CHECKING:
    from ..plugins import Plugin

TITLES = {
    "databases": "Databases",
    "storage": "Storage",
    "profiles": "Profiles",
    "escrow": "Key escrow",
    "records": "Backup records (Hubs)",
    "hooks": "Listeners",
    "commands": "Commands",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One plugin as it is shown. `state` is "used", "disabled" or "not used"."""

    kind: str
    name: str
    handles: str
    distribution: str
    version: str
    state: str
    hooks: Sequence[str]
    problem: str


@click.command("plugins")
@common_options(json_output=True)
def command(host: Host, output: Output) -> None:
    """Show the plugins that were found: what each handles, where it comes from, and whether it can be used.

    Each is loaded to see. Exit status 1 when one is not usable.
    """
    from ..conf_syntax import read_settings, values

    try:
        disabled = values(read_settings(host.conf_dir), "disable-plugin")
    except ConfigError as error:
        output.warn(error.what)
        disabled = []
    found = survey(disabled)
    if output.as_json:
        output.json([{name: getattr(item, name) for name in Found.__slots__} for item in found])
    else:
        show(found, output)
    if any(item.state == "not used" for item in found):
        raise SystemExit(1)


def survey(disabled: Sequence[str]) -> list[Found]:
    """Loads every plugin that is installed and tells what became of it."""
    from ..plugins import HOOK_KINDS, Plugins, find, is_disabled

    plugins = Plugins(disabled)
    usable = {plugin: plugins.hooks_of(plugin) for kind in HOOK_KINDS for plugin in plugins.load(kind)}
    problems = {(problem.plugin, problem.distribution): problem.reason for problem in plugins.problems}
    found = []
    for plugin in find():
        problem = problems.get((plugin.label, plugin.distribution), "")
        if plugin.kind == "commands":
            problem = problem or _command_problem(plugin)
        if is_disabled(plugin, disabled):
            state, problem = "disabled", ""
        else:
            state = "not used" if problem else "used"
        found.append(
            Found(
                kind=plugin.kind,
                name=plugin.name,
                handles=_handles(plugin),
                distribution=plugin.distribution,
                version=plugin.version,
                state=state,
                hooks=usable.get(plugin, []),
                problem=problem,
            )
        )
    return found


def show(found: Sequence[Found], output: Output) -> None:
    from ..plugins import KINDS

    if not found:
        output.result("No plugins are installed.")
    names = max((len(item.handles) for item in found), default=0)
    for kind in KINDS:
        items = [item for item in found if item.kind == kind]
        if items:
            output.result(click.style(TITLES[kind], bold=True))
        for item in items:
            state = {
                "used": "",
                "disabled": click.style("  disabled", dim=True),
                "not used": click.style("  NOT USED", fg="red", bold=True),
            }[item.state]
            output.result(f"  {item.handles:<{names}}  {item.distribution} {item.version}{state}")
            if item.problem:
                output.result(click.wrap_text(item.problem, 78, "    ", "    "))


def _handles(plugin: Plugin) -> str:
    if plugin.kind == "storage":
        return f"{plugin.name}://"
    if plugin.kind == "commands":
        return "tklbam " + plugin.name.replace(".", " ")
    return plugin.name


def _command_problem(plugin: Plugin) -> str:
    try:
        loaded = plugin.entry_point.load()
    except Exception as error:  # noqa: BLE001 - a plugin may fail in any way; it is told, and the others go on
        return f"it can't be loaded: {type(error).__name__}: {error}"
    return "" if isinstance(loaded, click.Command) else f"it is a {type(loaded).__name__}, not a click command"
