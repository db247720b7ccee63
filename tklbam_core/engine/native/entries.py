"""What sessions say of each path, read from their volumes: the sessions of a chain side by side, sorted by path."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from .signatures import order_of
from .tarheader import BLOCK, PIECE, Header, read_header

_NAME = re.compile(rb"(?:(multivol_)?(snapshot|diff)|(deleted))/(.*)", re.DOTALL)
_CHUNK = 1 << 20


class Volume(NamedTuple):
    """A volume's plain tar: `read(n)` gives the next n bytes, fewer only at the end."""

    name: str
    read: Callable[[int], bytes]


class DamagedVolumeError(ValueError):
    """What is in the volume `name` is not what a session has."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(what)
        self.name = name


class Entry:
    """What one session says of a path: `word` is snapshot, diff or deleted. `chunks` gives the content, once, before
    the session's next entry is asked for."""

    __slots__ = ("chunks", "header", "order", "path", "word")

    def __init__(self, word: bytes, path: bytes, header: Header, chunks: Iterator[bytes]) -> None:
        self.word = word
        self.path = path
        self.order = order_of(path)
        self.header = header
        self.chunks = chunks


class _Session:
    """The members of one session's volumes, as entries. `wanted` tells the paths that matter."""

    def __init__(self, volumes: Iterator[Volume], wanted: Callable[[bytes], bool]) -> None:
        self._volumes = volumes
        self._wanted = wanted
        self._volume: Volume | None = next(volumes, None)
        self._name = self._volume.name if self._volume is not None else ""
        self._left = 0
        self._padding = 0
        self._pending: Header | None = None

    def __iter__(self) -> Iterator[Entry]:
        """Raises DamagedVolumeError."""
        last: bytes | None = None
        while (header := self._next()) is not None:
            several, word, path, number = self._parsed(header)
            if not self._wanted(path):
                continue
            if number not in (None, 1):
                raise self._damaged(f"{path[:200]!r} begins with its part {number}")
            chunks = self._pieces(word, path) if several else self._data()
            entry = Entry(word, path, header, chunks)
            if last is not None and entry.order <= last:
                raise self._damaged(f"{path[:200]!r} comes out of order")
            last = entry.order
            yield entry
            for _ in chunks:
                continue  # what nobody wanted

    def _next(self) -> Header | None:
        if self._pending is not None:
            header, self._pending = self._pending, None
            return header
        for _ in self._data():
            continue
        while self._volume is not None:
            try:
                found = read_header(self._volume.read)
            except ValueError as error:
                raise self._damaged(str(error)) from error
            if found is not None:
                self._left, self._padding = found.size, -found.size % BLOCK
                return found
            while self._volume.read(_CHUNK):
                continue  # up to the volume's integrity check
            self._volume = next(self._volumes, None)
            if self._volume is not None:
                self._name = self._volume.name
        return None

    def _parsed(self, header: Header) -> tuple[bool, bytes, bytes, int | None]:
        try:
            return _parse(header.name)
        except ValueError as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, what: str) -> DamagedVolumeError:
        return DamagedVolumeError(self._name, what)

    def _data(self) -> Iterator[bytes]:
        """What is left of the member at hand."""
        if self._volume is None:
            return
        while self._left:
            data = self._volume.read(min(self._left, _CHUNK))
            if not data:
                raise self._damaged("it is cut short")
            self._left -= len(data)
            yield data
        padding, self._padding = self._padding, 0
        if padding and len(self._volume.read(padding)) != padding:
            raise self._damaged("it is cut short")

    def _pieces(self, word: bytes, path: bytes) -> Iterator[bytes]:
        """The content of all the parts of a path, over as many volumes as they take."""
        expected, first = 1, self._left
        while True:
            ended = not first == self._left == PIECE
            yield from self._data()
            header = self._next()
            several, next_word, next_path, number = (False, b"", b"", None) if header is None else self._parsed(header)
            expected += 1
            if not several or (next_word, next_path) != (word, path):
                if not ended:
                    raise self._damaged(f"{path[:200]!r} lacks its end")
                self._pending = header
                return
            if number != expected:
                raise self._damaged(f"{path[:200]!r} lacks its part {expected}")


def _parse(name: bytes) -> tuple[bool, bytes, bytes, int | None]:
    """Whether it is one of several parts, the word, the path and the part's number."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"it holds {name[:200]!r}")
    word, path, number = match[2] or match[3], match[4], None
    if match[1]:
        path, slash, digits = path.rpartition(b"/")
        if not slash or not digits.isdigit() or len(digits) > 12:
            raise ValueError(f"it holds {name[:200]!r}")
        number = int(digits)
    # Directories end in a slash, and the source itself is `./` or nothing.
    path = path[:-1] if path.endswith(b"/") else path
    return match[1] is not None, word, b"" if path == b"." else path, number


def read_sessions(
    sessions: Sequence[Iterator[Volume]], wanted: Callable[[bytes], bool]
) -> Iterator[tuple[bytes, list[Entry]]]:
    """Each path with what the sessions, oldest first, say of it; sorted. The contents must be read, or not, before the
    next path is asked for. Raises DamagedVolumeError."""
    iterators = [iter(_Session(volumes, wanted)) for volumes in sessions]
    heap: list[tuple[bytes, int, Entry]] = []
    waiting: Iterable[int] = range(len(iterators))
    while True:
        for number in waiting:
            entry = next(iterators[number], None)
            if entry is not None:
                heapq.heappush(heap, (entry.order, number, entry))
        if not heap:
            return
        order, path = heap[0][0], heap[0][2].path
        group = []
        while heap and heap[0][0] == order:
            group.append(heapq.heappop(heap))
        yield path, [entry for _, _, entry in group]
        waiting = [number for _, number, _ in group]
