"""Which paths of a session are wanted: everything, one path, or several with the directories they lie in."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Parts:
    """All at or `below` these paths (None: everything), and the paths `above` without what is in them."""

    below: tuple[bytes, ...] | None = None
    above: frozenset[bytes] = frozenset()
    _inside: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, path: str | None, within: Sequence[str] | None) -> Parts:
        """`path` with what is below it; or what lies `within` these paths, and every directory on the way to them."""
        if path:
            return cls((os.fsencode(path),), _inside=(os.fsencode(path) + b"/",))
        if within is None:
            return cls()
        below = tuple(map(os.fsencode, within))
        above = {each[:end] for each in below for end, byte in enumerate(each) if byte == ord("/")}
        return cls(below, frozenset(above | {b""}), tuple(each + b"/" for each in below))

    def hold(self, path: bytes) -> bool:
        if self.below is None or path in self.above:
            return True
        return (path + b"/").startswith(self._inside)
