"""Path rules: which paths are scanned, kept in a backup or restored (dirindex.conf, overrides, the command line)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..api.errors import FormatError, UsageError
from .escape import quoted
from .tree import Tree, components, is_glob

# A limit of another kind, such as `mysql:db/table` or `-pgsql:db`: no path rule, and no mistake either.
_OTHER_LIMIT = re.compile(rb"-?[a-z][a-z0-9_.+-]*:")
_GLOB = re.compile(rb"[*?[]")
_MAX_LINKS = 40


@dataclass(frozen=True, slots=True)
class PathRule:
    """One rule: `path` is absolute and normalised; its components may hold the globs `* ? [ ]`."""

    include: bool
    path: bytes

    @classmethod
    def parse(cls, word: bytes) -> PathRule:
        """Reads `/path` or `-/path`. Raises ValueError where the path is not absolute or steps up with `..`."""
        include = not word.startswith(b"-")
        path = word if include else word[1:]
        if not path.startswith(b"/"):
            raise ValueError(f"the path rule {quoted(word)} is not absolute")
        if b"\0" in path:
            raise ValueError(f"the path rule {quoted(word)} has a NUL byte in it")
        names = [name for name in components(path) if name != b"."]
        if b".." in names:
            raise ValueError(f"the path rule {quoted(word)} has `..` in it")
        return cls(include, b"/" + b"/".join(names))

    def __str__(self) -> str:
        return f"{'' if self.include else '-'}{os.fsdecode(self.path)}"


class PathRules:
    """An ordered list of rules.

    The nearest ancestor that a rule names decides (a path's own name is nearer than its directory's); between rules
    for the same path the later one wins. As a filter (`includes`), a list of excludes alone lets everything else in,
    and an empty list everything; a scan takes what lies below named includes only, and nothing where there is none.
    """

    __slots__ = ("_filter", "rules")

    def __init__(self, rules: Iterable[PathRule] = ()) -> None:
        self.rules = tuple(rules)
        self._filter: Tree | None = None

    def __add__(self, later: PathRules) -> PathRules:
        """These rules, then the later ones, as one list."""
        return PathRules(self.rules + later.rules)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PathRules) and self.rules == other.rules

    def __hash__(self) -> int:
        return hash(self.rules)

    def __repr__(self) -> str:
        return f"PathRules({' '.join(map(str, self.rules))})"

    @classmethod
    def from_words(cls, words: Iterable[str | bytes]) -> PathRules:
        """Rules as words of a command line; limits of databases among them are passed over. Raises UsageError."""
        rules = []
        for word in map(os.fsencode, words):
            if _OTHER_LIMIT.match(word):
                continue
            try:
                rules.append(PathRule.parse(word))
            except ValueError as error:
                raise UsageError(str(error), "Write it as /path, or as -/path to leave it out.") from error
        return cls(rules)

    @classmethod
    def among(cls, words: Iterable[str]) -> PathRules:
        """The path rules among limits or overrides; the others are databases'. Raises UsageError."""
        return cls.from_words(word for word in words if word.removeprefix("-").startswith("/"))

    @classmethod
    def from_text(cls, text: bytes, file: Path | str) -> PathRules:
        """Rules as `dirindex.conf` or `overrides` hold them: one or more a line, `#` starts a comment.

        Nothing is escaped: a path with a space or a `#` is named with `?` in its place. Limits of databases are
        passed over. Raises FormatError with `file` and the line.
        """
        rules = []
        for number, line in enumerate(text.split(b"\n"), 1):
            for word in line.partition(b"#")[0].split():
                if _OTHER_LIMIT.match(word):
                    continue
                try:
                    rules.append(PathRule.parse(word))
                except ValueError as error:
                    remedy = "Write it as /path, or as -/path to leave it out."
                    raise FormatError(file, number, str(error), remedy) from error
        return cls(rules)

    @classmethod
    def from_file(cls, file: Path) -> PathRules:
        """Reads `dirindex.conf` or `overrides`. Raises FormatError, OSError."""
        return cls.from_text(file.read_bytes(), file)

    @property
    def has_includes(self) -> bool:
        """Whether a scan by these rules finds anything at all."""
        return any(rule.include for rule in self.rules)

    @property
    def bounds(self) -> tuple[bytes, ...] | None:
        """Paths at or below which lies all that the rules, as a filter, let through; None where that is anywhere."""
        if not self.has_includes:
            return None
        found = list[bytes]()
        for path in sorted((_literal(rule.path) for rule in self.rules if rule.include), key=components):
            if path == b"/":
                return None
            if not found or (path != found[-1] and not path.startswith(found[-1] + b"/")):
                found.append(path)
        return tuple(found)

    @property
    def named(self) -> tuple[bytes, ...] | None:
        """Paths, maybe with globs, at or below which lies all that the rules let through; None as `bounds`."""
        return None if self.bounds is None else tuple(rule.path for rule in self.rules if rule.include)

    def includes(self, path: bytes) -> bool:
        """Whether the rules, as a filter, let this absolute path through."""
        if self._filter is None:
            self._filter = self.tree(default=not self.has_includes)
        return self._filter.covers(path)

    def tree(self, *, default: bool = False) -> Tree:
        """A new tree of these rules; `default` is the verdict on what no rule names."""
        return Tree(((rule.include, rule.path) for rule in self.rules), default=default)

    def resolve(self, root: Path) -> PathRules:
        """The same rules with symbolic links among the *parents* of their paths followed, never out of `root`.

        So `/var/run/x` names `/run/x` where `/var/run` is a link, and no path of a delta has a link for a parent. The
        last component and everything from the first glob on stay as they are.
        """
        base = os.fsencode(root).rstrip(b"/")
        return PathRules(PathRule(rule.include, _resolve_parents(base, rule.path)) for rule in self.rules)


def _literal(path: bytes) -> bytes:
    """The path up to its first glob."""
    names = components(path)
    return b"/" + b"/".join(names[: _literal_count(names)])


def _literal_count(names: list[bytes]) -> int:
    """How many names come before the first glob: all where there is none."""
    return next((place for place, name in enumerate(names) if is_glob(name)), len(names))


def _resolve_parents(base: bytes, path: bytes) -> bytes:
    names = components(path)
    literal = max(0, min(_literal_count(names), len(names) - 1))
    parents, rest = names[:literal], names[literal:]
    resolved = resolve_inside(base, parents)
    if resolved is None:
        return path
    # What came from a link is meant literally.
    return b"/" + b"/".join([_GLOB.sub(rb"[\g<0>]", name) for name in resolved] + rest)


def resolve_inside(base: bytes, names: list[bytes]) -> list[bytes] | None:
    """Follows all links in the directory that `names` lead to from `base`, as a process in a chroot there would.

    None where links lead in a circle.
    """
    ahead = list(reversed(names))
    done: list[bytes] = []
    links = 0
    while ahead:
        name = ahead.pop()
        if name in (b"", b"."):
            continue
        if name == b"..":
            del done[-1:]
            continue
        place = base + b"/" + b"/".join([*done, name])
        try:
            target = os.readlink(place)
        except OSError:  # no link, or nothing there: the name stands for itself
            done.append(name)
            continue
        links += 1
        if links > _MAX_LINKS:
            return None
        if target.startswith(b"/"):
            done.clear()
        ahead.extend(reversed(target.split(b"/")))
    return done
