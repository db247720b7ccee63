"""From entry points to checked hooks: stevedore finds and loads plugins, pluggy checks and calls them.

Discovery reads names only; a plugin's module is imported when its kind (and where possible its name) is needed, so
a file server's `status` never imports boto3. What can't be loaded or does not fit the contract is a `Problem` with
the plugin's name on it; the rest keeps working.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol

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


class Installed(Protocol):
    """The entry points of all distributions, by whatever class this Python has for them."""

    def select(self, *, group: str) -> Iterable[EntryPoint]: ...


def find(kinds: Iterable[str] = KINDS, installed: Installed | None = None) -> list[Plugin]:
    """All installed plugins of these kinds, by kind and name. Imports none of them.

    `installed` are the entry points of all distributions, which are read unless they are given.
    """
    points = entry_points() if installed is None else installed
    about: dict[int, tuple[str, str]] = {}  # a distribution parses its description each time it is asked for its name
    found = []
    for kind in kinds:
        for point in points.select(group=PREFIX + kind):
            distribution = point.dist
            if id(distribution) not in about:
                about[id(distribution)] = (distribution.name, distribution.version) if distribution else ("unknown", "")
            name, version = about[id(distribution)]
            found.append(
                Plugin(
                    kind=kind, name=point.name, distribution=name, version=version, value=point.value, entry_point=point
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
        self._installed: Installed | None = None
        self._loaded: set[tuple[str, str | None]] = set()
        self._usable: dict[str, Plugin] = {}
        self._objects: dict[str, Any] = {}
        self.problems: list[Problem] = []
        self.manager = pluggy.PluginManager("tklbam")
        self.manager.add_hookspecs(hookspecs)

    def load(self, kind: str, name: str | None = None) -> list[Plugin]:
        """Loads and registers the plugins of a kind (or the one called `name`); returns those now usable."""
        if (kind, name) not in self._loaded and (kind, None) not in self._loaded:
            self._loaded.add((kind, name))
            if self._installed is None:
                self._installed = entry_points()
            found = find([kind], self._installed)
            for plugin in self._without_clashes([p for p in found if name in (None, p.name)]):
                if plugin.label not in self._usable:
                    self._load(plugin)
        return [p for p in self._usable.values() if p.kind == kind and name in (None, p.name)]

    def _load(self, plugin: Plugin) -> None:
        if plugin.value in self._objects:  # one object that serves several names is registered once
            self._usable[plugin.label] = plugin
            return
        try:
            loaded = _extension(plugin)
        except Exception as error:  # noqa: BLE001 - a plugin may fail in any way; the others must go on
            self._report(plugin, f"it can't be loaded: {type(error).__name__}: {error}")
            return
        try:
            self._register(plugin, loaded() if inspect.isclass(loaded) else loaded)
        except Exception as error:  # noqa: BLE001 - likewise
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
        if not self.manager.is_registered(instance):
            try:
                self.manager.register(instance, name=plugin.label)
            except (pluggy.PluginValidationError, ValueError) as error:
                if self.manager.has_plugin(plugin.label):
                    self.manager.unregister(name=plugin.label)
                self._report(plugin, str(error).splitlines()[-1])
                return
        self._objects[plugin.value] = instance
        self._usable[plugin.label] = plugin

    def _report(self, plugin: Plugin, reason: str) -> None:
        problem = Problem(plugin.label, plugin.distribution, reason)
        if problem not in self.problems:
            self.problems.append(problem)
            if self._warn:
                self._warn(problem)

    def hooks_of(self, plugin: Plugin) -> list[str]:
        """The names of the hooks that a usable plugin implements."""
        callers = self.manager.get_hookcallers(self._objects[plugin.value]) or []
        return sorted(caller.name for caller in callers)

    def caller(self, plugin: Plugin, hook: str, **arguments: Any) -> Callable[[], Any]:
        """A function that calls `hook` of one plugin alone, with the wrappers of listening plugins around it.

        So one plugin's failure is its own. What it raises that is no TklbamError becomes a PluginError with its name.
        """
        self.load("hooks")
        own = self._objects[plugin.value]
        kin = [self._objects[p.value] for p in self._usable.values() if p.kind == plugin.kind]
        others = [instance for instance in kin if instance is not own]
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
        names = ", ".join(plugin.label for plugin in self.load(kind, name))
        try:
            answer = getattr(self.manager.hook, hook)(**arguments)
        except TklbamError:
            raise
        except Exception as error:
            raise PluginError(
                f"a plugin (one of {names}) failed in {hook}: {type(error).__name__}: {error}",
                "Report this to the plugin's author; --debug shows where it happened.",
            ) from error
        if not isinstance(answer, _answers(hook)):
            raise PluginError(
                f"a plugin (one of {names}) answered {hook} with {type(answer).__name__}, which the contract does not "
                "allow",
                "Report this to the plugin's author.",
            )
        return answer

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


def _extension(plugin: Plugin) -> Any:
    """Loads what an entry point names, with stevedore; whatever that raises comes through."""
    # Imported here: it costs more than all else that start-up does.
    from stevedore.named import NamedExtensionManager

    class One(NamedExtensionManager[Any]):
        # Stevedore would read its own list from a cache file in the home directory, and write one: a change to the
        # system that is backed up.
        def list_entry_points(self) -> list[EntryPoint]:
            return [plugin.entry_point]

    def failed(_: object, __: EntryPoint, error: BaseException) -> None:
        raise error

    manager = One(
        PREFIX + plugin.kind,
        names=[plugin.name],
        on_load_failure_callback=failed,
        on_missing_entrypoints_callback=None,
    )
    return manager[plugin.name].plugin


def _answers(hook: str) -> tuple[type, ...]:
    """The types that a hook's specification allows as its answer."""
    allowed = typing.get_type_hints(getattr(hookspecs, hook))["return"]
    return tuple(typing.get_origin(choice) or choice for choice in typing.get_args(allowed) or (allowed,))
