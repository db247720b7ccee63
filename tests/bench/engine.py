"""A full session of 5,000 changed among 20,000 files, and a restore of all and some large ones: our engine, raw
duplicity on the same list, restic and borg.

`python -m tests.bench.engine`. Everything lies below the temporary directory and is removed.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FILES, CHANGED, ROUNDS = 20_000, 5_000, 2
LARGE, LARGE_SIZE = 4, 50_000_000
MAX_RATIO, MAX_RESTORE_RATIO = 1.5, 1.0
SECRET = "a-benchmark-needs-no-secret-but-a-long-one"


@dataclass(frozen=True, slots=True)
class Row:
    """Seconds of the best round and bytes stored, or restored."""

    name: str
    seconds: float
    stored: int


def make_tree(root: Path) -> list[str]:
    """Small text files, 100 a directory; returns the paths that count as changed."""
    chance = random.Random(1)
    words = [f"{chance.getrandbits(20):x}" for _ in range(3000)]
    paths = []
    for number in range(FILES):
        path = f"srv/{number // 100:03}/file-{number:05}"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(" ".join(chance.choices(words, k=chance.choice((20, 200, 2000)))))
        paths.append(path)
    (root / "TKLBAM").mkdir()
    (root / "TKLBAM/fsdelta").write_text("#tklbam 2\n")
    return sorted(chance.sample(paths, CHANGED))


def size_of(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def run_ours(base: Path, source: Path, changed: list[str]) -> None:
    from tklbam_core.engine.duplicity import DuplicityEngine
    from tklbam_core.engine.interface import WriteRequest
    from tklbam_storage_local.target import LocalTarget

    file_list = base / "list"
    file_list.write_bytes(b"".join(path.encode() + b"\0" for path in changed))
    target = LocalTarget(f"file://{base}/store", base / "store")
    target.check(write=True)
    engine = DuplicityEngine(base / "cache")
    engine.prepare(target, SECRET)
    request = WriteRequest(
        source=source, extras=source / "TKLBAM", file_list=file_list, full=True, secret=SECRET, volume_size=25
    )
    result = engine.write(target, request)
    assert not result.unread
    assert engine.verify(target, result.session, SECRET).ok


def run_raw(base: Path, source: Path, changed: list[str]) -> None:
    (base / "list").write_bytes(b"".join(path.encode() + b"\0" for path in [*changed, "TKLBAM", "TKLBAM/fsdelta"]))
    duplicity = Path(sys.executable).with_name("duplicity")
    words: list[str | Path] = [
        "full",
        "--files-from",
        base / "list",
        "--null-separator",
        "--volsize",
        "25",
        "--archive-dir",
        base / "cache",
    ]
    environment = {**os.environ, "PASSPHRASE": SECRET}
    argv = [duplicity, *words, source, f"file://{base}/store"]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, env=environment)


def run_restic(base: Path, source: Path, changed: list[str]) -> None:
    (base / "list").write_text("".join(f"{source}/{path}\n" for path in changed))
    environment = {**os.environ, "RESTIC_PASSWORD": SECRET, "RESTIC_REPOSITORY": str(base / "store")}
    for words in (["init", "-q"], ["backup", "-q", "--no-cache", "--files-from-verbatim", base / "list"]):
        subprocess.run(["restic", *words], check=True, stdout=subprocess.DEVNULL, env=environment)


def run_borg(base: Path, source: Path, changed: list[str]) -> None:
    environment = {**os.environ, "BORG_PASSPHRASE": SECRET, "BORG_BASE_DIR": str(base)}
    listed = "".join(f"{path}\n" for path in changed).encode()
    subprocess.run(["borg", "init", "-e", "repokey", base / "store"], check=True, env=environment, capture_output=True)
    argv = ["borg", "create", "--paths-from-stdin", f"{base}/store::one"]
    subprocess.run(argv, check=True, env=environment, cwd=source, input=listed)


def restore_ours(base: Path, destination: Path) -> None:
    from tklbam_core.engine.duplicity import DuplicityEngine
    from tklbam_core.engine.interface import FetchRequest
    from tklbam_storage_local.target import LocalTarget

    target = LocalTarget(f"file://{base}/store", base / "store")
    DuplicityEngine(base / "cache").fetch(target, FetchRequest(destination=destination, secret=SECRET))


def restore_raw(base: Path, destination: Path) -> None:
    duplicity = Path(sys.executable).with_name("duplicity")
    argv: list[str | Path] = [
        duplicity,
        "restore",
        "--archive-dir",
        base / "cache",
        f"file://{base}/store",
        destination,
    ]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "PASSPHRASE": SECRET})


def restore_restic(base: Path, destination: Path) -> None:
    environment = {**os.environ, "RESTIC_PASSWORD": SECRET, "RESTIC_REPOSITORY": str(base / "store")}
    argv: list[str | Path] = ["restic", "restore", "-q", "--no-cache", "latest", "--target", destination]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, env=environment)


def restore_borg(base: Path, destination: Path) -> None:
    environment = {**os.environ, "BORG_PASSPHRASE": SECRET, "BORG_BASE_DIR": str(base)}
    subprocess.run(["borg", "extract", f"{base}/store::one"], check=True, env=environment, cwd=destination)


RUNS = {
    "tklbam's engine": (run_ours, restore_ours),
    "duplicity": (run_raw, restore_raw),
    "restic": (run_restic, restore_restic),
    "borg": (run_borg, restore_borg),
}


def runs() -> dict[str, tuple[Callable[[Path, Path, list[str]], None], Callable[[Path, Path], None]]]:
    """Of the programs that are here."""
    return {name: run for name, run in RUNS.items() if name not in ("restic", "borg") or shutil.which(name)}


def measure(work: Path) -> list[Row]:
    """One row a program; rounds take turns, so that other load hits all alike."""
    source = work / "source"
    changed = make_tree(source)
    best: dict[str, Row] = {}
    for _ in range(ROUNDS):
        for name, (run, _) in runs().items():
            base = Path(tempfile.mkdtemp(dir=work))
            began = time.monotonic()
            run(base, source, changed)
            row = Row(name, time.monotonic() - began, size_of(base / "store"))
            best[name] = min(row, best.get(name, row), key=lambda each: each.seconds)
            shutil.rmtree(base)
    return list(best.values())


def measure_restores(work: Path) -> list[Row]:
    """The same for restores of the whole tree and some large files, half of whose content does not compress."""
    source = work / "source"
    paths = sorted(path.relative_to(source).as_posix() for path in source.glob("srv/*/*"))
    for number in range(LARGE):
        half = random.Random(number).randbytes(LARGE_SIZE // 2)
        (source / f"large-{number}").write_bytes(half + b"%d " % number * (len(half) // 2))
        paths.append(f"large-{number}")
    bases = {name: Path(tempfile.mkdtemp(dir=work)) for name in runs()}
    for name, (run, _) in runs().items():
        run(bases[name], source, sorted(paths))
    best: dict[str, Row] = {}
    for _ in range(ROUNDS):
        for name, (_, restore) in runs().items():
            destination = bases[name] / "restored"
            destination.mkdir()
            began = time.monotonic()
            restore(bases[name], destination)
            row = Row(name, time.monotonic() - began, size_of(destination))
            best[name] = min(row, best.get(name, row), key=lambda each: each.seconds)
            shutil.rmtree(destination)
    return list(best.values())


def show(title: str, rows: list[Row], most: float) -> bool:
    """Prints a table; False where the promise is broken."""
    raw = next(row.seconds for row in rows if row.name == "duplicity")
    print(f"{title}, best of {ROUNDS}:")
    for row in rows:
        print(f"  {row.name:<24} {row.seconds:6.2f} s  {row.seconds / raw:5.2f} x  {row.stored / 1e6:7.2f} MB")
    kept = rows[0].seconds <= most * raw
    print(f"  promise: at most {most} x duplicity: {'kept' if kept else 'BROKEN'}")
    return kept


def run() -> bool:
    """Prints the tables; False where a promise is broken."""
    with tempfile.TemporaryDirectory(prefix="tklbam-bench-engine-") as work:
        stored = measure(Path(work))
        restored = measure_restores(Path(work))
    kept = show(f"A full session of {CHANGED:,} changed among {FILES:,} files", stored, MAX_RATIO)
    title = f"A restore of {FILES:,} small files and {LARGE} of {LARGE_SIZE / 1e6:.0f} MB"
    return show(title, restored, MAX_RESTORE_RATIO) and kept


if __name__ == "__main__":
    sys.exit(0 if run() else 1)
