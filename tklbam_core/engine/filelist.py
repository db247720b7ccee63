"""The list of paths that duplicity is given: the caller's, and all that lies in the extras."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

EXTRAS = b"TKLBAM"
_CHUNK = 1 << 20
_MAGIC = re.compile(rb"[*?\[]")


def entries(file: BinaryIO) -> Iterator[bytes]:
    """The NUL-separated paths of a list, in flat memory."""
    rest = b""
    while chunk := file.read(_CHUNK):
        *whole, rest = (rest + chunk).split(b"\0")
        yield from (path for path in whole if path)
    if rest:
        yield rest


def below(directory: Path, name: bytes = EXTRAS) -> Iterator[bytes]:
    """`name` and every path below `directory`, as if the directory were called that."""
    yield name
    base = os.fsencode(directory)
    for place, directories, files in os.walk(base):
        prefix = name + place[len(base) :]
        directories.sort()
        for each in sorted(directories + files):
            yield prefix + b"/" + each


def vanished(source: Path, file_list: Path) -> Iterator[str]:
    """The paths of a list that are no longer there; duplicity passes over those without a word."""
    base = os.fsencode(source) + b"/"
    with open(file_list, "rb") as listed:
        for path in entries(listed):
            if is_storable(path) and not os.path.lexists(base + path):
                yield path.decode("utf-8", "backslashreplace")


def count_listed(list_file: Path, source: Path) -> int:
    """How many paths of a list are there (and no sockets, which are passed over)."""
    base = os.fsencode(source) + b"/"
    found = 0
    with open(list_file, "rb") as listed:
        for path in entries(listed):
            try:
                found += not stat.S_ISSOCK(os.lstat(base + path).st_mode)
            except OSError:
                continue
    return found


def is_storable(path: bytes) -> bool:
    """Whether duplicity can read this path from a list."""
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return not path.startswith(b"/") and b".." not in path.split(b"/")


def write_list(out: BinaryIO, file_list: Path, extras: Path | None) -> list[str]:
    """Writes the list for `--files-from`; returns the paths that can't be in it, for people to read."""
    left_out = []
    with open(file_list, "rb") as listed:
        for source in (entries(listed), below(extras) if extras else ()):
            for path in source:
                if is_storable(path):
                    out.write(path + b"\0")
                else:
                    left_out.append(path.decode("utf-8", "backslashreplace"))
    return left_out


def write_include_list(out: BinaryIO, source: Path, file_list: Path, extras: Path | None) -> list[str]:
    """Writes the same list for `--include-filelist` of duplicity 0.8: globs, of which the first that matches decides.

    A directory's own line would take in all that is below it; so after the files comes, for each directory, a line
    that leaves the rest of it out and then its own.
    """
    left_out = []
    base = os.fsencode(source).rstrip(b"/") + b"/"
    directories = []
    with open(file_list, "rb") as listed:
        for path in entries(listed):
            if not is_storable(path):
                left_out.append(path.decode("utf-8", "backslashreplace"))
            elif _is_directory(base + path):
                directories.append(path)
            else:
                out.write(_quoted(b"+ ", base + path) + b"\0")
    for path in directories:
        out.write(_quoted(b"- ", base + path, b"/**") + b"\0" + _quoted(b"+ ", base + path) + b"\0")
    if extras is None:
        return left_out
    out.write(_quoted(b"+ ", base + EXTRAS) + b"\0")
    left_out += [path.decode("utf-8", "backslashreplace") for path in below(extras) if not is_storable(path)]
    return left_out


def _is_directory(path: bytes) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def _quoted(sign: bytes, path: bytes, glob: bytes = b"") -> bytes:
    literal = _MAGIC.sub(lambda match: b"[" + match[0] + b"]", path)
    return sign + b'"' + literal + glob + b'"'
