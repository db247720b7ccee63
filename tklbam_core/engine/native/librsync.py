"""Signatures and deltas of librsync, through the extension module that duplicity brings.

A signature is 12 bytes (magic, block length, 8) and then 12 for each block of the file (rolling sum, 8 bytes of MD4);
duplicity's block length is about the square root of the file's size. https://librsync.github.io/page_formats.html
"""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Iterable, Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType
from typing import Any

from ...api.errors import EngineError

STEP = 1 << 16
"""Bytes that a job takes at most at once: what it gives has that much room."""

_SIGNATURE, _STRONG_LENGTH, _BLOCK_SUMS = b"rs\x016", bytes((0, 0, 0, 8)), 12


@functools.cache
def load() -> ModuleType | None:
    """duplicity's `_librsync`, without the rest of duplicity; None where this Python has none that works."""
    package = importlib.util.find_spec("duplicity")
    for place in (package.submodule_search_locations or ()) if package is not None else ():
        for suffix in EXTENSION_SUFFIXES:
            path = Path(place) / f"_librsync{suffix}"
            if not path.exists():
                continue
            spec = importlib.util.spec_from_file_location("_librsync", path)
            assert spec is not None
            assert spec.loader is not None
            try:
                module = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(module)
            except ImportError:  # its librsync is missing, or it is another Python's
                continue
            return module
    return None


def is_signature(data: bytes) -> bool:
    """Whether this can be given to the library: a block length of 0, say, would end the process."""
    return (
        data.startswith(_SIGNATURE)
        and any(data[4:8])
        and data[8:12] == _STRONG_LENGTH
        and (len(data) - 12) % _BLOCK_SUMS == 0
    )


def _library() -> Any:
    module = load()
    if module is None:
        raise EngineError("librsync is not there", "Install duplicity for this Python.")
    return module


def block_length(size: int) -> int:
    """Bytes of a block in the signature of a file of `size` bytes, as duplicity chooses them."""
    return max(1, -(-math.isqrt(size) // 512)) * 512


class _Job:
    """A job of the library, fed with pieces of any size."""

    def __init__(self, job: Any) -> None:
        self._cycle = job.cycle
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """What comes out for it."""
        if self._rest:
            data = self._rest + data
        made, position = [], 0
        while position < len(data):
            _, used, part = self._cycle(data[position : position + STEP])
            position += used
            if part:
                made.append(part)
            elif not used:
                break  # it wants to see more at once
        self._rest = data[position:]
        return made

    def end(self) -> list[bytes]:
        """What is left to come out."""
        made = []
        done = False
        while not done:
            done, used, part = self._cycle(self._rest)
            self._rest = self._rest[used:]
            if part:
                made.append(part)
            elif not used and not done:
                raise EngineError("librsync does not come to an end", "Report this, with the version of duplicity.")
        return made


class Signature:
    """The signature of what goes through `update`, in blocks as for a file of `size` bytes."""

    def __init__(self, size: int) -> None:
        self._job = _Job(_library().new_sigmaker(block_length(size)))
        self._parts: list[bytes] = []

    def update(self, data: bytes) -> None:
        self._parts += self._job.feed(data)

    def value(self) -> bytes:
        """The whole signature; nothing can follow."""
        self._parts += self._job.end()
        return b"".join(self._parts)


def delta(old_signature: bytes, data: Iterable[bytes]) -> Iterator[bytes]:
    """What makes the new content of the old one, in parts of any size. Raises EngineError for a damaged signature."""
    library = _library()
    try:
        job = _Job(library.new_deltamaker(old_signature))
        for piece in data:
            yield from job.feed(piece)
        yield from job.end()
    except library.librsyncError as error:
        raise EngineError(f"librsync: {error}", "") from error
