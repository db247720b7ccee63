"""How long a program takes."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from statistics import median


def timed(argv: Sequence[str], environment: Mapping[str, str] | None = None) -> float:
    """Seconds of a program that must end well, with these variables besides the environment's."""
    began = time.perf_counter()
    subprocess.run(
        argv,
        # Compiled once, as where it is installed.
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "", **(environment or {})},
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - began


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the ratios of runs that followed each other."""
    return median(mine / other for mine, other in zip(ours, theirs, strict=True))
