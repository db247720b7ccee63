"""Reading an object as a stream that survives a connection which is cut: it goes on from where it was."""

from __future__ import annotations

import io
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

LONGEST_PAUSE = 20.0
"""Seconds between two tries, at most."""


class ObjectReader(io.RawIOBase):
    """One object from `offset` on. `get(offset, etag)` answers get_object's response from there on, of that version.

    `attempts` in a row may fail without a byte in between.
    """

    def __init__(self, get: Callable[[int, str | None], dict[str, Any]], attempts: int, offset: int = 0) -> None:
        self._get = get
        self._attempts = attempts
        self._position = offset
        self._body: Any = None  # which closing looks at, even where there is no such object
        first = get(offset, None)
        self._etag: str | None = first.get("ETag")
        self._size = offset + int(first["ContentLength"])
        self._body = first["Body"]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        if self._position >= self._size or not len(view):
            return 0
        data = self._some(len(view))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _some(self, most: int) -> bytes:
        """Some of the bytes that follow, never none: an end before the end is a cut."""
        from botocore.exceptions import HTTPClientError, IncompleteReadError, ResponseStreamingError

        failed = 0
        while True:
            try:
                if self._body is None:
                    self._body = self._get(self._position, self._etag)["Body"]
                data: bytes = self._body.read(min(most, self._size - self._position))
                if data:
                    return data
                raise IncompleteReadError(actual_bytes=self._position, expected_bytes=self._size)
            except (IncompleteReadError, ResponseStreamingError, HTTPClientError):
                self._drop()
                failed += 1
                if failed >= self._attempts:
                    raise
                time.sleep(min(LONGEST_PAUSE, 2.0 ** (failed - 1)) * random.uniform(0.1, 1))

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None

    def close(self) -> None:
        self._drop()
        super().close()


class Pace:
    """Keeps what several threads fetch below `rate` bytes a second; 0: as fast as it comes."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._free_at = 0.0

    @property
    def most(self) -> int:
        """Bytes that should be asked for at once."""
        return max(1, self._rate // 4) if self._rate else sys.maxsize

    def take(self, size: int) -> None:
        """Waits until so many more bytes are within the limit."""
        if not self._rate:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + size / self._rate
            pause = self._free_at - now
        time.sleep(pause)


class OneWay:
    """A file shown as a mere stream, so that nothing seeks in it to find its length or to send a part again.

    A read gives as much as was asked for: what sends it takes less for the end.
    """

    def __init__(self, content: BinaryIO) -> None:
        self._content = content
        self._ahead = b""

    def unread(self, data: bytes) -> None:
        """Puts back what was read last."""
        self._ahead = data + self._ahead

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            ahead, self._ahead = self._ahead, b""
            return ahead + self._content.read()
        ahead, self._ahead = self._ahead[:size], self._ahead[size:]
        parts = [ahead]
        size -= len(ahead)
        while size > 0 and (data := self._content.read(size)):
            parts.append(data)
            size -= len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)
