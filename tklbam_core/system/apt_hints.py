"""Where a package went: near names in the release at hand for packages that can't be had under their old name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..host import Host
from .apt import stream

MOST_HINTS = 3

_NUMBER = re.compile(r"\d+(?:\.\d+)*")
_RELATED = re.compile(rb"[a-zA-Z0-9][a-zA-Z0-9+.-]*(?=[\s,|(:]|$)")
_FIELDS = {
    b"Provides": "provides it",
    b"Replaces": "replaces it",
    b"Breaks": "breaks it",
    b"Conflicts": "conflicts with it",
}


@dataclass(frozen=True, slots=True)
class Hint:
    """A package that may stand in for one that can't be had, and why it is thought to, in a word or two."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.name} ({self.why})"


@dataclass(slots=True)
class _Found:
    related: dict[str, set[str]] = field(default_factory=dict)
    near: set[str] = field(default_factory=set)


def find_hints(host: Host, names: Iterable[str]) -> dict[str, tuple[Hint, ...]]:
    """Name → up to three hints, best first, from one pass over what apt has available.

    A successor is one that provides the old name, that replaces *and* breaks (or conflicts with) it, as packages that
    were renamed do (Debian Policy 7.6), or whose name differs in its version numbers only: a newer one
    (`php7.4-cli` → `php8.2-cli`), or none (`postgresql-13` → `postgresql`, which always means the current one).
    """
    found = {name: _Found() for name in names}
    if not found:
        return {}
    _collect(host, found)
    return {name: _ranked(name, what) for name, what in found.items()}


def stem(name: str) -> str:
    """A package name with its version numbers (and the `t64` of Debian's 64-bit time change) taken out."""
    return _NUMBER.sub("#", name.removesuffix("t64"))


def _collect(host: Host, found: dict[str, _Found]) -> None:
    bare: dict[bytes, list[str]] = {}
    for name in found:
        bare.setdefault(name.partition(":")[0].encode(), []).append(name)
    stems: dict[str, list[str]] = {}
    plain: dict[str, list[str]] = {}
    for name in found:
        own = stem(name.partition(":")[0])
        if "#" in own:
            stems.setdefault(own, []).append(name)
            plain.setdefault(_without_numbers(own), []).append(name)
    package = ""
    with stream(host, ["apt-cache", "dumpavail"]) as lines:
        for line in lines:
            key, colon, value = line.partition(b":")
            if not colon:
                continue
            if key == b"Package":
                package = value.strip().decode("utf-8", "replace")
                for name in [*stems.get(stem(package), ()), *plain.get(package, ())]:
                    found[name].near.add(package)
            elif key in _FIELDS:
                for related in bare.keys() & set(_RELATED.findall(value)):
                    for name in bare[related] if related.decode() != package else ():
                        found[name].related.setdefault(package, set()).add(_FIELDS[key])


def _ranked(name: str, what: _Found) -> tuple[Hint, ...]:
    bare = name.partition(":")[0]
    own = _numbers(bare)
    hints: dict[str, str] = {}
    newer = sorted((near for near in what.near if _numbers(near) > own), key=_numbers, reverse=True)
    hints |= dict.fromkeys(newer, "newer version")
    hints |= {near: "this release's version" for near in sorted(what.near) if not _numbers(near) and near != bare}
    for package in sorted(what.related):
        why = what.related[package]
        if "provides it" in why:
            hints.setdefault(package, "provides it")
        elif "replaces it" in why and len(why) > 1:
            hints.setdefault(package, "replaces it")
    return tuple(Hint(package, why) for package, why in list(hints.items())[:MOST_HINTS])


def _numbers(name: str) -> tuple[tuple[int, ...], ...]:
    text = name.removesuffix("t64")
    return tuple(tuple(int(part) for part in number.split(".")) for number in _NUMBER.findall(text))


def _without_numbers(own: str) -> str:
    return re.sub(r"-?#", "", own)
