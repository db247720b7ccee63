"""Which paths of a session are wanted: everything, one path, or several with the directories they lie in."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

_GLOB = re.compile(rb"(\*+)|(\?|\[!?\]?[^\]]*\])")


@dataclass(frozen=True, slots=True)
class Parts:
    """All at or `below` these paths (None: everything), and the paths `above` without what is in them.

    What is not at or below a path `_inside`, or matches `_globs`, is not wanted even there."""

    below: tuple[bytes, ...] | None = None
    above: frozenset[bytes] = frozenset()
    _inside: tuple[bytes, ...] = ()
    _globs: re.Pattern[bytes] | None = None

    @classmethod
    def of(cls, path: str | None, within: Sequence[str] | None) -> Parts:
        """`path` with what is below it; or what lies `within` these paths, which may hold the globs of path rules, and
        every directory on the way to them. With globs it may be a little more than they name."""
        if path:
            return cls((os.fsencode(path),), _inside=(os.fsencode(path) + b"/",))
        if within is None:
            return cls()
        words = [os.fsencode(word) for word in within]
        globs = [word for word in words if _GLOB.search(word)]
        below = tuple(_literal(word) for word in words)
        above = {each[:end] for each in below for end, byte in enumerate(each) if byte == ord("/")}
        inside = tuple(word + b"/" for word in words if word not in globs)
        matching = re.compile(b"|".join(map(_expression, globs)), re.DOTALL) if globs else None
        return cls(below, frozenset(above | {b""}), inside, matching)

    def hold(self, path: bytes) -> bool:
        if self.below is None or path in self.above:
            return True
        if (path + b"/").startswith(self._inside):
            return True
        return self._globs is not None and self._globs.fullmatch(path) is not None


def _literal(word: bytes) -> bytes:
    """The path up to its first glob."""
    glob = _GLOB.search(word)
    return word if glob is None else word[: glob.start()].rpartition(b"/")[0]


def _expression(word: bytes) -> bytes:
    """Matches what a path with globs names, what is below it, and what is on the way there."""
    expression = rb"(?:/.*)?"
    for name in reversed(word.split(b"/")):
        at, matching = 0, b""
        for glob in _GLOB.finditer(name):
            # One character is up to four bytes.
            matching += re.escape(name[at : glob.start()]) + (b"[^/]*" if glob[1] else b"[^/]{1,4}")
            at = glob.end()
        expression = matching + re.escape(name[at:]) + expression
        expression = rb"(?:/" + expression + rb")?"
    return expression.removeprefix(b"(?:/").removesuffix(b")?")
