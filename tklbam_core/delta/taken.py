"""The changes of a delta that a restore takes, kept in a file: chosen and judged once, read again by every step."""

from __future__ import annotations

import marshal
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from .metadata import out_of_space
from .model import Change

BATCH = 1000


class Taken:
    """Iterate as often as needed; each time it streams from the disk. The file is this program's own: it is not
    checked, and another version of Python need not be able to read it."""

    def __init__(self, file: Path, changes: Iterable[Change]) -> None:
        """Writes `changes` to `file`. Raises SpaceError, OSError, and what `changes` raises."""
        self._file = file
        coming = (tuple(change[:5]) for change in changes)
        try:
            with file.open("wb") as out:
                while some := list(islice(coming, BATCH)):
                    marshal.dump(some, out)
                marshal.dump([], out)
        except OSError as error:
            full = out_of_space(error, os.fsencode(file.parent))
            if full is None:
                raise
            raise full from error

    def __iter__(self) -> Iterator[Change]:
        with self._file.open("rb") as file:
            while some := marshal.load(file):
                for values in some:
                    yield Change(*values)
