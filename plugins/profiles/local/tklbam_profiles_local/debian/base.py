"""Which of a system's packages are its base, and which somebody asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tklbam_core.api.profiles import automatic, display_name, inside, installed, native_architecture, stanzas

_FIELDS = ("package", "status", "architecture", "priority", "essential", "pre-depends", "depends", "provides")
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")


@dataclass(frozen=True, slots=True)
class _Package:
    priority: str
    essential: bool
    needs: tuple[str, ...]
    provides: tuple[str, ...]


def base_packages(root: Path) -> list[str]:
    """Names of the installed packages that come with every system of this kind, or came by themselves, sorted.

    They are the essential ones and those of priority `required`, apt, what apt installed only because others needed it,
    and all that these need. Packages of priority `important` count where the system boots by itself (it has the package
    `init`): an installer brings them all, while in a container built from the required ones somebody chose them.
    """
    known = _installed(root)
    important = "init" in known
    came_along = automatic(root)
    base = {
        name
        for name, package in known.items()
        if package.essential
        or package.priority == "required"
        or (important and package.priority == "important")
        or name == "apt"
        or name in came_along
    }
    providers: dict[str, set[str]] = {}
    for name, package in known.items():
        for provided in (name.partition(":")[0], *package.provides):
            providers.setdefault(provided, set()).add(name)
    pending = list(base)
    while pending:
        for needed in known[pending.pop()].needs:
            new = providers.get(needed, set()) - base
            base |= new
            pending += new
    return sorted(base)


def _installed(root: Path) -> dict[str, _Package]:
    present = installed(root)
    native = native_architecture(root)
    known = {}
    for _, stanza in stanzas(inside(root, "var/lib/dpkg/status"), _FIELDS):
        name = display_name(stanza.get("package", ""), stanza.get("architecture", ""), native)
        if name in present:
            known[name] = _Package(
                priority=stanza.get("priority", ""),
                essential=stanza.get("essential", "") == "yes",
                needs=_names(stanza.get("pre-depends", "")) + _names(stanza.get("depends", "")),
                provides=_names(stanza.get("provides", "")),
            )
    return known


def _names(relations: str) -> tuple[str, ...]:
    """The names in `a (>= 1), b | c:any`: all alternatives, for one of them is what is there."""
    words = (word.strip() for word in re.split(r"[,|]", relations))
    return tuple(found[0] for word in words if (found := _NAME.match(word)))
