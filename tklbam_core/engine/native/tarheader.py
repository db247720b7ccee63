"""Headers of tar members, written and read: GNU's format, as `tarfile` makes it, for millions of them.

The standard library's `tarfile` takes 30 µs for a header, most of what a small file costs; so the plain ones are made
and read here, and all that is long, large or odd is left to it.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from typing import NamedTuple

BLOCK = 512
END = bytes(2 * BLOCK)
"""What ends an archive."""
PIECE = 1 << 16
"""Bytes of content in a member, at most: a shorter one is taken for the last (very old writers had other sizes)."""
FILE, SYMLINK, CHARACTER, DEVICE, DIRECTORY, FIFO = b"0", b"2", b"3", b"4", b"5", b"6"
_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL = b"L", b"K", b"x", b"g"
_LARGEST_ID, _LARGEST_SIZE = 0o7777777, 0o77777777777
_ZEROS = tuple(bytes(-size % BLOCK) for size in range(BLOCK))
_LONGEST_EXTENSION = 1 << 20
"""Bytes of a long name or of pax records that are read at most."""


class Header(NamedTuple):
    """What a header says. `kind` is tar's type; `size` is of the data that follows; `mtime` seconds since 1970."""

    name: bytes
    kind: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    link: bytes
    major: int
    minor: int


def padding(size: int) -> bytes:
    """The zeros that follow `size` bytes of data."""
    return _ZEROS[size % BLOCK]


def format_header(
    name: bytes,
    kind: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    *,
    owner: bytes = b"",
    group: bytes = b"",
    link: bytes = b"",
    major: int = 0,
    minor: int = 0,
) -> bytes:
    """One or more blocks of 512 bytes. `owner` and `group` are names (31 bytes of them are kept)."""
    if kind == DIRECTORY and not name.endswith(b"/"):
        name += b"/"
    plain = (
        len(name) <= 100
        and len(link) <= 100
        and max(uid, gid, major, minor) <= _LARGEST_ID
        and max(size, mtime) <= _LARGEST_SIZE
        and min(mtime, uid, gid) >= 0
    )
    if not plain:
        return _by_library(Header(name, kind, mode, uid, gid, size, mtime, link, major, minor), owner[:31], group[:31])
    numbers = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode, uid, gid, size, mtime)
    device = b"%07o\0%07o\0" % (major, minor) if kind in (CHARACTER, DEVICE) else bytes(16)
    text = b"".join(
        (
            name.ljust(100, b"\0"),
            numbers,
            b"        ",
            kind,
            link.ljust(100, b"\0"),
            b"ustar  \0",
            owner[:31].ljust(32, b"\0"),
            group[:31].ljust(32, b"\0"),
            device,
            bytes(167),
        )
    )
    return b"%b%06o\0%b" % (text[:148], sum(text), text[155:])


def _by_library(header: Header, owner: bytes, group: bytes) -> bytes:
    made = tarfile.TarInfo()
    made.name, made.linkname = (_text(value) for value in (header.name, header.link))
    made.uname, made.gname = _text(owner), _text(group)
    made.type, made.mode, made.uid, made.gid = header.kind, header.mode, header.uid, header.gid
    made.size, made.mtime, made.devmajor, made.devminor = header.size, header.mtime, header.major, header.minor
    return made.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def read_header(read: Callable[[int], bytes]) -> Header | None:
    """The next header of an archive, of which `read(n)` gives the next n bytes; None at its end.

    Long names and pax records are taken in. Raises ValueError where it is damaged or cut short.
    """
    name: bytes | None = None
    link: bytes | None = None
    numbers: dict[str, int] = {}
    while True:
        block = read(BLOCK)
        if len(block) != BLOCK:
            raise ValueError("it is cut short")
        if block[0] == 0 and not block.strip(b"\0"):
            return None
        found = _parse(block)
        if found.kind not in (_LONG_NAME, _LONG_LINK, _PAX, _PAX_GLOBAL):
            break
        if found.size > _LONGEST_EXTENSION:
            raise ValueError("a name in it is absurdly long")
        data = read(found.size)
        if len(data) != found.size or len(read(-found.size % BLOCK)) != -found.size % BLOCK:
            raise ValueError("it is cut short")
        if found.kind == _LONG_NAME:
            name = data.rstrip(b"\0")
        elif found.kind == _LONG_LINK:
            link = data.rstrip(b"\0")
        elif found.kind == _PAX:
            records = _pax(data)
            name, link = records.pop("path", name), records.pop("linkpath", link)
            numbers |= {key: _decimal(records[key]) for key in ("size", "uid", "gid", "mtime") if key in records}
    if name is None and link is None and not numbers:
        return found
    return _sensible(
        found._replace(
            name=found.name if name is None else name,
            link=found.link if link is None else link,
            size=numbers.get("size", found.size),
            uid=numbers.get("uid", found.uid),
            gid=numbers.get("gid", found.gid),
            mtime=numbers.get("mtime", found.mtime),
        )
    )


def _sensible(header: Header) -> Header:
    if min(header.size, header.uid, header.gid) < 0:
        raise ValueError("a number in it is negative")
    return header


def _parse(block: bytes) -> Header:
    if sum(block) - sum(block[148:156]) + 256 != _number(block[148:156]):
        raise ValueError("a header in it is damaged")
    name = block[:100].rstrip(b"\0")
    if block[257:263] == b"ustar\0" and block[345]:
        name = block[345:500].rstrip(b"\0") + b"/" + name
    kind = block[156:157]
    is_device = kind in (CHARACTER, DEVICE)
    return _sensible(
        Header(
            name,
            FILE if kind == b"\0" else kind,
            _number(block[100:108]),
            _number(block[108:116]),
            _number(block[116:124]),
            _number(block[124:136]),
            _number(block[136:148]),
            block[157:257].rstrip(b"\0"),
            _number(block[329:337]) if is_device else 0,
            _number(block[337:345]) if is_device else 0,
        )
    )


def _number(field: bytes) -> int:
    """Octal digits, or binary where they would not do (GNU)."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        return value - (1 << (8 * len(field) - 1)) if field[0] == 0xFF else value
    return int(field.rstrip(b" \0") or b"0", 8)


def _decimal(text: bytes) -> int:
    """What stands before the point."""
    return int(text.partition(b".")[0])


def _pax(data: bytes) -> dict[str, bytes]:
    """Records of "LENGTH KEY=VALUE" and a newline."""
    records, begin = {}, 0
    while begin < len(data):
        space = data.find(b" ", begin, begin + 20)
        if space < 0:
            raise ValueError("a record in it is damaged")
        end = begin + int(data[begin:space])
        if not begin + 5 <= end <= len(data) or end <= space:
            raise ValueError("a record in it is damaged")
        key, _, value = data[space + 1 : end - 1].partition(b"=")
        records[key.decode("utf-8", "replace")] = value
        begin = end
    return records
