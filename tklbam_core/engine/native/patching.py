"""Deltas of librsync applied as they come. https://librsync.github.io/page_formats.html

A delta of a few bytes may copy gigabytes of the old content, and an archive may hold any nonsense: so memory stays
flat, and no library in C sees it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from ...api.errors import EngineError
from .decryption import CutShortError, Stream

PIECE = 1 << 18
_MAGIC = b"rs\x026"
_END, _LITERALS, _LITERAL, _COPY, _RESERVED = 0x00, 0x01, 0x41, 0x45, 0x55


class BadDeltaError(EngineError):
    """A delta that makes no sense, or that belongs to other content."""

    def __init__(self, why: str) -> None:
        super().__init__(f"its delta is damaged: {why}", "")


def patched(basis: BinaryIO, delta: Iterable[bytes]) -> Iterator[bytes]:
    """The new content that a delta makes of the old one, a true file, in pieces of `PIECE` bytes.

    Raises BadDeltaError, and what reading the delta raises.
    """
    waiting, size = list[bytes](), 0
    try:
        for piece in _pieces(basis.fileno(), Stream(iter(delta))):
            waiting.append(piece)
            size += len(piece)
            if size >= PIECE:
                yield b"".join(waiting)
                waiting, size = [], 0
    except CutShortError as error:
        raise BadDeltaError(str(error)) from error
    yield b"".join(waiting)


def _pieces(basis: int, delta: Stream) -> Iterator[bytes]:
    if delta.read(len(_MAGIC)) != _MAGIC:
        raise BadDeltaError("it is none")
    end = os.fstat(basis).st_size
    while (command := _number(delta, 1)) != _END:
        if command < _LITERAL:
            yield from delta.pieces(command - _LITERALS + 1)
        elif command < _COPY:
            yield from delta.pieces(_number(delta, 1 << command - _LITERAL))
        elif command < _RESERVED:
            width, next_width = divmod(command - _COPY, 4)
            start, length = _number(delta, 1 << width), _number(delta, 1 << next_width)
            if start + length > end:
                raise BadDeltaError("it copies what the old content does not have")
            yield from _copied(basis, start, length)
        else:
            raise BadDeltaError(f"it has a command {command}")
    if delta.some(1):
        raise BadDeltaError("something follows it")


def _number(delta: Stream, width: int) -> int:
    return int.from_bytes(delta.exactly(width), "big")


def _copied(basis: int, start: int, length: int) -> Iterator[bytes]:
    while length:
        data = os.pread(basis, min(length, PIECE), start)
        if not data:
            raise BadDeltaError("it copies what the old content does not have")
        start += len(data)
        length -= len(data)
        yield data
