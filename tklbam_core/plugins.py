"""From entry points to checked hooks: stevedore finds and loads plugins, pluggy checks and calls them.

Discovery reads names only; a plugin's module is imported when its kind (and where possible its name) is needed, so
a file server's `status` never imports boto3. What can't be loaded or does not fit the contract is a `Problem` with
the plugin's name on it; the rest keeps working.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from . import hookspecs
from .api.errors import PluginError, TklbamError

PREFIX = "tklbam."
HOOK_KINDS = ("databases", "storage", "profiles", "escrow", "records", "hooks")
KINDS = (*HOOK_KINDS, "commands")


@dataclass(frozen=True, slots=True)
class Plugin:
    """An entry point as found: what it is called, where it comes from, what it handles."""

    kind: str
    name: str
    distribution: str
    version: str
    value: str
    entry_point: EntryPoint = field(repr=False, compare=False)

    @property
    def label(self) -> str:
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True, slots=True)
class Problem:
    """A plugin that is not used, and why."""

    plugin: str
    distribution: str
    reason: str

    def __str__(self) -> str:
        return f"plugin {self.plugin} ({self.distribution}) is not used: {self.reason}"


def find(kinds: Iterable[str] = KINDS) -> list[Plugin]:
    """All installed plugins of these kinds, by kind and name. Imports none of them."""
    found = []
    for kind in kinds:
        for point in entry_points(group=PREFIX + kind):
            distribution = point.dist
            found.append(
                Plugin(
                    kind=kind,
                    name=point.name,
                    distribution=distribution.name if distribution else "unknown",
                    version=distribution.version if distribution else "",
                    value=point.value,
                    entry_point=point,
                )
            )
    return sorted(set(found), key=lambda plugin: (KINDS.index(plugin.kind), plugin.name, plugin.distribution))


def is_disabled(plugin: Plugin, disabled: Iterable[str]) -> bool:
    """Whether `disable-plugin [KIND:]NAME` names this plugin, by its own name or by its distribution's."""
    names = {plugin.name, plugin.label, plugin.distribution, f"{plugin.kind}:{plugin.distribution}"}
    return any(word in names for word in disabled)


class Plugins:
    """The plugins of one run: loads kinds on demand, registers them with pluggy, keeps what went wrong.

    `warn` is told each problem once, as it is met.
    """

    def __init__(self, disabled: Sequence[str] = (), warn: Callable[[Problem], None] | None = None) -> None:
        self._disabled = tuple(disabled)
        self._warn = warn
        self._loaded: set[tuple[str, str | None]] = set()
        self._names: dict[Any, Plugin] = {}
        self.problems: list[Problem] = []
        self.manager = pluggy.PluginManager("tklbam")
        self.manager.add_hookspecs(hookspecs)

    def load(self, kind: str, name: str | None = None) -> list[Plugin]:
        """Loads and registers the plugins of a kind (or the one called `name`); returns those now usable."""
        if (kind, name) not in self._loaded and (kind, None) not in self._loaded:
            self._loaded.add((kind, name))
            self._load(kind, name)
        return [p for p in self._names.values() if p.kind == kind and name in (None, p.name)]

    def _load(self, kind: str, name: str | None) -> None:
        # Stevedore is imported here: it costs more than all else that start-up does.
        wanted = self._without_clashes([p for p in find([kind]) if name in (None, p.name)])
        registered = {plugin.value: obj for obj, plugin in self._names.items() if isinstance(plugin, Plugin)}

        def failed(_: object, point: EntryPoint, error: BaseException) -> None:
            plugin = next((p for p in wanted if p.value == point.value and p.name == point.name), None)
            if plugin is not None:
                self._report(plugin, f"it can't be loaded: {type(error).__name__}: {error}")

        values = {(p.name, p.value): p for p in wanted}
        # Named loading keeps plugins nobody asked for from being imported.
        from stevedore.named import NamedExtensionManager

        manager: NamedExtensionManager[Any] = NamedExtensionManager(
            PREFIX + kind,
            names=sorted({p.name for p in wanted}),
            on_load_failure_callback=failed,
            warn_on_missing_entrypoint=False,
        )
        for extension in manager.extensions:
            plugin = values.get((extension.name, extension.entry_point.value))
            if plugin is None:
                continue
            if plugin.value in registered:  # one object that serves several names is registered once
                continue
            try:
                loaded = extension.plugin
                self._register(plugin, loaded() if inspect.isclass(loaded) else loaded)
            except Exception as error:  # noqa: BLE001 - a plugin may fail in any way; the others must go on
                self._report(plugin, f"it can't be used: {type(error).__name__}: {error}")

    def _without_clashes(self, found: list[Plugin]) -> list[Plugin]:
        usable = [p for p in found if not is_disabled(p, self._disabled)]
        kept = []
        for plugin in usable:
            rivals = [p for p in usable if p.name == plugin.name and p != plugin]
            if rivals:
                others = ", ".join(sorted({p.distribution for p in rivals}))
                self._report(
                    plugin,
                    f"{others} claims the same name; put `disable-plugin {plugin.kind}:DISTRIBUTION` for one of them "
                    "into the configuration",
                )
            else:
                kept.append(plugin)
        return kept

    def _register(self, plugin: Plugin, instance: Any) -> None:
        unknown = [
            name
            for name in dir(instance)
            if self.manager.parse_hookimpl_opts(instance, name) is not None and not hasattr(hookspecs, name)
        ]
        if unknown:
            self._report(plugin, f"it implements hooks that do not exist: {', '.join(sorted(unknown))}")
            return
        try:
            self.manager.register(instance, name=plugin.label)
        except (pluggy.PluginValidationError, ValueError) as error:
            if self.manager.has_plugin(plugin.label):
                self.manager.unregister(name=plugin.label)
            self._report(plugin, str(error).splitlines()[-1])
            return
        self._names[instance] = plugin

    def _report(self, plugin: Plugin, reason: str) -> None:
        problem = Problem(plugin.label, plugin.distribution, reason)
        if problem not in self.problems:
            self.problems.append(problem)
            if self._warn:
                self._warn(problem)

    def plugin_of(self, instance: Any) -> Plugin:
        return self._names[instance]

    def caller(self, plugin: Plugin, hook: str, **arguments: Any) -> Callable[[], Any]:
        """A function that calls `hook` of one plugin alone, with the wrappers of listening plugins around it.

        So one plugin's failure is its own. What it raises that is no TklbamError becomes a PluginError with its name.
        """
        self.load("hooks")
        others = [obj for obj, p in self._names.items() if p.kind == plugin.kind and p.label != plugin.label]
        subset = self.manager.subset_hook_caller(hook, remove_plugins=others)

        def call() -> Any:
            try:
                answer = subset(**arguments)
            except TklbamError:
                raise
            except Exception as error:
                raise PluginError(
                    f"plugin {plugin.label} ({plugin.distribution}) failed: {type(error).__name__}: {error}",
                    "Report this to the plugin's author; --debug shows where it happened.",
                ) from error
            if isinstance(answer, list):
                return answer[0] if answer else None
            return answer

        return call

    def first(self, kind: str, hook: str, *, name: str | None = None, **arguments: Any) -> Any:
        """The first answer of the plugins of a kind, None when nobody has one."""
        self.load("hooks")
        self.load(kind, name)
        return getattr(self.manager.hook, hook)(**arguments)

    def tell(self, hook: str, **arguments: Any) -> None:
        """Tells every listener. A TklbamError raised by one comes through; anything else becomes a PluginError."""
        self.load("hooks")
        try:
            getattr(self.manager.hook, hook)(**arguments)
        except TklbamError:
            raise
        except Exception as error:
            raise PluginError(
                f"a plugin failed in {hook}: {type(error).__name__}: {error}",
                "Disable it in the configuration (disable-plugin NAME), or repair it.",
            ) from error
