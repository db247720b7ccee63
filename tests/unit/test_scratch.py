"""The directory that a run works in: what a killed run left is removed by the next, what another works in is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

RUN = """
import os, signal, sys
from tklbam_core.scratch import scratch_directory
with scratch_directory() as place:
    (place / "overlay").write_text("/home/alice")
    print(place, flush=True)
    sys.stdin.readline()
"""


def test_what_a_killed_run_left_goes_and_what_is_in_use_stays(tmp_path: Path) -> None:
    def run() -> tuple[subprocess.Popen[str], Path]:
        process = subprocess.Popen(
            [sys.executable, "-c", RUN],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    (killed, left), (working, used) = run(), run()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert (left / "overlay").exists()
    last, third = run()
    assert sorted(tmp_path.iterdir()) == sorted([used, third])
    assert (used.stat().st_mode & 0o777, (used / "overlay").exists()) == (0o700, True)
    for process in (working, last):
        process.communicate("\n")
    assert list(tmp_path.iterdir()) == []
