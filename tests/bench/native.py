"""How much memory our writer takes, itself and its workers: 200,000 small files, and one sparse file of 3 GB.

`python -m tests.bench.native`. Everything lies below the temporary directory and is removed.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

FILES, LARGE = 200_000, 3_000_000_000
MOST = 80
"""Megabytes of any process, whatever it is given."""
SECRET = "a-benchmark-needs-no-secret-but-a-long-one"


@dataclass(frozen=True, slots=True)
class Row:
    """One session: seconds, and megabytes of memory of the writing process and of its largest worker at their peaks."""

    name: str
    seconds: float
    own: float
    worker: float


def peak(process: int | str = "self") -> float:
    """Megabytes of memory of a process at its peak (what the kernel counts for children includes their parent's)."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def write(base: Path, end: Connection) -> None:
    """One session, in a process of its own."""
    from tklbam_core.api.progress import ProgressEvent
    from tklbam_core.engine.duplicity import DuplicityEngine
    from tklbam_core.engine.interface import WriteRequest
    from tklbam_storage_local.target import LocalTarget

    workers = [0.0]

    def look(_: ProgressEvent) -> None:
        for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            workers.append(peak(child))

    target = LocalTarget(f"file://{base}/store", base / "store")
    target.check(write=True)
    request = WriteRequest(
        source=base / "source",
        extras=base / "source/TKLBAM",
        file_list=base / "list",
        full=False,
        secret=SECRET,
        volume_size=25,
        progress=look,
    )
    began = time.monotonic()
    result = DuplicityEngine(base / "cache").write(target, request)
    assert not result.unread
    end.send((time.monotonic() - began, peak(), max(workers)))


def measured(name: str, base: Path) -> Row:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=write, args=(base, theirs))
    process.start()
    process.join()
    assert process.exitcode == 0
    return Row(name, *ours.recv())


def source(base: Path, paths: list[str]) -> None:
    (base / "source/TKLBAM").mkdir(parents=True, exist_ok=True)
    (base / "source/TKLBAM/fsdelta").write_text("#tklbam 2\n")
    (base / "list").write_bytes(b"".join(path.encode() + b"\0" for path in paths))


def small_files(base: Path) -> list[Row]:
    paths = [f"srv/{number // 500:04}/{number:06}" for number in range(FILES)]
    source(base, paths)
    for number, path in enumerate(paths):
        place = base / "source" / path
        if number % 500 == 0:
            place.parent.mkdir(parents=True)
        place.write_text(f"{number} " * 60)
    rows = [measured(f"{FILES:,} small files, full", base), measured("the same, unchanged", base)]
    for path in paths:
        os.utime(base / "source" / path, (1_500_000_000, 1_500_000_000))
    rows.append(measured("the same, all with another time", base))
    source(base, [])
    return [*rows, measured("the same, all gone", base)]


def one_file(base: Path) -> list[Row]:
    source(base, ["sparse"])
    with (base / "source/sparse").open("wb") as file:
        file.truncate(LARGE)
    rows = [measured(f"a sparse file of {LARGE / 1e9:.0f} GB, full", base)]
    with (base / "source/sparse").open("r+b") as file:
        file.seek(LARGE // 2)
        file.write(b"changed")
    return [*rows, measured("the same, with a change in it", base)]


def run() -> bool:
    """Prints the table; False where the promise is broken."""
    rows: list[Row] = []
    for measure in (small_files, one_file):
        with tempfile.TemporaryDirectory(prefix="tklbam-bench-native-") as work:
            rows += measure(Path(work))
    print("Sessions of our own writer: seconds, and megabytes of memory at the peak:")
    for row in rows:
        print(f"  {row.name:<34} {row.seconds:6.1f} s  {row.own:6.1f} MB  a worker {row.worker:6.1f} MB")
    kept = all(max(row.own, row.worker) <= MOST for row in rows)
    print(f"  promise: at most {MOST} MB a process: {'kept' if kept else 'BROKEN'}")
    return kept


if __name__ == "__main__":
    sys.exit(0 if run() else 1)
