"""The paths of a session, sorted, with every directory above them: those of the list, and all that is in the extras."""

from __future__ import annotations

import heapq
import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..filelist import EXTRAS, entries, is_storable
from ..outcome import Outcome
from .signatures import order_of


class Selected(NamedTuple):
    """A path of the session, and where it lies on this machine."""

    order: bytes
    path: bytes
    place: bytes


def select(source: Path, file_list: Path, extras: Path | None, outcome: Outcome) -> Iterator[Selected]:
    """Everything once, in order, beginning with the source directory itself (the path is empty).

    `file_list` must be sorted (see `sort_list`). Paths whose names neither writer could store are noted as unread.
    """
    base = os.fsencode(source.resolve()).rstrip(b"/")
    # Where the administrator moved the extras to, they are stored as if they were here.
    streams = [_listed(base, file_list)]
    if extras is not None:
        streams.append(_below(EXTRAS, os.fsencode(extras.resolve())))
    above: list[bytes] = []
    yield Selected(b"", b"", base or b"/")
    last = b""
    for each in heapq.merge(*streams):
        if each.path == last:
            continue
        if not is_storable(each.path):
            outcome.add_unread(each.path, "its name can't be stored")
            continue
        parts = each.path.split(b"/")
        same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(above, parts, strict=False)))
        for depth in range(same + 1, len(parts)):
            path = b"/".join(parts[:depth])
            yield Selected(order_of(path), path, base + b"/" + path)
        yield each
        above, last = parts, each.path


def _listed(base: bytes, file_list: Path) -> Iterator[Selected]:
    with file_list.open("rb") as listed:
        for path in entries(listed):
            yield Selected(order_of(path), path, base + b"/" + path)


def _below(path: bytes, place: bytes) -> Iterator[Selected]:
    yield Selected(order_of(path), path, place)
    for name in sorted(os.listdir(place)):
        inner_path, inner_place = path + b"/" + name, place + b"/" + name
        if stat.S_ISDIR(os.lstat(inner_place).st_mode):
            yield from _below(inner_path, inner_place)
        else:
            yield Selected(order_of(inner_path), inner_path, inner_place)


def sort_list(file_list: Path, scratch: Path) -> Path:
    """The list itself where it is sorted, as a scan writes it; else a sorted one in `scratch`, made in memory."""
    with file_list.open("rb") as listed:
        orders = map(order_of, entries(listed))
        if all(first <= second for first, second in itertools.pairwise(orders)):
            return file_list
    with file_list.open("rb") as listed:
        paths = sorted(entries(listed), key=order_of)
    (scratch / "sorted").write_bytes(b"".join(path + b"\0" for path in paths))
    return scratch / "sorted"
