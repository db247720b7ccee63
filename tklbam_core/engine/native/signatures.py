"""What the chain holds: the signatures of all its sessions, read as one sorted stream; and those of a new session."""

from __future__ import annotations

import gzip
import heapq
import itertools
import os
import resource
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from ...api.errors import EngineError
from . import deflate, librsync
from .openpgp import LITERAL, Encryptor
from .tarheader import BLOCK, END, Header, read_header

_GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_GZIP_TRAILER = struct.Struct("<LL")
_COPY = 1 << 20
_OTHERS = 256
"""Open files besides the chain's signatures, at most."""
_ERRORS: tuple[type[Exception], ...] = (OSError, EOFError, ValueError, *deflate.ERRORS)
_PREFIXES = (b"signature/", b"snapshot/", b"deleted/")


class DamagedSignaturesError(EngineError):
    """Signatures in the cache, at `path`, that can't be read; those on the target may be sound."""

    def __init__(self, path: Path, why: Exception) -> None:
        super().__init__(
            f"the signatures {path} are damaged: {why}", "Remove that file: it is fetched from the target again."
        )
        self.path = path


class Known(NamedTuple):
    """A path of the chain's latest state. `order` sorts as `order_of`; `header` is what was noted; `regular` files have
    a signature, which `signature` reads, once, before the next path is asked for."""

    order: bytes
    path: bytes
    header: Header
    deleted: bool
    source: _Reader

    def signature(self) -> bytes:
        return self.source.data()


def order_of(path: bytes) -> bytes:
    """Sorts paths by their components: a directory comes before its contents, and these before its next sibling."""
    return path.replace(b"/", b"\0")


class _Reader:
    """One session's signatures, in order."""

    def __init__(self, path: Path, age: int) -> None:
        self._path = path
        self._age = age
        self._file = _open_gzip(path)
        self._left = 0
        self._unread = 0

    def __iter__(self) -> Iterator[tuple[bytes, int, Known]]:
        """(order, age, what is known): the newest session has the least age, so that it comes first."""
        with self._file:
            try:
                while (header := self._next()) is not None:
                    yield self._known(header)
                while self._file.read(_COPY):
                    continue  # up to the checksum at the end
            except _ERRORS as error:
                raise self._damaged(error) from error

    def _next(self) -> Header | None:
        self._skip(self._left)
        header = read_header(self._file.read)
        if header is not None:
            self._left = header.size + -header.size % BLOCK
            self._unread = header.size
        return header

    def _known(self, header: Header) -> tuple[bytes, int, Known]:
        for prefix in _PREFIXES:
            if header.name.startswith(prefix):
                path = header.name[len(prefix) :].strip(b"/")
                order = order_of(path)
                return order, self._age, Known(order, path, header, prefix == b"deleted/", self)
        raise ValueError(f"it holds {header.name[:100]!r}")

    def data(self) -> bytes:
        try:
            data: bytes = self._file.read(self._unread)
        except _ERRORS as error:
            raise self._damaged(error) from error
        if len(data) != self._unread:
            raise self._damaged(ValueError("it is cut short"))
        if not librsync.is_signature(data):
            raise self._damaged(ValueError("what it holds is no signature"))
        self._left -= len(data)
        return data

    def _skip(self, size: int) -> None:
        while size:
            data = self._file.read(min(size, _COPY))
            if not data:
                raise ValueError("it is cut short")
            size -= len(data)

    def _damaged(self, error: Exception) -> DamagedSignaturesError:
        return DamagedSignaturesError(self._path, error)


def _open_gzip(path: Path) -> Any:
    try:
        from isal import igzip
    except ImportError:
        return gzip.open(path, "rb")
    return cast(Any, igzip).open(path, "rb")


def read_chain(paths: Sequence[Path]) -> Iterator[Known]:
    """The state that the sessions, oldest first, have led to, sorted by path; what is gone is left out.

    Raises DamagedSignaturesError.
    """
    _allow_open(len(paths))
    readers = [_Reader(path, len(paths) - number) for number, path in enumerate(paths)]
    merged = iter(readers[0]) if len(readers) == 1 else heapq.merge(*readers)
    for _, versions in itertools.groupby(merged, key=lambda each: each[0]):
        _, _, newest = next(versions)
        if not newest.deleted:
            yield newest


def _allow_open(count: int) -> None:
    """A chain may have more sessions than a process may have open files, until it asks for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _OTHERS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


class SignatureFile:
    """The signatures of a new session, gzip-compressed into `path` as they come."""

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(descriptor, "w+b")
        self._file.write(_GZIP_HEADER)
        self._crc, self._size = 0, 0
        self._waiting = bytearray()

    def add(self, tar: bytes) -> None:
        self._waiting += tar
        if len(self._waiting) >= _COPY:
            self._compress(deflate.segment)

    def _compress(self, compress: Any) -> None:
        data, self._waiting = bytes(self._waiting), bytearray()
        self._crc = deflate.crc32(data, self._crc)
        self._size += len(data)
        self._file.write(compress(data))

    def finish(self) -> None:
        self._waiting += END
        self._compress(deflate.last_segment)
        self._file.write(_GZIP_TRAILER.pack(self._crc, self._size & 0xFFFFFFFF))
        self._file.flush()
        os.fsync(self._file.fileno())

    def encrypt(self, out: BinaryIO, passphrase: str, coded_count: int) -> int:
        """Writes the same, encrypted, to `out`; bytes written. Only after `finish`."""
        encryptor = Encryptor(out, passphrase, coded_count)
        encryptor.update(deflate.segment(LITERAL))
        self._file.seek(len(_GZIP_HEADER))
        left = os.fstat(self._file.fileno()).st_size - len(_GZIP_HEADER) - _GZIP_TRAILER.size
        while left:
            data = self._file.read(min(left, _COPY))
            encryptor.update(data)
            left -= len(data)
        encryptor.finish()
        return encryptor.size

    def close(self) -> None:
        self._file.close()
