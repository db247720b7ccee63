"""Patience with a network: what failed in passing is tried again, later and later, and a cut download goes on where it
was cut."""

from __future__ import annotations

import contextlib
import io
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from ..api.errors import TargetError, TklbamError
from ..api.models import EngineAddress, StoredFile
from ..api.storage import Target
from .wrapped import WrappedTarget

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

T = TypeVar("T")
WORTHWHILE = 64 << 10
"""Bytes that must have come since the last cut for the count of tries to begin anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often and how long to wait.

    `retries` is how many tries follow the first one; before each stands a random part, a half to all, of `first`
    seconds, twice as much each time and at most `longest`. After `timeout` seconds of silence a connection is dead.
    `sleep` is for tests.
    """

    retries: int = 5
    timeout: int = 60
    first: float = 1.0
    longest: float = 60.0
    sleep: Callable[[float], None] = time.sleep

    def wait(self, number: int) -> None:
        """Waits after failure `number`, counted from 1."""
        # Jitter: servers that lost many clients at once should not get all of them back at once.
        self.sleep(min(self.longest, self.first * 2 ** (number - 1)) * random.uniform(0.5, 1))

    def retry(self, action: Callable[[], T]) -> T:
        """What `action` returns. Raises its last error; at once what is no use trying again."""
        for number in range(1, self.retries + 1):
            try:
                return action()
            except Exception as error:
                if not is_transient(error):
                    raise
                self.wait(number)
        return action()


def is_transient(error: Exception) -> bool:
    """Whether trying again may help: a plugin says so of its own errors; a broken connection says so itself."""
    if isinstance(error, TklbamError):
        return isinstance(error, TargetError) and error.transient
    return isinstance(error, ConnectionError | TimeoutError | EOFError)


class PatientTarget(WrappedTarget):
    """A target behind a network, with patience."""

    def __init__(self, target: Target, patience: Patience) -> None:
        super().__init__(target)
        self._patience = patience
        self._sizes: dict[str, int] = {}

    def engine(self) -> EngineAddress:
        return self._patience.retry(self.target.engine)

    def check(self, *, write: bool) -> None:
        check = super().check
        self._patience.retry(lambda: check(write=write))

    def files(self) -> Iterator[StoredFile]:
        found = self._patience.retry(lambda: list(self.target.files()))
        self._sizes = {file.name: file.size for file in found}
        yield from found

    def delete(self, names: Iterable[str]) -> None:
        listed = list(names)
        self._patience.retry(lambda: self.target.delete(listed))

    def read(self, name: str) -> BinaryIO:
        return self.read_from(name, 0)

    def read_from(self, name: str, offset: int) -> BinaryIO:
        """What is cut short (of the size in the last listing) is read on from there."""
        reader = PatientReader(self.target, name, offset, self._sizes.get(name), self._patience)
        return io.BufferedReader(reader, WORTHWHILE)

    def write(self, name: str, content: BinaryIO) -> None:
        """`content` must be seekable for a second try."""
        begin = content.tell() if content.seekable() else None

        def once() -> None:
            if begin is not None:
                content.seek(begin)
            self.target.write(name, content)

        (self._patience if begin is not None else Patience(retries=0)).retry(once)


def patient(target: Target, patience: Patience) -> Target:
    """The target, with patience where it lies behind a network."""
    inner = target
    while isinstance(inner, WrappedTarget) and not isinstance(inner, PatientTarget):
        inner = inner.target
    if target.local_path() is not None or isinstance(inner, PatientTarget):
        return target
    return PatientTarget(target, patience)


class PatientReader(io.RawIOBase):
    """A file of a target as one stream, however often the connection breaks. `size` is its whole size, where known."""

    def __init__(self, target: Target, name: str, offset: int, size: int | None, patience: Patience) -> None:
        self._target = target
        self._name = name
        self._at = offset
        self._size = size
        self._patience = patience
        self._stream: BinaryIO | None = None
        self._failures = 0
        self._failed_at = offset

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        while True:
            try:
                data = self._read(len(view))
                break
            except TklbamError as error:
                if not is_transient(error):
                    raise
                self._failed(error)
            except Exception as error:  # noqa: BLE001 - a stream may break in any way its library knows
                self._failed(
                    TargetError(
                        f"{self._target.address}: {self._name} can't be read: {type(error).__name__}: {error}",
                        "Check the connection, then try again.",
                    )
                )
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _read(self, most: int) -> bytes:
        if self._size is not None and self._at >= self._size:
            return b""
        if self._stream is None:
            self._stream = self._target.read_from(self._name, self._at)
        data = self._stream.read(most)
        if not data and self._size is not None and self._at < self._size:
            raise EOFError(f"the connection ended after {self._at} of {self._size} bytes")
        return data

    def _failed(self, error: TklbamError) -> None:
        """Gets ready for the next try, or raises."""
        self._drop()
        if self._at - self._failed_at >= WORTHWHILE:
            self._failures = 0
        self._failures += 1
        self._failed_at = self._at
        if self._failures > self._patience.retries:
            raise error
        self._patience.wait(self._failures)

    def _drop(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            # The connection is gone: there is nothing left that closing could lose.
            with contextlib.suppress(Exception):
                stream.close()

    def close(self) -> None:
        self._drop()
        super().close()
