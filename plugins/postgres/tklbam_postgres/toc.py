"""pg_dump's table of contents (`toc.dat`), read and written: which entry's data is in which file.

The format is that of PostgreSQL's archives, versions 1.11 (PostgreSQL 8.4) to 1.16 (17 and 18), directory and tar.
Text is kept as bytes: its encoding is the database's.
"""

from __future__ import annotations

import codecs
import itertools
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from tklbam_core.api import FormatError

MAGIC = b"PGDMP"
OLDEST, NEWEST = (1, 11), (1, 16)
KNOWN_BY = ((17, (1, 16, 0)), (16, (1, 15, 0)), (12, (1, 14, 0)), (10, (1, 13, 0)))
"""The newest archive that PostgreSQL's programs read, from a major version on."""
RAW = ("SQL_ASCII", "MULE_INTERNAL", "EUC_TW")
"""Of any bytes, or not known to Python: text is what its bytes say, as UTF-8 where they are that."""
ODD_CODECS = {**dict.fromkeys(RAW, "utf-8"), "KOI8R": "koi8_r", "KOI8U": "koi8_u", "UHC": "cp949", "EUC_CN": "gb2312"}
AS_OWNER = b", run_as_owner = true"
EPOCH = (0, 0, 0, 1, 0, 70, 0)
"""Seconds, minutes, hours, day, month (from 0), years since 1900, daylight saving: 1970-01-01."""


@dataclass(slots=True)
class Entry:
    """One object of the archive. `filename` is where its data is (empty or None: it has none)."""

    dump_id: int
    had_dumper: int
    table_oid: bytes | None
    oid: bytes | None
    tag: bytes
    kind: str
    section: int
    definition: bytes | None
    drop: bytes | None
    copy: bytes | None
    namespace: bytes | None
    tablespace: bytes | None
    access_method: bytes | None
    relation_kind: int
    owner: bytes | None
    with_oids: bytes | None
    depends: list[bytes] = field(default_factory=list)
    filename: bytes | None = None

    @property
    def sql(self) -> bytes:
        return self.definition or b""


@dataclass(slots=True)
class Toc:
    """A whole table of contents; `created` as in EPOCH."""

    version: tuple[int, int, int]
    int_size: int
    offset_size: int
    format: int
    compression: int
    created: tuple[int, ...]
    database: bytes | None
    server_version: bytes | None
    dump_version: bytes | None
    entries: list[Entry]

    @property
    def encoding(self) -> str:
        """The encoding of all text in the archive, by PostgreSQL's name ("UTF8")."""
        for entry in self.entries:
            if entry.kind == "ENCODING":
                return entry.sql.decode("ascii", "replace").split("'")[1]
        return "UTF8"

    @property
    def standard_strings(self) -> bool:
        """Whether a backslash in a string of the archive's statements is just that."""
        return not any(entry.kind == "STDSTRINGS" and b"'off'" in entry.sql for entry in self.entries)

    def text(self, value: bytes | None) -> str:
        """Text of the archive; bytes that its encoding does not know are surrogates."""
        return (value or b"").decode(python_codec(self.encoding), "surrogateescape")

    def name_of(self, entry: Entry) -> str:
        """`view public.v`: what an entry is called in reports."""
        space, name = self.text(entry.namespace), self.text(entry.tag)
        return f"{entry.kind.lower()} {space + '.' if space else ''}{name}"

    def ids(self) -> frozenset[int]:
        return frozenset(entry.dump_id for entry in self.entries)

    def of_kind(self, *kinds: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.kind in kinds]


def python_codec(encoding: str) -> str:
    """Python's name for a server's encoding; "ascii" for one that Python does not know."""
    name = encoding.replace("WIN", "cp") if encoding.startswith("WIN") else encoding
    try:
        return codecs.lookup(ODD_CODECS.get(name, name)).name
    except LookupError:
        return "ascii"


def major(version: bytes | None) -> int:
    """The 15 of "15.18 (Debian 15.18-0+deb12u1)"; 0 where it is not known."""
    match = re.match(rb"\d+", version or b"")
    return int(match[0]) if match else 0


class _Reader:
    def __init__(self, file: Path, data: bytes) -> None:
        self.file = file
        self.data = data
        self.at = 0
        self.int_size = 4

    def take(self, length: int) -> bytes:
        if self.at + length > len(self.data):
            raise FormatError(self.file, None, "the table of contents is cut short")
        self.at += length
        return self.data[self.at - length : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        negative = self.byte()
        value = int.from_bytes(self.take(self.int_size), "little")
        return -value if negative else value

    def text(self) -> bytes | None:
        length = self.number()
        return None if length < 0 else self.take(length)


def read(file: Path) -> Toc:
    """Reads a `toc.dat`. Raises FormatError where it isn't one or of a version unknown here, and OSError."""
    reader = _Reader(file, file.read_bytes())
    if reader.take(5) != MAGIC:
        raise FormatError(file, None, "not a pg_dump table of contents")
    version = (reader.byte(), reader.byte(), reader.byte())
    if not OLDEST <= version[:2] <= NEWEST:
        raise FormatError(
            file,
            None,
            f"archive version {version[0]}.{version[1]} is not known here",
            "Restore it with a newer tklbam-postgres.",
        )
    reader.int_size, offset_size, format_ = reader.byte(), reader.byte(), reader.byte()
    compression = reader.byte() if version >= (1, 15) else reader.number()
    created = tuple(reader.number() for _ in range(7))
    toc = Toc(
        version, reader.int_size, offset_size, format_, compression, created, reader.text(), reader.text(),
        reader.text(), [],
    )  # fmt: skip
    toc.entries = [_read_entry(reader, version) for _ in range(reader.number())]
    return toc


def _read_entry(reader: _Reader, version: tuple[int, int, int]) -> Entry:
    entry = Entry(
        dump_id=reader.number(),
        had_dumper=reader.number(),
        table_oid=reader.text(),
        oid=reader.text(),
        tag=reader.text() or b"",
        kind=(reader.text() or b"").decode("ascii", "replace"),
        section=reader.number(),
        definition=reader.text(),
        drop=reader.text(),
        copy=reader.text(),
        namespace=reader.text(),
        tablespace=reader.text(),
        access_method=reader.text() if version >= (1, 14) else None,
        relation_kind=reader.number() if version >= (1, 16) else 0,
        owner=reader.text(),
        with_oids=reader.text(),
    )
    while (dependency := reader.text()) is not None:
        entry.depends.append(dependency)
    entry.filename = reader.text()
    return entry


def readable_by(toc: Toc, program: int, server: int) -> Toc:
    """The same archive as PostgreSQL's programs of one major version read it, for a server of another, where both may
    be older than the pg_dump that wrote it (and no older than the server that it read)."""
    newest = next((version for since, version in KNOWN_BY if program >= since), KNOWN_BY[-1][1])
    entries = toc.entries
    if toc.version >= (1, 16) > newest:
        entries = list(_one_by_one(entries))
    writer = major(toc.dump_version)
    entries = [_for_server(each, writer, server) for each in entries]
    return replace(toc, version=min(toc.version, newest), entries=entries)


def _for_server(entry: Entry, writer: int, server: int) -> Entry:
    """What a subscription does by default has changed twice. A pg_dump that knows it says what is otherwise, to older
    servers in words that they don't know; one that doesn't leaves out what was the default then."""
    if entry.kind != "SUBSCRIPTION":
        return entry
    statement, with_, options = entry.sql.rstrip().removesuffix(b");").rpartition(b" WITH (")
    if server < 16:
        options = options.replace(AS_OWNER, b"")
    elif writer < 16:
        options += AS_OWNER
    if writer < 18 <= server and b"streaming = " not in options:
        options += b", streaming = off"
    return replace(entry, definition=b"%b%b%b);\n" % (statement, with_, options)) if with_ else entry


def _one_by_one(entries: list[Entry]) -> Iterator[Entry]:
    """From 1.16 on, one entry makes many large objects, and one grants on them all."""
    groups = {entry.dump_id: entry.sql.split() for entry in entries if entry.kind == "BLOB METADATA"}
    free = itertools.count(max((entry.dump_id for entry in entries), default=0) + 1)
    for entry in entries:
        if entry.kind == "BLOB METADATA":
            for number, oid in enumerate(groups[entry.dump_id]):
                yield replace(
                    entry,
                    dump_id=next(free) if number else entry.dump_id,
                    oid=oid,
                    tag=oid,
                    kind="BLOB",
                    definition=b"SELECT pg_catalog.lo_create('%b');\n" % oid,
                    drop=b"SELECT pg_catalog.lo_unlink('%b');\n" % oid,
                )
        elif entry.kind == "ACL" and entry.tag.startswith(b"LARGE OBJECTS "):
            oids = next((groups[int(each)] for each in entry.depends if int(each) in groups), [])
            for number, oid in enumerate(oids):
                yield replace(
                    entry,
                    dump_id=next(free) if number else entry.dump_id,
                    tag=b"LARGE OBJECT " + oid,
                    definition=entry.sql.replace(b"LARGE OBJECT %b " % oids[0], b"LARGE OBJECT %b " % oid),
                )
        else:
            yield entry


def write(toc: Toc, file: Path) -> None:
    """Writes a `toc.dat` with the permissions that a new file gets. Raises OSError."""
    file.write_bytes(dump(toc))


def dump(toc: Toc) -> bytes:
    """The bytes of a table of contents: what `read` has read comes out the same."""
    out = bytearray()

    def integer(value: int) -> None:
        out.append(1 if value < 0 else 0)
        out.extend(abs(value).to_bytes(toc.int_size, "little"))

    def text(value: bytes | None) -> None:
        if value is None:
            integer(-1)
        else:
            integer(len(value))
            out.extend(value)

    out += MAGIC + struct.pack("6B", *toc.version, toc.int_size, toc.offset_size, toc.format)
    if toc.version >= (1, 15):
        out.append(toc.compression)
    else:
        integer(toc.compression)
    for value in toc.created:
        integer(value)
    for name in (toc.database, toc.server_version, toc.dump_version):
        text(name)
    integer(len(toc.entries))
    for entry in toc.entries:
        _write_entry(entry, toc.version, integer, text)
    return bytes(out)


def _write_entry(
    entry: Entry,
    version: tuple[int, int, int],
    integer: Callable[[int], None],
    text: Callable[[bytes | None], None],
) -> None:
    integer(entry.dump_id)
    integer(entry.had_dumper)
    text(entry.table_oid)
    text(entry.oid)
    text(entry.tag)
    text(entry.kind.encode("ascii"))
    integer(entry.section)
    text(entry.definition)
    text(entry.drop)
    text(entry.copy)
    text(entry.namespace)
    text(entry.tablespace)
    if version >= (1, 14):
        text(entry.access_method)
    if version >= (1, 16):
        integer(entry.relation_kind)
    text(entry.owner)
    text(entry.with_oids)
    for dependency in entry.depends:
        text(dependency)
    text(None)
    text(entry.filename)
