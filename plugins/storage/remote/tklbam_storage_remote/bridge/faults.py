"""What stores and their callers share: entries of a listing, and errors that can cross a pipe."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from dataclasses import dataclass


class Fault(Exception):
    """An operation on a store failed. `kind` is what is known of the reason:

    "missing" (the folder is not there), "absent" (a file is not there), "key" (the server's key is unknown or another),
    "module" (a Python module is missing: `text` is its name) or "" (the text tells).
    """

    def __init__(self, text: str, kind: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.kind = kind


@dataclass(frozen=True)
class Entry:
    """A regular file of a listing: bytes, and seconds since 1970 where known."""

    name: str
    size: int
    modified: float | None = None


class Store(abc.ABC):
    """A folder on a server. Any method may raise Fault, OSError or an error of the library used."""

    @abc.abstractmethod
    def entries(self) -> list[Entry]:
        """The files of the folder. Fault "missing" where there is none."""

    @abc.abstractmethod
    def make(self) -> None:
        """Makes the folder, with those above it where the protocol can."""

    @abc.abstractmethod
    def get(self, name: str, path: str) -> None:
        """Fetches a file to a local path. Fault "absent" where it is not there."""

    @abc.abstractmethod
    def put(self, name: str, path: str) -> None:
        """Stores a local file whole, or not at all."""

    @abc.abstractmethod
    def delete(self, names: Iterable[str]) -> None:
        """Deletes what is there of these."""

    def free(self) -> int | None:
        """Bytes free, where the protocol tells."""
        return None

    def clock(self) -> float | None:
        """The server's time, seconds since 1970, where the protocol tells."""
        return None

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Ends connections."""
