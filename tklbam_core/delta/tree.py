"""Path rules as a tree of components, so that a walk decides about a name by one look-up and not by matching paths."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

_GLOB = re.compile(rb"[*?[]")


def is_glob(component: bytes) -> bool:
    return _GLOB.search(component) is not None


def components(path: bytes) -> list[bytes]:
    """The names in an absolute path; none for `/`."""
    return [name for name in path.split(b"/") if name]


def glob_matcher(pattern: bytes) -> Callable[[bytes], bool]:
    """Matches one name against `* ? [ ]`. A leading dot is only matched by a dot; characters are UTF-8's."""
    match = re.compile(fnmatch.translate(_text(pattern))).match
    hidden = pattern.startswith(b".")

    def matches(name: bytes) -> bool:
        return (hidden or not name.startswith(b".")) and match(_text(name)) is not None

    return matches


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


class Node:
    """A component of a rule. `order` is the place of the last rule that ends here (-1: none), `include` what it says.

    `barred`: never scanned whatever the rules say. `mount`: another file system begins here. `leads`: a rule below
    includes something.
    """

    __slots__ = ("barred", "exact", "globs", "include", "leads", "mount", "order")

    def __init__(self) -> None:
        self.exact: dict[bytes, Node] = {}
        self.globs: dict[bytes, tuple[Callable[[bytes], bool], Node]] = {}
        self.order = -1
        self.include = False
        self.barred = False
        self.mount = False
        self.leads = False

    def child(self, name: bytes) -> Node:
        if not is_glob(name):
            return self.literal(name)
        if name not in self.globs:
            self.globs[name] = (glob_matcher(name), Node())
        return self.globs[name][1]

    def literal(self, name: bytes) -> Node:
        return self.exact.setdefault(name, Node())


Nodes = tuple[Node, ...]


class Verdict(NamedTuple):
    """What is known about a path: `taken` by the scan; `named` by an include itself; left out for a `mount` alone."""

    taken: bool
    named: bool
    mount: bool


class Tree:
    """The rules `(include, path)` in order, with what is never scanned and what lies on other file systems."""

    def __init__(self, rules: Iterable[tuple[bool, bytes]], *, default: bool) -> None:
        self._default = default
        self._top = Node()
        for order, (include, path) in enumerate(rules):
            node = self._top
            for name in components(path):
                node.leads = node.leads or include
                node = node.child(name)
            node.order, node.include = order, include

    def bar(self, path: bytes) -> None:
        """Never scan this path, whatever the rules say; it is taken literally."""
        self._literal(path).barred = True

    def mount(self, path: bytes) -> None:
        """Scan this path only if a rule names it or something below it; it is taken literally."""
        self._literal(path).mount = True

    def _literal(self, path: bytes) -> Node:
        node = self._top
        for name in components(path):
            node = node.literal(name)
        return node

    def start(self) -> tuple[Nodes, Verdict]:
        """The nodes and the verdict of `/`."""
        nodes = (self._top,)
        return nodes, self.judge(nodes, self._default)

    def judge(self, nodes: Nodes, inherited: bool) -> Verdict:
        """The verdict on a path that these nodes match, where its directory's was `inherited`."""
        taken, named, order, mount = inherited, False, -1, False
        for node in nodes:
            mount = mount or node.mount
            if node.order > order:
                order, taken, named = node.order, node.include, node.include
        if mount and not named:
            return Verdict(False, False, taken)
        return Verdict(taken, named, False)

    def covers(self, path: bytes) -> bool:
        """Whether a scan takes this absolute path, if it is there."""
        nodes, verdict = self.start()
        for name in components(path):
            if not nodes:
                break
            nodes = step(nodes, name)
            if any(node.barred for node in nodes):
                return False
            verdict = self.judge(nodes, verdict.taken)
        return verdict.taken


def step(nodes: Nodes, name: bytes) -> Nodes:
    """The nodes that match a name in a directory that `nodes` match."""
    return tuple(_matching(nodes, name))


def _matching(nodes: Nodes, name: bytes) -> Iterator[Node]:
    for node in nodes:
        child = node.exact.get(name)
        if child is not None:
            yield child
        for matches, below in node.globs.values():
            if matches(name):
                yield below


def names_to_visit(nodes: Nodes) -> list[bytes] | None:
    """The only names that matter in a directory that is not taken itself; None where a glob means: list it."""
    if any(below.leads or below.include for node in nodes for _, below in node.globs.values()):
        return None
    return sorted({name for node in nodes for name, child in node.exact.items() if child.leads or child.include})
