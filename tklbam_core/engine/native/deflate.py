"""Raw deflate in segments that can be laid one after the other, whoever made them.

Each ends at a byte and looks back at nothing before it. ISA-L (the package `isal`) does it where that is there, several
times as fast as zlib.
"""

from __future__ import annotations

import zlib
from types import ModuleType
from typing import Any


def _fastest() -> tuple[ModuleType, int]:
    try:
        from isal import isal_zlib
    except ImportError:
        return zlib, 1
    return isal_zlib, 2


_library, _LEVEL = _fastest()
ERRORS: tuple[type[Exception], ...] = (zlib.error, _library.error)
"""What is raised for a damaged stream, whichever library reads it."""


def _stream() -> Any:
    return _library.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)


def segment(data: bytes | bytearray) -> bytes:
    """The data as a segment that others may follow."""
    stream = _stream()
    made: bytes = stream.compress(data) + stream.flush(zlib.Z_FULL_FLUSH)
    return made


def last_segment(data: bytes) -> bytes:
    """The data as the segment that ends the stream."""
    stream = _stream()
    made: bytes = stream.compress(data) + stream.flush(zlib.Z_FINISH)
    return made


def decompressor(window: int) -> Any:
    """As `zlib.decompressobj`."""
    return _library.decompressobj(window)


def crc32(data: bytes, value: int = 0) -> int:
    """As `zlib.crc32`."""
    result: int = _library.crc32(data, value)
    return result
