"""Paths in text files: the escapes of version 2, what a path must look like, and the order of paths."""

from __future__ import annotations

import re

HEADER = b"#tklbam 2\n"

_ESCAPES = {b"\t": b"\\t", b"\n": b"\\n", b"\r": b"\\r", b"\\": b"\\\\"}
_ORIGINALS = {escape: original for original, escape in _ESCAPES.items()}
_SPECIAL = re.compile(rb"[\t\n\r\\]")
_ESCAPE = re.compile(rb"\\.?|\r", re.DOTALL)


def escape(text: bytes) -> bytes:
    """Writes tab, newline, carriage return and backslash as `\\t`, `\\n`, `\\r` and `\\\\`."""
    return _SPECIAL.sub(lambda match: _ESCAPES[match[0]], text)


def unescape(text: bytes) -> bytes:
    """The reverse of `escape`. Raises ValueError for an escape that does not exist and for a raw carriage return."""
    if b"\\" not in text and b"\r" not in text:
        return text
    return _ESCAPE.sub(_original, text)


def _original(match: re.Match[bytes]) -> bytes:
    try:
        return _ORIGINALS[match[0]]
    except KeyError:
        raise ValueError(f"{match[0].decode('latin-1')!r} is no escape") from None


def sort_key(path: bytes) -> bytes:
    """Orders paths by components: a directory, its contents, its next sibling."""
    # NUL is in no name and comes before every other byte, so that `a/b` comes before `a-b`. `.` contains all others.
    return b"" if path == b"." else path.replace(b"/", b"\0")


def check_path(path: bytes, *, relative: bool = False) -> None:
    """Raises ValueError unless `path` is absolute and normalised; with `relative`, it may also be relative."""
    if b"\0" in path:
        raise ValueError("the path has a NUL byte in it")
    if path == b"/" or (relative and path == b"."):
        return
    if not path.startswith(b"/"):
        if not relative or not path:
            raise ValueError(f"the path {quoted(path)} is not absolute")
        path = b"/" + path
    wrong = {b"", b".", b".."}.intersection(path[1:].split(b"/"))
    if wrong:
        raise ValueError(f"the path {quoted(path)} is not normalised: it has {quoted(min(wrong))} among its components")


def quoted(path: bytes) -> str:
    """A path for messages, on one line, in quotes, with what is not printable escaped."""
    return repr(path.decode("utf-8", "surrogateescape"))
