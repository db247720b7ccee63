"""What a storage plugin returns for an address: an object that answers for one target."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from .errors import TklbamError
from .models import EngineAddress, StoredFile


class Target(abc.ABC):
    """One place where sessions are stored: a flat set of named files.

    Every method raises TargetError, with the address and what to do, when the target can't be reached or refuses;
    with `transient=True` where trying again may help, which the core does. None may wait for a dead network for ever:
    `network-timeout` (seconds) is in the request's options.
    """

    address: str
    """The address as the administrator wrote it, without any password."""

    keeps_everything: bool = False
    """True where this machine's credentials can add sessions and not delete any: nothing is pruned or cleaned there."""

    parallel_writes: int = 1
    """How many calls of `write` may be under way at once, each in a thread of its own. With more than 1 the other
    methods, too, may be called from any thread."""

    @abc.abstractmethod
    def engine(self) -> EngineAddress:
        """How duplicity reaches this target."""

    @abc.abstractmethod
    def check(self, *, write: bool) -> None:
        """Proves that the target is there and readable and, with `write`, that a backup could be stored (it may be
        created). Leaves nothing behind but the folder."""

    @abc.abstractmethod
    def files(self) -> Iterator[StoredFile]:
        """All files of the target, in any order; none when the target does not exist yet."""

    @abc.abstractmethod
    def delete(self, names: Iterable[str]) -> None:
        """Deletes files by name. A name that is not there is no error."""

    @abc.abstractmethod
    def read(self, name: str) -> BinaryIO:
        """Opens one file for reading as a stream of bytes."""

    def read_from(self, name: str, offset: int) -> BinaryIO:
        """Opens one file for reading from `offset` bytes on: a download that was cut goes on there.

        Unless a target can do better, what lies before is read and thrown away.
        """
        stream = self.read(name)
        left = offset
        try:
            while left and (data := stream.read(min(left, 1 << 20))):
                left -= len(data)
        except BaseException:
            stream.close()
            raise
        return stream

    @abc.abstractmethod
    def write(self, name: str, content: BinaryIO) -> None:
        """Stores one file whole, or not at all."""

    def free_bytes(self) -> int | None:
        """Bytes still free on the target, None where that can't be known."""
        return None

    def clock(self) -> datetime | None:
        """The target's time of day (aware), None where that can't be known: `tklbam check` tells how far off it is."""
        return None

    def local_path(self) -> Path | None:
        """The directory on this machine that the target lies in, so that it is not backed up into itself."""
        return None

    def cautions(self) -> Sequence[str]:
        """What the last `check` saw that keeps no session from being stored, and that a person should know: lines."""
        return ()

    def explain(self, said: str) -> TklbamError | None:
        """The error behind what the archive engine said in its own words when it failed on this target; None where the
        target knows no better than the engine."""
        return None
