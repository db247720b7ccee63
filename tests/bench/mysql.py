"""Dump and restore of a MariaDB database against the vendor's own clients, in one run on the same servers.

`python -m tests.bench.mysql [MEGABYTES]`. Starts two servers of its own below the temporary directory (or
`$TKLBAM_BENCH_DIR`), and removes them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.bench.timing import paired_ratio
from tests.mariadb import MariaDB, install

DUMP_ROUNDS, RESTORE_ROUNDS = 5, 3
MAX_DUMP = 1.2
MAX_RESTORE = 0.6
MAX_MEMORY = 80.0
MAX_GROWTH = 0.15
MAX_FEW = 0.4
MAX_SCATTERED = 3.0

# Processes of their own, so that time and memory are those of a backup as it runs, start of the interpreter included.
DUMP = """
import sys
from pathlib import Path
from tklbam_core.api import DumpRequest, Limits
from tklbam_mysql.plugin import MysqlPlugin
report = MysqlPlugin().tklbam_database_dump(DumpRequest(
    extras=Path(sys.argv[2]), limits=Limits(), options={"socket": sys.argv[1], "user": "root"}))
assert not report.failures, report
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
RESTORE = """
import sys
from pathlib import Path
from tklbam_core.api import Limits, RestoreRequest
from tklbam_mysql.plugin import MysqlPlugin
report = MysqlPlugin().tklbam_database_restore(RestoreRequest(
    extras=Path(sys.argv[2]), limits=Limits(), rollback=None, options={"socket": sys.argv[1], "user": "root"}))
assert not report.failures, report
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds (medians), ratios of the pairs of runs that followed each other (medians, too) and megabytes."""

    size: float
    vendor_dump: float
    dump: float
    dump_ratio: float
    dump_memory: float
    dump_memory_tenth: float
    vendor_restore: float
    restore: float
    restore_ratio: float
    restore_memory: float
    few: float
    scattered: float

    def failures(self) -> list[str]:
        checks = [
            (self.dump_ratio <= MAX_DUMP, "dump is too slow"),
            (self.restore_ratio <= MAX_RESTORE, "restore is too slow"),
            (max(self.dump_memory, self.restore_memory) < MAX_MEMORY, "too much memory"),
            (
                abs(self.dump_memory - self.dump_memory_tenth) <= MAX_GROWTH * self.dump_memory,
                "memory grows with the data",
            ),
            (self.few < MAX_FEW, "20 changed rows cost too much"),
            (self.scattered < MAX_SCATTERED, "1,200 scattered rows cost too much"),
        ]
        return [text for passed, text in checks if not passed]


def fill(server: MariaDB, megabytes: int) -> None:
    """Text like a blog's (200 MB at most), its metadata, binary blobs, and a table without a key."""
    posts = min(1, megabytes / 500)
    share = (megabytes - 200 * posts) / 300
    server.sql(f"""
        CREATE DATABASE bench; USE bench;
        CREATE TABLE posts (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, author int NOT NULL,
          day datetime NOT NULL, title text NOT NULL, content longtext NOT NULL,
          status varchar(20) NOT NULL, KEY by_day (status, day), KEY (author));
        INSERT INTO posts SELECT seq, seq % 97, '2020-01-01' + INTERVAL seq MINUTE,
          CONCAT('It''s title ', seq),
          CONCAT(REPEAT(CONCAT(MD5(seq), ' "word"\n'), 20), MD5(-seq)), 'publish' FROM seq_1_to_{int(240_000 * posts)};
        CREATE TABLE meta (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, post bigint unsigned NOT NULL,
          name varchar(255), value longtext, KEY (post), KEY (name(100)));
        INSERT INTO meta SELECT seq, seq DIV 5, CONCAT('_key_', seq % 50), SHA1(seq)
          FROM seq_1_to_{int(900_000 * share)};
        CREATE TABLE files (name varchar(60) PRIMARY KEY, data longblob);
        INSERT INTO files SELECT MD5(seq), REPEAT(UNHEX(SHA2(seq, 512)), 200) FROM seq_1_to_{int(3_000 * share)};
        CREATE TABLE journal (at datetime, what varchar(300));
        INSERT INTO journal SELECT '2024-01-01' + INTERVAL seq SECOND, REPEAT(MD5(seq), 5)
          FROM seq_1_to_{int(200_000 * share)};
    """)


def timed(argv: list[str], output: Path | None = None, source: Path | None = None) -> tuple[float, str]:
    """Seconds and standard output of a program, which starts with nothing left to write for those before it."""
    os.sync()
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        stdout = stack.enter_context(open(output, "wb")) if output else subprocess.PIPE
        stdin = stack.enter_context(open(source, "rb")) if source else subprocess.DEVNULL
        done = subprocess.run(argv, stdout=stdout, stdin=stdin, check=True)
    return time.monotonic() - started, (done.stdout or b"").decode()


def ours(code: str, server: MariaDB, extras: Path) -> tuple[float, float]:
    """Seconds and peak memory in megabytes of one of our runs."""
    seconds, said = timed([sys.executable, "-c", code, server.socket, str(extras)])
    return seconds, int(said.split()[-1]) / 1024


def measure(megabytes: int, scratch: Path) -> Measured:
    for name in ("source", "target"):
        (scratch / name).mkdir()
        install(scratch / name)
    source, target = (MariaDB(scratch / name, ("--innodb-buffer-pool-size=256M",)) for name in ("source", "target"))
    try:
        source.start()
        target.start()
        fill(source, megabytes)
        vendor_file, extras = scratch / "vendor.sql", scratch / "extras"
        dumper = ["mariadb-dump", "--no-defaults", f"--socket={source.socket}", "--user=root", "--single-transaction",
                  "--order-by-primary", "--hex-blob", "--routines", "--events", "--databases", "bench"]  # fmt: skip
        vendor_dump, dump, memory = [], [], 0.0
        for number in range(DUMP_ROUNDS):
            # Each into a new place: ext4 makes files slowly where others were removed a moment ago.
            vendor_dump.append(timed(dumper, output=scratch / f"vendor-{number}.sql")[0])
            seconds, used = ours(DUMP, source, scratch / f"extras-{number}")
            dump.append(seconds)
            memory = max(memory, used)
        (scratch / "vendor-0.sql").rename(vendor_file)
        (scratch / "extras-0").rename(extras)
        for number in range(1, DUMP_ROUNDS):
            (scratch / f"vendor-{number}.sql").unlink()
            shutil.rmtree(scratch / f"extras-{number}")
        client = ["mariadb", "--no-defaults", f"--socket={target.socket}", "--user=root"]
        vendor_restore, restore, restore_memory = [], [], 0.0
        for _ in range(RESTORE_ROUNDS):
            target.sql("DROP DATABASE IF EXISTS bench")
            vendor_restore.append(timed(client, source=vendor_file)[0])
            target.sql("DROP DATABASE IF EXISTS bench")
            seconds, restore_memory = ours(RESTORE, target, extras)
            restore.append(seconds)
        few, scattered = deltas(source, extras, scratch)
        source.sql("DROP DATABASE bench")
        fill(source, megabytes // 10)
        _, tenth = ours(DUMP, source, scratch / "tenth")
        return Measured(
            size=vendor_file.stat().st_size / 1e6, vendor_dump=median(vendor_dump), dump=median(dump),
            dump_ratio=paired_ratio(dump, vendor_dump), dump_memory=memory,
            dump_memory_tenth=tenth, vendor_restore=median(vendor_restore), restore=median(restore),
            restore_ratio=paired_ratio(restore, vendor_restore),
            restore_memory=restore_memory, few=few, scattered=scattered,
        )  # fmt: skip
    finally:
        source.stop(signal.SIGKILL)
        target.stop(signal.SIGKILL)


def deltas(source: MariaDB, extras: Path, scratch: Path) -> tuple[float, float]:
    """What an increment costs (MB on the target) after 20 and after 1,200 changed rows of the largest table."""
    store = scratch / "store"
    base = [
        str(Path(sys.executable).with_name("duplicity")),
        "--no-encryption",
        "--archive-dir",
        str(scratch / "archive"),
        "--allow-source-mismatch",
    ]
    age(extras)
    timed([*base, "full", str(extras), f"file://{store}"])
    costs = []
    for step, count in ((7, 20), (11, 1200)):
        source.sql(f"""SET NAMES latin1; USE bench; SET @n = (SELECT max(id) FROM posts);
            UPDATE posts SET title = CONCAT('changed ', id), content = CONCAT('new ', SHA1(id + {step}), content)
            WHERE id IN (SELECT 1 + (seq * FLOOR(@n / {count}) + {step}) % @n FROM seq_1_to_{count});""")
        kept = scratch / "kept"
        extras.rename(kept)
        ours(DUMP, source, extras)
        keep_times(extras, kept)
        shutil.rmtree(kept)
        size = sum(path.stat().st_size for path in store.iterdir())
        timed([*base, "incremental", str(extras), f"file://{store}"])
        costs.append((sum(path.stat().st_size for path in store.iterdir()) - size) / 1e6)
    return costs[0], costs[1]


def age(directory: Path) -> None:
    """Times of an hour ago: what is written from now on is newer, as from one backup to the next."""
    then = time.time() - 3600
    for path in directory.rglob("*"):
        os.utime(path, (then, then))


def keep_times(new: Path, old: Path) -> None:
    """A file with the same content gets its old time back, as a backup gives it."""
    for path in new.rglob("*"):
        known = old / path.relative_to(new)
        same = path.is_dir() or (known.is_file() and known.read_bytes() == path.read_bytes())
        if same and known.exists():
            os.utime(path, (known.stat().st_atime, known.stat().st_mtime))


@contextlib.contextmanager
def scratch_directory() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="tklbam-bench-mysql-", dir=os.environ.get("TKLBAM_BENCH_DIR")))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def run(megabytes: int = 1000) -> None:
    """Measures and prints a table. Raises AssertionError where a promise does not hold."""
    with scratch_directory() as scratch:
        found = measure(megabytes, scratch)
    print(f"MySQL, {found.size:.0f} MB as mariadb-dump writes it: vendor, ours, ratio, memory (at a tenth)")
    print(
        f"  dump     {found.vendor_dump:>7.1f} s {found.dump:>7.1f} s {found.dump_ratio:>6.2f} × (allowed {MAX_DUMP})"
        f" {found.dump_memory:>5.0f} MB ({found.dump_memory_tenth:.0f} MB)"
    )
    print(
        f"  restore  {found.vendor_restore:>7.1f} s {found.restore:>7.1f} s {found.restore_ratio:>6.2f} ×"
        f" (allowed {MAX_RESTORE}) {found.restore_memory:>5.0f} MB"
    )
    print(f"  increment after 20 changed rows {found.few:.2f} MB (allowed {MAX_FEW})")
    print(f"  increment after 1,200 scattered ones {found.scattered:.2f} MB (allowed {MAX_SCATTERED})")
    assert not (broken := found.failures()), "; ".join(broken)


if __name__ == "__main__":
    run(*map(int, sys.argv[1:2]))
