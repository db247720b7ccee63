"""Progress on a terminal: one bar a phase, with rate and remaining time; elsewhere nothing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from ..api.progress import Progress, ProgressEvent, silent
from .common import Output

INTERVAL = 0.1
"""Seconds between two drawings."""


@contextlib.contextmanager
def progress_bar(output: Output) -> Iterator[Progress]:
    """A sink that draws on standard error while the block runs, when that is a terminal and nobody asked for quiet."""
    if output.quiet or output.as_json or not output.is_terminal:
        yield silent
        return
    # rich costs as much as the rest of start-up: only where something is drawn.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    phase = TextColumn("{task.description:<14.14}")
    columns: dict[bool, list[Any]] = {
        True: [phase, BarColumn(bar_width=24), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()],
        False: [
            phase,
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[item]}"),
        ],
    }
    current: list[Any] = []  # [bar, task, phase]
    last = 0.0

    def close() -> None:
        if current:
            current[0].stop()
            current.clear()

    def show(event: ProgressEvent) -> None:
        nonlocal last
        if not current or current[2] != event.phase:
            close()
            bar = Bar(*columns[event.unit == "bytes"], console=console, transient=True, refresh_per_second=8)
            bar.start()
            current.extend([bar, bar.add_task(event.phase, total=event.total, item=""), event.phase])
            last = 0.0
        now = time.monotonic()
        if now - last < INTERVAL and event.done != event.total:
            return
        last = now
        room = max(0, console.width - 64)
        item = event.item.encode("utf-8", "replace").decode() if room else ""
        current[0].update(current[1], completed=event.done, total=event.total, item=item[-room:] if room else "")

    try:
        yield show
    finally:
        close()
