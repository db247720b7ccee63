"""A file of a target brought onto this machine, and proven to be what its manifest says of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass

from ..api.errors import TargetError
from ..api.models import StoredFile
from ..api.storage import Target
from . import failures

CHUNK = 128 << 10
"""Bytes read at once: at most these are lost when a connection is, and a part goes on where it ended."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file of the target; `sha1` is what its manifest says of it ("" where nothing)."""

    file: StoredFile
    sha1: str = ""


def download(target: Target, wanted: Wanted, descriptor: int, on_bytes: Callable[[int], None]) -> None:
    """Fills an open file, going on where it ends; `on_bytes` is told how many bytes there are more.

    What does not match its hash is fetched once more. Raises ArchiveError where that helps nothing, TargetError,
    OSError.
    """
    for _ in range(2):
        _fill(target, wanted, descriptor, on_bytes)
        if is_proven(descriptor, wanted):
            return
        os.truncate(descriptor, 0)
    raise failures.altered(target, wanted.file.name)


def is_proven(descriptor: int, wanted: Wanted) -> bool:
    """Whether an open file has the right size and, where that is known, the right hash."""
    if os.fstat(descriptor).st_size != wanted.file.size:
        return False
    if not wanted.sha1:
        return True
    with open(descriptor, "rb", closefd=False) as file:
        file.seek(0)
        # Not for secrecy: it is the hash that a manifest has.
        return hashlib.file_digest(file, lambda: hashlib.sha1(usedforsecurity=False)).hexdigest() == wanted.sha1


def _fill(target: Target, wanted: Wanted, descriptor: int, on_bytes: Callable[[int], None]) -> None:
    offset, size = os.fstat(descriptor).st_size, wanted.file.size
    if offset > size:
        os.truncate(descriptor, 0)
        offset = 0
    if offset:
        on_bytes(offset)
    if offset == size:
        return
    with target.read_from(wanted.file.name, offset) as stream:
        while data := stream.read(min(CHUNK, size - offset)):
            _write_all(descriptor, data, offset)
            offset += len(data)
            on_bytes(len(data))
    if offset < size:
        raise TargetError(
            f"{target.address}: {wanted.file.name} ended after {offset} of {size} bytes",
            "Check the connection, then try again.",
        )


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
