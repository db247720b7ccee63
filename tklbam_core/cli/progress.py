"""Progress on a terminal: one bar a phase, with rate and remaining time; elsewhere nothing."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..api.progress import Progress, ProgressEvent, silent
from .common import Output, human_size, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

INTERVAL = 0.1
"""Seconds between two drawings."""
PHASE, BAR = 14, 18
"""Columns of the phase's name and of the bar."""


@contextlib.contextmanager
def progress_bar(output: Output) -> Iterator[Progress]:
    """A sink that draws on standard error while the block runs, when that is a terminal and nobody asked for quiet."""
    if output.quiet or output.as_json or not output.is_terminal:
        yield silent
        return
    drawing = Drawing()
    before, output.before_line = output.before_line, drawing.take_away
    try:
        yield drawing.show
    finally:
        drawing.take_away()
        output.before_line = before


class Drawing:
    """The bar of the phase at hand. Events may come from any thread; what is printed goes where the bar was."""

    def __init__(self) -> None:
        # rich costs as much as the rest of start-up: only where something is drawn.
        from rich.console import Console

        self._console: Console = Console(stderr=True)
        self._lock = threading.RLock()
        self._phase = ""
        self._done = 0
        self._began = 0.0
        self._drawn = 0.0
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def show(self, event: ProgressEvent) -> None:
        with self._lock:
            now = time.monotonic()
            if event.phase != self._phase or event.done < self._done:
                self.take_away()
                self._phase, self._began, self._drawn = event.phase, now, 0.0
            self._done = event.done
            if now - self._drawn < INTERVAL and event.done != event.total:
                return
            self._drawn = now
            bar, task = self._on_screen(event)
            text = describe(event, now - self._began)
            room = self._console.width - PHASE - BAR - len(text) - 8
            bar.update(
                task,
                completed=event.done if event.total is None else min(event.done, event.total),
                total=event.total,
                text=text,
                item=shorten(printable(event.item), room),
            )

    def take_away(self) -> None:
        """Leaves the screen as it was before the bar; the phase's next event draws it again."""
        with self._lock:
            if self._bar is not None:
                self._bar.stop()
                self._bar = None

    def _on_screen(self, event: ProgressEvent) -> tuple[Bar, TaskID]:
        from rich.progress import BarColumn, SpinnerColumn, TextColumn
        from rich.progress import Progress as Bar

        if self._bar is None or self._task is None:
            self._bar = Bar(
                TextColumn(f"{{task.description:<{PHASE}.{PHASE}}}", markup=False),
                BarColumn(bar_width=BAR),
                SpinnerColumn("line"),
                TextColumn("{task.fields[text]}", markup=False),
                TextColumn("{task.fields[item]}", markup=False, style="dim"),
                console=self._console,
                transient=True,
                refresh_per_second=8,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._task = self._bar.add_task(event.phase, total=event.total, text="", item="")
            self._bar.start()
        return self._bar, self._task


def describe(event: ProgressEvent, seconds: float) -> str:
    """How far, how fast, how much longer: `52.2 MB of 191.1 MB, 4.8 MB/s, 0:31 left`."""
    done = event.done if event.total is None else min(event.done, event.total)
    if event.unit == "%":
        return f"{done} %"
    if event.unit == "bytes":
        amount = human_size(done) if event.total is None else f"{human_size(done)} of {human_size(event.total)}"
    else:
        amount = f"{done:,} {event.unit}" if event.total is None else f"{done:,} of {event.total:,} {event.unit}"
    parts = [amount]
    if done and seconds >= 1:
        rate = done / seconds
        if event.unit == "bytes":
            parts.append(f"{human_size(round(rate))}/s")
        if event.total is not None and done < event.total:
            parts.append(f"{clock((event.total - done) / rate)} left")
    return ", ".join(parts)


def clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def shorten(item: str, room: int) -> str:
    """What is at hand in `room` columns: of a path its end says more, of words their beginning."""
    if room < 8:
        return ""
    if len(item) <= room:
        return item
    return "…" + item[1 - room :] if "/" in item else item[: room - 1] + "…"
