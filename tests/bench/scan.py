"""The change scan against `find -printf` on the same tree, in one run: time, memory, and memory at a tenth of the size.

`python -m tests.bench.scan [FILES]`. The tree is made below `$TKLBAM_BENCH_DIR`, and kept there for the next run; where
that is not set, below the temporary directory, and removed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

FILES_A_DIRECTORY = 50
CHANGED = 1_000
ROUNDS = 3
MAX_RATIO = 2.5
MAX_MEMORY = 60.0
MAX_GROWTH = 0.15

# Its own process, so that time and memory are those of a scan as a backup does it, start of the interpreter included.
OURS = """
import os, sys
from pathlib import Path
from tklbam_core.delta.changes import find_changes
from tklbam_core.delta.rules import PathRules
from tklbam_core.delta.scan import ScanReport
root, index = Path(sys.argv[1]), Path(sys.argv[2])
report = ScanReport()
found = sum(1 for change in find_changes(
    root=root, index=index, rules=PathRules.from_words(["/"]), report=report,
    attributes=lambda path: bool(os.listxattr(os.fsencode(root) + path, follow_symlinks=False)),
))
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(found, report.entries, peak)
"""
FIND = ("find", "-printf", "%p %m %U %G %s %T@\\n")


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds of the best round, peak memory of our process in MB, paths scanned."""

    files: int
    find: float
    ours: float
    memory: float
    entries: int

    @property
    def ratio(self) -> float:
        return self.ours / self.find


def make_tree(root: Path, files: int) -> None:
    """`files` empty files, 50 a directory, three levels deep; the directories count among them."""
    for number in range(files // FILES_A_DIRECTORY):
        directory = f"{root}/d{number % 40:02d}/e{number // 40 % 25:02d}/f{number // 1000:04d}"
        os.makedirs(directory)
        for each in range(FILES_A_DIRECTORY - 1):
            os.close(os.open(f"{directory}/file-{each:03d}.txt", os.O_CREAT | os.O_WRONLY, 0o644))


def change(root: Path, undo: bool) -> None:
    """Changes one file in each of 1,000 directories (two where there are fewer): content, mode, or its name."""
    directories = sorted(root.glob("d*/e*/f*"))[:CHANGED]
    for number in range(CHANGED):
        directory = directories[number % len(directories)]
        file = directory / f"file-{number // len(directories):03d}.txt"
        match number % 4:
            case 0:
                file.write_text("" if undo else "changed")
            case 1:
                file.chmod(0o644 if undo else 0o600)
            case 2:
                file.touch() if undo else file.unlink()
            case _:
                added = directory / f"new-{number}"
                added.unlink() if undo else added.touch()


def measure(root: Path, files: int) -> Measured:
    """Indexes the tree, changes 1,000 paths, and times both in turns. AssertionError where a change is missed."""
    from tests.indexes import create_index
    from tklbam_core.delta.rules import PathRules

    with tempfile.TemporaryDirectory() as scratch:
        index = Path(scratch) / "dirindex"
        create_index(index, root=root, rules=PathRules.from_words(["/"]), digests=False)
        change(root, undo=False)
        try:
            find, ours = [], []
            for _ in range(ROUNDS):
                find.append(_timed([FIND[0], str(root), *FIND[1:]])[0])
                seconds, answer = _timed([sys.executable, "-c", OURS, str(root), str(index)])
                ours.append(seconds)
        finally:
            change(root, undo=True)
    found, entries, peak = map(int, answer.split())
    assert found == CHANGED, f"{found} changes found where {CHANGED} were made"
    return Measured(files, min(find), min(ours), peak / 1024, entries)


def _timed(command: list[str]) -> tuple[float, str]:
    is_find = command[0] == "find"
    start = time.monotonic()
    done = subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL if is_find else subprocess.PIPE, text=not is_find
    )
    return time.monotonic() - start, done.stdout or ""


def run(size: int = 1_000_000) -> None:
    """Prints the table for `size` files and a tenth of them. Raises AssertionError where a promise does not hold."""
    kept = os.environ.get("TKLBAM_BENCH_DIR")
    place = Path(kept or tempfile.mkdtemp(prefix="tklbam-bench-"))
    results = []
    try:
        for files in (size // 10, size):
            tree = place / f"scan-{files}"
            if not tree.exists():
                print(f"making {files:,} files …", flush=True)
                make_tree(place / f"making-{files}", files)
                os.rename(place / f"making-{files}", tree)
            results.append(measure(tree, files))
    finally:
        if not kept:
            shutil.rmtree(place)
    print(f"change scan, {CHANGED:,} changed:   files   find -printf   ours    ratio   memory")
    for each in results:
        print(
            f"{each.entries:>33,} {each.find:>11.2f} s {each.ours:>7.2f} s {each.ratio:>6.2f} × {each.memory:>6.1f} MB"
        )
    tenth, whole = results
    growth = whole.memory / tenth.memory - 1
    print(f"allowed: {MAX_RATIO} ×, {MAX_MEMORY:.0f} MB, memory the same within {MAX_GROWTH:.0%} (it is {growth:+.0%})")
    assert whole.ratio <= MAX_RATIO, f"the scan takes {whole.ratio:.2f} times what find takes"
    assert max(tenth.memory, whole.memory) < MAX_MEMORY, "the scan takes too much memory"
    assert abs(growth) <= MAX_GROWTH, "the scan's memory grows with the number of files"


if __name__ == "__main__":
    run(*map(int, sys.argv[1:2]))
