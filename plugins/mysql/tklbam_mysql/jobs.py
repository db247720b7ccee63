"""The tables of one dump, and how they are shared out among programs that read at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .catalogue import Table
from .cut import RowsWriter

LEAST_SHARE = 16 << 20
"""Bytes of a server's estimate below which another reader would not be worth its start."""


@dataclass(slots=True)
class Job:
    """One table to be read, and where its rows go. `failed` says why they are not all there."""

    table: Table
    writer: RowsWriter
    failed: str = ""


def shares(jobs: Sequence[Job], most: int) -> list[list[Job]]:
    """These jobs in at most `most` shares of about the same size, none of them small unless it is the only one."""
    total = sum(job.table.size for job in jobs)
    number = max(1, min(most, len(jobs), total // LEAST_SHARE))
    found: list[list[Job]] = [[] for _ in range(number)]
    sizes = [0] * number
    for job in sorted(jobs, key=lambda job: job.table.size, reverse=True):
        smallest = sizes.index(min(sizes))
        found[smallest].append(job)
        sizes[smallest] += job.table.size
    while len(found) > 1 and min(sizes) < LEAST_SHARE:
        at = sizes.index(min(sizes))
        sizes.pop(at)
        small = found.pop(at)
        found[sizes.index(min(sizes))] += small
    return found


def by_database(jobs: Iterable[Job]) -> dict[str, dict[str, RowsWriter]]:
    """Database → table → where its rows go."""
    found: dict[str, dict[str, RowsWriter]] = {}
    for job in jobs:
        found.setdefault(job.table.database, {})[job.table.name] = job.writer
    return found


def named(jobs: Sequence[Job]) -> str:
    """Their tables, for people."""
    names = [job.table.label for job in jobs]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
