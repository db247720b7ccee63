"""Records as our v2 text files hold them: a line each, columns between tabs, `\\t \\n \\r \\\\` escaped inside them."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from ..api.errors import FormatError, UnsafePathError
from .escape import HEADER, escape, unescape
from .safepath import components


class Record:
    """One record read: its unescaped columns, and where it stands, for errors."""

    __slots__ = ("columns", "file", "line")

    def __init__(self, file: Path, line: int, columns: list[bytes]) -> None:
        self.file = file
        self.line = line
        self.columns = columns

    @classmethod
    def parse(cls, file: Path, number: int, line: bytes) -> Record:
        """`line` without its end. Raises FormatError for an unknown escape."""
        try:
            return cls(file, number, [unescape(column) for column in line.split(b"\t")])
        except ValueError as error:
            raise FormatError(file, number, str(error), "The file is damaged, or of a newer version.") from None

    def wrong(self, what: str) -> FormatError:
        return FormatError(self.file, self.line, what, "The file is damaged, or of a newer version.")

    def expect(self, count: int) -> Record:
        """Raises FormatError unless there are exactly `count` columns."""
        if len(self.columns) != count:
            raise self.wrong(f"{len(self.columns)} columns where {count} belong")
        return self

    def path(self, column: int = 0) -> bytes:
        """A plain absolute path. Raises UnsafePathError naming file and line."""
        try:
            components(self.columns[column])
        except UnsafePathError as error:
            raise UnsafePathError(f"{self.file}:{self.line}: {error.what}", error.remedy) from None
        return self.columns[column]

    def number(self, column: int, base: int = 10) -> int:
        """A number of at least 0."""
        digits = self.columns[column]
        if not re.fullmatch(rb"[0-7]+" if base == 8 else rb"[0-9]+", digits):
            raise self.wrong(f"{digits!r} is no number")
        return int(digits, base)

    def signed(self, column: int) -> int:
        """A number that may be negative (a time before 1970)."""
        if not re.fullmatch(rb"-?[0-9]+", self.columns[column]):
            raise self.wrong(f"{self.columns[column]!r} is no number")
        return int(self.columns[column])

    def data(self, column: int) -> bytes:
        """Bytes in Base64."""
        try:
            return base64.b64decode(self.columns[column], validate=True)
        except (binascii.Error, ValueError):
            raise self.wrong("a value is not Base64") from None


def write_record(out: BinaryIO, columns: Iterable[bytes]) -> None:
    """Writes one record."""
    out.write(b"\t".join([escape(column) for column in columns]) + b"\n")


def read_records(file: Path) -> Iterator[Record]:
    """The records of a file that begins with the v2 header. Raises FormatError; streams."""
    with file.open("rb") as lines:
        if lines.readline() != HEADER:
            raise FormatError(file, 1, "does not begin with '#tklbam 2'", "The file is damaged, or of another version.")
        for number, line in enumerate(lines, 2):
            if not line.endswith(b"\n"):
                raise FormatError(file, number, "the last record is cut off", "The file is damaged.")
            yield Record.parse(file, number, line[:-1])


def attribute_columns(attributes: Mapping[str, bytes]) -> list[bytes]:
    """Extended attributes as columns: name and Base64 value, by name."""
    columns = []
    for name in sorted(attributes):
        columns += [os.fsencode(name), base64.b64encode(attributes[name])]
    return columns


def attributes_of(record: Record, first: int) -> dict[str, bytes]:
    """The extended attributes in a record's columns from `first` on. Raises FormatError."""
    if (len(record.columns) - first) % 2:
        raise record.wrong("an attribute has no value")
    found = {}
    for column in range(first, len(record.columns), 2):
        name = record.columns[column]
        if not name or b"\0" in name:
            raise record.wrong(f"{name!r} is no attribute name")
        found[os.fsdecode(name)] = record.data(column + 1)
    return found
