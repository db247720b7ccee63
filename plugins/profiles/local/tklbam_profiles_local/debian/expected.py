"""What a path would be on a system nobody has changed since its packages were installed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

Kind = Literal["file", "link", "directory"]


class Expected(NamedTuple):
    """One pristine state of a path; a path may have several.

    `value` is the MD5 in hex of a file, the target of a link, None for a directory. `required`: that it is missing is
    a change.
    """

    path: bytes
    kind: Kind
    value: bytes | None = None
    required: bool = False


def directory(path: bytes) -> Expected:
    return Expected(path, "directory")


def link(path: bytes, target: bytes, *, required: bool = False) -> Expected:
    return Expected(path, "link", target, required)


def file(path: bytes, md5: bytes, *, required: bool = False) -> Expected:
    return Expected(path, "file", md5, required)


def content(path: bytes, data: bytes) -> Expected:
    return file(path, hashlib.md5(data, usedforsecurity=False).hexdigest().encode())


class Expectations:
    """The pristine states of all paths that the profile covers, by path."""

    def __init__(self) -> None:
        self._states: dict[bytes, list[Expected]] = {}

    def add(self, states: Iterable[Expected]) -> None:
        for state in states:
            self._states.setdefault(state.path, []).append(state)

    def of(self, path: bytes) -> tuple[Expected, ...]:
        return tuple(self._states.get(path, ()))

    def required(self) -> Iterator[Expected]:
        """One state of each path whose absence is a change, in no order."""
        for states in self._states.values():
            yield from [state for state in states if state.required][:1]

    def __len__(self) -> int:
        return len(self._states)
