"""Charts as numbers: what the templates draw as SVG. No colour and no text size is decided here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import pairwise

from tklbam_hub.console import wording

TICKS = 4
ROUND = (1, 2, 5, 10, 20, 50, 100, 200, 256, 512)
"""Distances of gridlines in one unit; the last two lead over to the next, which is 1024 times as large."""
NARROWEST, WIDEST = 1.5, 22.0
"""A bar's width: still to be seen, and no wider than looks right when there are few."""
LEFT, TOP, RIGHT, BOTTOM = 62, 12, 8, 26
"""Room around the bars, for the words at the axes."""


class Kind(StrEnum):
    """What a mark stands for; the value is its class in the stylesheet."""

    FULL = "full"
    INCREMENT = "part"
    FAILED = "lost"


NAMES = {Kind.FULL: "full session", Kind.INCREMENT: "increment", Kind.FAILED: "failed"}


@dataclass(frozen=True, slots=True)
class Point:
    """One session: when it ended, its size in bytes, what it was."""

    moment: datetime
    size: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class Mark:
    """A bar, or the place of one point of a line; `said` is what pointing at it tells."""

    x: float
    y: float
    width: float
    height: float
    kind: Kind
    said: str


@dataclass(frozen=True, slots=True)
class Tick:
    place: float
    text: str
    anchor: str = "end"


@dataclass(frozen=True, slots=True)
class Chart:
    """Marks over time in a box of `width` × `height`, axes included; `left`, `right` and `bottom` bound the marks."""

    width: int
    height: int
    left: int
    right: int
    bottom: int
    marks: tuple[Mark, ...]
    sizes: tuple[Tick, ...]
    dates: tuple[Tick, ...]
    line: str = ""
    area: str = ""


def bars(points: Sequence[Point], width: int, height: int, dates: int) -> Chart:
    """A bar a session, placed by time; `points` oldest first, at least one; `dates` is how many fit below.

    Every session has a bar that can be seen, however small its increment.
    """
    places = _places(points)
    room = width - LEFT - RIGHT
    # Bars keep clear of their neighbours where the closest two let them.
    closest = min((later - earlier for earlier, later in pairwise(places)), default=1.0)
    thick = min(WIDEST, max(NARROWEST, closest * room * 0.7))
    scale = _Scale(max(point.size for point in points), height)
    marks = []
    for point, place in zip(points, places, strict=True):
        least = 4.0 if point.kind is Kind.FAILED else NARROWEST
        top = min(scale.place(point.size), scale.bottom - least)
        said = f"{NAMES[point.kind]}, {wording.size(point.size)}" if point.size else NAMES[point.kind]
        left = LEFT + (room - thick) * place
        marks.append(_mark(point, left, top, thick, scale.bottom - top, said))
    return Chart(
        width,
        height,
        LEFT,
        width - RIGHT,
        scale.bottom,
        tuple(marks),
        scale.ticks(),
        _dates(points, width, thick, dates),
    )


def line(points: Sequence[Point], width: int, height: int, dates: int) -> Chart:
    """A line through the sizes, from zero; `points` oldest first, at least one."""
    room = width - LEFT - RIGHT
    scale = _Scale(max(point.size for point in points), height)
    marks = [
        _mark(point, LEFT + room * place, scale.place(point.size), 0, 0, wording.size(point.size))
        for point, place in zip(points, _places(points), strict=True)
    ]
    path = "M" + "L".join(f"{mark.x} {mark.y}" for mark in marks)
    area = f"{path}L{marks[-1].x} {scale.bottom}L{marks[0].x} {scale.bottom}Z"
    return Chart(
        width,
        height,
        LEFT,
        width - RIGHT,
        scale.bottom,
        tuple(marks),
        scale.ticks(),
        _dates(points, width, 0, dates),
        line=path if len(marks) > 1 else "",
        area=area if len(marks) > 1 else "",
    )


def _mark(point: Point, x: float, y: float, width: float, height: float, said: str) -> Mark:
    said = f"{point.moment:%Y-%m-%d %H:%M}: {said}"
    return Mark(round(x, 1), round(y, 1), round(width, 1), round(height, 1), point.kind, said)


def _places(points: Sequence[Point]) -> list[float]:
    """Where each point stands between the first (0) and the last (1); a lone one in the middle."""
    start = points[0].moment
    whole = (points[-1].moment - start).total_seconds()
    return [(point.moment - start).total_seconds() / whole if whole > 0 else 0.5 for point in points]


class _Scale:
    """Sizes as heights: from zero to a round number not below the largest."""

    def __init__(self, highest: int, height: int) -> None:
        self.bottom = height - BOTTOM
        self._step = _round_step(highest)
        self._ceiling = self._step * max(1, -(-highest // self._step))

    def place(self, size: int) -> float:
        return self.bottom - (self.bottom - TOP) * size / self._ceiling

    def ticks(self) -> tuple[Tick, ...]:
        levels = range(0, self._ceiling + 1, self._step)
        return tuple(Tick(round(self.place(level), 1), _round_size(level)) for level in levels)


def _round_size(level: int) -> str:
    return wording.size(level).replace(".0 ", " ") if level else "0"


def _round_step(highest: int) -> int:
    """The distance of gridlines: a round number of the unit that it is written in."""
    unit = 1
    while True:
        for factor in ROUND:
            if highest <= unit * factor * TICKS:
                return unit * factor
        unit <<= 10


def _dates(points: Sequence[Point], width: int, thick: float, count: int) -> tuple[Tick, ...]:
    """Dates below, evenly spaced; those at the ends keep inside."""
    start, end = points[0].moment, points[-1].moment
    left, room = LEFT + thick / 2, width - LEFT - RIGHT - thick
    if start.date() == end.date():
        return (Tick(round(left + room / 2, 1), f"{start:%Y-%m-%d}", "middle"),)
    count = max(2, min(count, (end.date() - start.date()).days + 1))
    ticks = []
    for index in range(count):
        share = index / (count - 1)
        anchor = "start" if index == 0 else "end" if index == count - 1 else "middle"
        ticks.append(Tick(round(left + room * share, 1), f"{start + (end - start) * share:%Y-%m-%d}", anchor))
    return tuple(ticks)
