"""What a delta's changes mean for each other, whoever wrote them."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..api.errors import FormatError, UnsafePathError
from .carry import CarryReader
from .escape import sort_key
from .fsdelta import read_delta
from .model import Change
from .safepath import is_below, show

USER_DATABASES = frozenset(
    b"/etc/" + name + suffix
    for name in (b"passwd", b"group", b"shadow", b"gshadow", b"subuid", b"subgid")
    for suffix in (b"", b"-")
)
"""Never applied from a backup: accounts are merged into the system's own."""


def makes(change: Change) -> bool:
    """Whether applying a change may make its path where nothing is.

    `s` lines of very old writers have permission bits alone, and mean a directory.
    """
    return change.kind == "o" or (change.kind == "s" and stat.S_IFMT(change.mode) in (0, stat.S_IFDIR))


class Delta:
    """A delta file, checked and in order: iterate over it as often as needed; each time it streams from the disk.

    With `carry`, the paths of which only extended attributes differ come as `a` changes in their places. Version 1 says
    nothing about its order: a file in neither of the two known orders is sorted, in memory. Making one reads it once.
    Raises FormatError, UnsafePathError, OSError.
    """

    def __init__(self, file: Path, carry: CarryReader | None = None) -> None:
        self._file = file
        self._sorted: list[Change] | None = None
        self._attributes = sorted(carry.attributes, key=sort_key) if carry is not None else []
        order = _Order()
        in_order = all(order.accepts(change.path) for change in read_delta(file))
        # Only the order by components can be merged with the attributes, which have that one.
        if not in_order or (self._attributes and not order.by_components):
            self._sorted = sorted(read_delta(file), key=lambda change: sort_key(change.path))
        for _ in self:
            pass

    def __iter__(self) -> Iterator[Change]:
        records = read_delta(self._file) if self._sorted is None else iter(self._sorted)
        return coherent(_merge(records, self._attributes) if self._attributes else records)


def _merge(delta: Iterable[Change], attributes: list[bytes]) -> Iterator[Change]:
    waiting = iter(attributes)
    path = next(waiting, None)
    for change in delta:
        key = sort_key(change.path)
        while path is not None and sort_key(path) < key:
            yield Change("a", path)
            path = next(waiting, None)
        if path == change.path:
            path = next(waiting, None)
        yield change
    while path is not None:
        yield Change("a", path)
        path = next(waiting, None)


class _Order:
    """Whether paths come in one of the two orders: by components, or by bytes."""

    def __init__(self) -> None:
        self._last = self._last_key = b""
        self.by_components = self._by_bytes = True

    def accepts(self, path: bytes) -> bool:
        if self.by_components:
            key = sort_key(path)
            self.by_components = key >= self._last_key
            self._last_key = key
        self._by_bytes = self._by_bytes and path >= self._last
        self._last = path
        return self._by_bytes or self.by_components


def coherent(delta: Iterable[Change]) -> Iterator[Change]:
    """The changes of a delta, but for those that the overlay makes void.

    What is in the overlay is no directory, so nothing can lie below it: a `d` there is an entry of the directory that
    was in its place, gone with it; anything else would be applied through a link that the same delta plants. Raises
    UnsafePathError for that, FormatError for a delta in neither of the orders that `Delta` knows.
    """
    order = _Order()
    above: list[bytes] = []
    for change in delta:
        if not order.accepts(change.path):
            raise FormatError("the delta", None, f"{show(change.path)} is out of order")
        # In both orders an ancestor comes first, and every path between it and one below begins with it.
        while above and not change.path.startswith(above[-1]):
            above.pop()
        if any(is_below(change.path, path) for path in above):
            if change.kind == "d":
                continue
            raise UnsafePathError(
                f"the delta has {show(change.path)} below {show(above[-1])}, which is no directory in this backup",
                "The backup is damaged or was tampered with.",
            )
        if change.kind == "o":
            above.append(change.path)
        yield change
