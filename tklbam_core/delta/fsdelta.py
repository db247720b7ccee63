"""The delta file of a backup (docs/formats/fsdelta.md): read in both versions, written in version 2."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

from ..api.errors import FormatError
from ..api.files import atomic_write
from .escape import HEADER, check_path, escape, quoted, unescape
from .model import Change

_DAMAGED = "The delta is damaged; fetch the backup again, or restore another session."
_COLUMNS = {b"o": 4, b"s": 5, b"d": 2}
_DECIMAL = re.compile(rb"[0-9]{1,10}")
_OCTAL = re.compile(rb"[0-7]{1,8}")
_MAX_ID = 0xFFFFFFFE
_PLAIN = re.compile(rb"o\t((?:/[^/\t\n\r\\\0]+)+)\t([0-9]{1,9})\t([0-9]{1,9})\n")
"""A record of the commonest kind, with nothing in it that would have to be looked at."""


def read_delta(file: Path, *, relative: bool = False) -> Iterator[Change]:
    """The changes in a delta of either version, in the order they have there; streams.

    Raises FormatError with the line for anything that is not a record, a path that is not absolute and normalised
    among it (with `relative`, paths may be relative); OSError.
    """
    with file.open("rb") as lines:
        yield from parse_delta(lines, file, relative=relative)


def parse_delta(lines: Iterable[bytes], file: Path | str, *, relative: bool = False) -> Iterator[Change]:
    """The same from the lines of an open stream, their ends included; `file` is its name for errors."""
    source = iter(lines)
    first = next(source, b"")
    version = 2 if first == HEADER else 1
    if version == 1 and first:
        source = chain([first], source)
    plain = _PLAIN.fullmatch
    for number, line in enumerate(source, version):
        match = plain(line)
        if match is not None and b"/." not in line:
            path, uid, gid = match.groups()
            yield Change("o", path, int(uid), int(gid))
            continue
        try:
            yield _parse(line, version, relative)
        except ValueError as error:
            raise FormatError(file, number, str(error), _DAMAGED) from None


def _parse(line: bytes, version: int, relative: bool) -> Change:
    if line.endswith(b"\n"):
        line = line[:-1]
    elif version == 2:
        raise ValueError("the last record is cut short")
    operation, *columns = line.split(b"\t")
    if operation not in _COLUMNS:
        raise ValueError(f"{quoted(operation)} is no operation (o, s or d)")
    if len(columns) + 1 != _COLUMNS[operation]:
        raise ValueError(f"{len(columns) + 1} columns where {_COLUMNS[operation]} belong")
    path = columns[0] if version == 1 else unescape(columns[0])
    check_path(path, relative=relative)
    if operation == b"d":
        return Change("d", path)
    uid, gid = _id(columns[1]), _id(columns[2])
    if operation == b"o":
        return Change("o", path, uid, gid)
    if not _OCTAL.fullmatch(columns[3]) or int(columns[3], 8) > 0xFFFF:
        raise ValueError(f"{quoted(columns[3])} is no mode")
    return Change("s", path, uid, gid, int(columns[3], 8))


def _id(column: bytes) -> int:
    if not _DECIMAL.fullmatch(column) or int(column) > _MAX_ID:
        raise ValueError(f"{quoted(column)} is no uid or gid")
    return int(column)


def format_change(change: Change, *, escaped: bool = True) -> bytes:
    """A record, its end included: of version 2, or of version 1 where not `escaped`. Raises ValueError for an `a`."""
    path = escape(change.path) if escaped else change.path
    match change.kind:
        case "o":
            return b"o\t%b\t%d\t%d\n" % (path, change.uid, change.gid)
        case "s":
            return b"s\t%b\t%d\t%d\t0%o\n" % (path, change.uid, change.gid, change.mode)
        case "d":
            return b"d\t%b\n" % path
        case _:
            raise ValueError(f"a delta has no record for a change of kind {change.kind}")


class DeltaWriter:
    """Writes `fsdelta` and `fsdelta-olist` into a directory; both appear whole when the block ends without an error."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            # Left in reverse order, so that the list is there before the delta is.
            self._delta = stack.enter_context(atomic_write(self._directory / "fsdelta"))
            self._overlay = stack.enter_context(atomic_write(self._directory / "fsdelta-olist"))
            self._delta.write(HEADER)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    def add(self, change: Change) -> None:
        """Writes a change; one that touches extended attributes alone has no record here."""
        if change.kind == "a":
            return
        self._delta.write(format_change(change))
        if change.kind == "o":
            self._overlay.write(escape(change.path) + b"\n")
