"""A backup's size over time as one small line for a table's cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tklbam_hub.console import wording

WIDTH, HEIGHT, EDGE = 120, 28, 3


@dataclass(frozen=True, slots=True)
class Spark:
    """A line of sizes in a box of 120 × 28: SVG path data, and the last point's place."""

    line: str
    area: str
    x: float
    y: float
    first: int
    last: int

    @property
    def said(self) -> str:
        """What the line shows, for those who do not see it."""
        if self.first == self.last:
            return f"Size steady at {wording.size(self.last)}"
        return f"Size from {wording.size(self.first)} to {wording.size(self.last)}"


def sparkline(sizes: Sequence[int]) -> Spark | None:
    """The line through `sizes` (bytes, oldest first); None where fewer than two make no line."""
    if len(sizes) < 2:
        return None
    least, most = min(sizes), max(sizes)
    # A quarter of the largest at least fills the box, so that noise does not look like change.
    spread = max(most - least, most / 4, 1)
    middle = (most + least) / 2
    inner_width, inner_height = WIDTH - 2 * EDGE, HEIGHT - 2 * EDGE
    places = [
        (
            round(EDGE + inner_width * index / (len(sizes) - 1), 1),
            round(HEIGHT / 2 - inner_height * (size - middle) / spread, 1),
        )
        for index, size in enumerate(sizes)
    ]
    line = "M" + "L".join(f"{x} {y}" for x, y in places)
    (first_x, _), (last_x, last_y) = places[0], places[-1]
    area = f"{line}L{last_x} {HEIGHT}L{first_x} {HEIGHT}Z"
    return Spark(line, area, last_x, last_y, sizes[0], sizes[-1])
