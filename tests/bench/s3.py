"""S3 on loopback, the whole command: a full backup against raw duplicity on the same files, and the increment after 20
changed files against restic's, all to one server.

`python -m tests.bench s3`. The server, OpenStack Swift's s3api, runs on this machine, too, and takes its share of it.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path
from statistics import median

from tests import swift
from tests.bench.timing import paired_ratio, timed

BIN = Path(sys.executable).parent
FILES, CHANGED, ROUNDS = 3_000, 20, 3
LARGE, LARGE_SIZE = 12, 4_000_000
FULL_RATIO, INCREMENT_RATIO = 1.15, 1.3
SECRET = "a-benchmark-needs-no-secret-but-a-long-one"
BUCKET = "bench-bucket"


def make_tree(root: Path) -> list[Path]:
    """Text files of a few KB, 100 a directory, and some large ones that do not compress; returns the small ones."""
    chance = random.Random(4)
    words = [f"{chance.getrandbits(20):x}" for _ in range(3000)]
    small = []
    for number in range(FILES):
        path = root / f"srv/{number // 100:03}/file-{number:05}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(" ".join(chance.choices(words, k=chance.choice((100, 1000, 4000)))))
        small.append(path)
    for number in range(LARGE):
        (root / f"srv/large-{number:02}").write_bytes(chance.randbytes(LARGE_SIZE))
    return small


def change(paths: list[Path], number: int) -> None:
    """Adds a line to 20 files, other ones each time."""
    for path in random.Random(number).sample(paths, CHANGED):
        with path.open("a") as file:
            file.write(f"\nchanged in round {number}\n")


def report(what: str, ours: list[float], others: list[float], name: str, allowed: float | None = None) -> bool:
    """Prints a line; False where the ratio is more than what is allowed."""
    ratio = paired_ratio(ours, others)
    kept = allowed is None or ratio <= allowed
    limit = "" if allowed is None else f", allowed {allowed}"
    print(
        f"{what}: tklbam {median(ours):.1f} s, {name} {median(others):.1f} s, ratio {ratio:.2f} "
        f"(medians of {len(ours)}{limit}){'' if kept else ': BROKEN'}",
        flush=True,
    )
    return kept


def measure(base: Path, server: swift.Swift) -> bool:
    """Prints both ratios; rounds take turns, so that other load hits all alike."""
    root, tklbam, environment = base / "root", str(BIN / "tklbam"), server.variables
    small = make_tree(root)
    size = sum(path.stat().st_size for path in (root / "srv").rglob("*") if path.is_file())
    print(f"{FILES + LARGE:,} files, {size / 1e6:.0f} MB")
    (root / "etc/tklbam").mkdir(parents=True)
    (root / "etc/tklbam/overrides").write_text("/srv\n")
    timed([tklbam, "init", "--solo", "--force-profile=empty", "--root", str(root)])
    # A bucket that is there, for duplicity makes none.
    timed([tklbam, "backup", "--address", f"s3://{BUCKET}/first", "--root", str(root)], environment)
    full: list[float] = []
    raw: list[float] = []
    for number in range(ROUNDS):
        words = [tklbam, "backup", "--address", f"s3://{BUCKET}/ours-{number}", "--root", str(root)]
        full.append(timed(words, environment))
        words = [str(BIN / "duplicity"), "full", "--archive-dir", f"{base}/archive-{number}", "--no-files-changed"]
        words += ["--volsize", "25", "--s3-endpoint-url", server.endpoint, "--s3-region-name", swift.REGION]
        words += [str(root / "srv"), f"boto3+s3://{BUCKET}/raw-{number}"]
        raw.append(timed(words, {**environment, "PASSPHRASE": SECRET}))
        again = [word if word != "full" else "incremental" for word in words]
    kept = report("full", full, raw, "duplicity", FULL_RATIO)

    repository = {
        **environment,
        "RESTIC_PASSWORD": SECRET,
        "RESTIC_REPOSITORY": f"s3:{server.endpoint}/{BUCKET}/restic",
    }
    repository["RESTIC_CACHE_DIR"] = f"{base}/restic-cache"
    timed(["restic", "init", "-q"], repository)
    timed(["restic", "backup", "-q", str(root / "srv")], repository)
    ours: list[float] = []
    restic: list[float] = []
    alone: list[float] = []
    for number in range(ROUNDS):
        change(small, number)
        words = [tklbam, "backup", "--address", f"s3://{BUCKET}/ours-0", "--root", str(root)]
        ours.append(timed(words, environment))
        restic.append(timed(["restic", "backup", "-q", str(root / "srv")], repository))
        alone.append(timed(again, {**environment, "PASSPHRASE": SECRET}))
    report(f"increment, {CHANGED} changed files", ours, alone, "duplicity")
    return report(f"increment, {CHANGED} changed files", ours, restic, "restic", INCREMENT_RATIO) and kept


def run() -> bool:
    """False where a promise is broken."""
    with tempfile.TemporaryDirectory(prefix="tklbam-bench-s3-") as scratch, swift.running() as server:
        return measure(Path(scratch), server)


if __name__ == "__main__":
    sys.exit(0 if run() else 1)
