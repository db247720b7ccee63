"""Start-up: the commands that people and scripts run often, against the bare interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 15
BARE = [sys.executable, "-c", "pass"]
TKLBAM = str(Path(sys.executable).with_name("tklbam"))
ALLOWED = {("--help",): 12.0, ("status",): 20.0}


def best(argv: list[str], environment: dict[str, str]) -> float:
    """Seconds of the fastest of several runs."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        subprocess.run(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        times.append(time.perf_counter() - began)
    return min(times)


def run() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        environment = {**os.environ, "TKLBAM_ROOT": scratch}
        bare = best(BARE, environment)
        print(f"python -c pass    {bare * 1000:6.0f} ms")
        for words, allowed in ALLOWED.items():
            taken = best([TKLBAM, *words], environment)
            print(f"tklbam {' '.join(words):<10} {taken * 1000:6.0f} ms {taken / bare:5.1f} × (allowed {allowed} ×)")
