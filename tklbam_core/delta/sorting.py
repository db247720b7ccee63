"""Entries brought into the order of an index, in memory that stays flat however many there are."""

from __future__ import annotations

import heapq
import pickle
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from typing import IO

from .escape import sort_key
from .model import Entry

_RUN = 20_000
_FAN_IN = 64


def in_order(entries: Iterable[Entry], *, run: int = _RUN) -> Iterator[Entry]:
    """Sorts by path components; of several entries for a path only the first comes through.

    Sorts `run` entries at a time in memory, and keeps and merges the rest in temporary files.
    """
    source = iter(entries)
    first = _sorted_run(source, run)
    if len(first) < run:
        yield from _distinct(iter(first))
        return
    with ExitStack() as stack:
        runs = [_spill(first, stack)]
        while batch := _sorted_run(source, run):
            runs.append(_spill(batch, stack))
            if len(runs) == _FAN_IN:  # so that no number of entries needs more open files than this
                merged = _spill(_merge(runs), stack)
                for file in runs:
                    file.close()
                runs = [merged]
        yield from _distinct(_merge(runs))


def _key(entry: Entry) -> bytes:
    return sort_key(entry.path)


def _sorted_run(source: Iterator[Entry], size: int) -> list[Entry]:
    return sorted(islice(source, size), key=_key)


def _spill(entries: Iterable[Entry], stack: ExitStack) -> IO[bytes]:
    file = stack.enter_context(tempfile.TemporaryFile(prefix="tklbam-sort-"))  # noqa: SIM115 - the stack closes it
    # The files have no name and only this process can read or write them, so that pickle is safe here.
    for entry in entries:
        pickle.dump(tuple(entry), file, pickle.HIGHEST_PROTOCOL)
    return file


def _read(file: IO[bytes]) -> Iterator[Entry]:
    file.seek(0)
    while True:
        try:
            yield Entry(*pickle.load(file))
        except EOFError:
            return


def _merge(runs: list[IO[bytes]]) -> Iterator[Entry]:
    return heapq.merge(*map(_read, runs), key=_key)


def _distinct(entries: Iterator[Entry]) -> Iterator[Entry]:
    last = None
    for entry in entries:
        if entry.path != last:
            last = entry.path
            yield entry
