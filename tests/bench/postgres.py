"""PostgreSQL: dump and restore side by side with pg_dump and pg_restore, our memory, and what changed rows cost.

`python -m tests.bench.postgres`. A server of its own is started in the temporary directory and removed; as root.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from plugins.postgres.tests.conftest import BINARIES, PgCluster
from tests.bench.timing import paired_ratio

DUMP_ROUNDS, RESTORE_ROUNDS = 5, 3
MAX_DUMP, MAX_RESTORE, MAX_MEMORY = 1.2, 1.1, 80 << 20
MAX_FEW, MAX_MANY = 400_000, 3_000_000
SECRET = "a-benchmark-needs-no-secret-but-a-long-one"

# Text like a blog's: words of a dictionary, the first ones far oftener than the last.
WORDS = """
CREATE FUNCTION words(seed bigint, count int) RETURNS text LANGUAGE sql IMMUTABLE AS $f$
    SELECT string_agg(substr(md5(word::text), 1, 2 + word % 8), ' ') FROM (
        SELECT (2000 * power((hashint8(seed * 1000 + n) & 65535) / 65536.0, 3))::int AS word
        FROM generate_series(1, count) n) chosen
$f$;
"""

SCHEMA = """
CREATE DATABASE {name};
\\connect {name}
{words}
CREATE TABLE posts (id serial PRIMARY KEY, title text, at timestamptz, body text);
INSERT INTO posts (title, at, body)
    SELECT 'Post ' || g, timestamptz '2026-01-01' + g * interval '1 minute', words(g, 230)
    FROM generate_series(1, {scale} * 9000) g;
CREATE INDEX ON posts (at);
CREATE TABLE meta (id serial PRIMARY KEY, post int NOT NULL, key text, value text);
INSERT INTO meta (post, key, value) SELECT g % 9000 + 1, '_key_' || g % 40, md5(g::text) || ' ' || g
    FROM generate_series(1, {scale} * 150000) g;
CREATE INDEX ON meta (post);
CREATE INDEX ON meta (key);
ALTER TABLE meta ADD FOREIGN KEY (post) REFERENCES posts;
CREATE TABLE files (name text, data bytea);
INSERT INTO files SELECT 'file-' || g, (SELECT string_agg(sha512((g * 1000 + n)::text::bytea), '') FROM
    generate_series(1, 500) n) FROM generate_series(1, {scale} * 320) g;
CREATE TABLE log (at timestamptz, line text);
INSERT INTO log SELECT timestamptz '2026-01-01' + g * interval '1 second', 'GET /page/' || g || ' 200 ' || md5(g::text)
    FROM generate_series(1, {scale} * 40000) g;
"""

CHANGING = """
CREATE DATABASE changing;
\\connect changing
{words}
CREATE TABLE posts (id serial PRIMARY KEY, title text, body text, views int);
INSERT INTO posts (title, body, views) SELECT 'Post ' || g, words(g, 70), 0 FROM generate_series(1, 470000) g;
VACUUM posts;
"""

CHILD = """
import json, resource, sys, time
from pathlib import Path
from tklbam_core.api import DumpRequest, Limits, RestoreRequest
from tklbam_postgres import plugin
what, extras, options, *limits = sys.argv[1:]
words = dict(extras=Path(extras), limits=Limits.parse(limits, "pgsql"), options=json.loads(options))
began = time.monotonic()
if what == "dump":
    report = plugin.tklbam_database_dump(DumpRequest(**words))
else:
    report = plugin.tklbam_database_restore(RestoreRequest(rollback=None, **words))
seconds = time.monotonic() - began
assert not report.failures, report.failures
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: what was measured, ours, theirs (or the limit), in seconds or bytes, and the verdict."""

    name: str
    ours: str
    theirs: str
    good: bool


@dataclass(frozen=True, slots=True)
class Pairs:
    """Seconds of runs that followed each other; `ratio` is the median of theirs."""

    ours: list[float]
    theirs: list[float]

    @property
    def ratio(self) -> float:
        return paired_ratio(self.ours, self.theirs)


class Bench:
    """One server, and the directories that dumps go to."""

    def __init__(self, server: PgCluster, base: Path) -> None:
        self.server = server
        self.base = base
        self.options = json.dumps({**server.options, "jobs": "2"})

    def ours(self, what: str, extras: Path, *limits: str) -> tuple[float, int]:
        """Seconds, and our own process's peak memory in bytes."""
        words = [sys.executable, "-c", CHILD, what, str(extras), self.options, *limits]
        os.sync()
        seconds, memory = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
        return seconds, memory

    def dump(self, name: str) -> tuple[Pairs, int]:
        """Our seconds and pg_dump's, by turns, and our memory."""
        mine, memory, theirs = [], 0, []
        places = ("plain", "extras")
        for number in range(DUMP_ROUNDS):
            # Each into a new place: ext4 makes files slowly where others were removed a moment ago.
            plain, extras = (self.base / f"{place}-{name}-{number}" for place in places)
            words = ["pg_dump", "-Fd", "-Z0", "-j2", "-f", str(plain), "-d", name]
            theirs.append(timed(lambda: self.server.run(*words)))  # noqa: B023
            extras.mkdir(mode=0o700)
            seconds, used = self.ours("dump", extras, f"pgsql:{name}")
            mine.append(seconds)
            memory = max(memory, used)
        for place in places:
            (self.base / f"{place}-{name}-0").rename(self.base / f"{place}-{name}")
            for number in range(1, DUMP_ROUNDS):
                shutil.rmtree(self.base / f"{place}-{name}-{number}")
        return Pairs(mine, theirs), memory

    def restore(self, name: str) -> tuple[Pairs, int]:
        """As `dump`, for what it has dumped; each time into a server without that database."""
        mine, memory, theirs = [], 0, []
        for _ in range(RESTORE_ROUNDS):
            self.forget(name)
            self.server.sql(f"CREATE DATABASE {name} TEMPLATE template0")
            plain = str(self.base / f"plain-{name}")
            theirs.append(timed(lambda: self.server.run("pg_restore", "-j2", "-d", name, plain)))  # noqa: B023
            self.forget(name)
            seconds, used = self.ours("restore", self.base / f"extras-{name}")
            mine.append(seconds)
            memory = max(memory, used)
        return Pairs(mine, theirs), memory

    def forget(self, name: str) -> None:
        """Both start from a server (and, see `timed`, a system) that has nothing left to write."""
        self.server.sql(f"DROP DATABASE IF EXISTS {name}")
        self.server.sql("CHECKPOINT")

    def increments(self) -> dict[str, int]:
        """Bytes on the target that changed rows of a 200 MB table cost."""
        self.server.sql(CHANGING.format(words=WORDS))
        source, store = self.base / "source", self.base / "store"
        self._dump_keeping_times(source)
        duplicity(source, store)
        costs = {}
        for label, change in {
            "20 rows side by side": "id BETWEEN 200000 AND 200019",
            "20 rows scattered": "id % 23500 = 17",
            "1,200 rows scattered": "id % 391 = 5",
        }.items():
            self.server.sql(f"UPDATE posts SET views = views + 1, title = title || '!' WHERE {change}", "changing")
            self._dump_keeping_times(source)
            before = size_of(store)
            duplicity(source, store)
            costs[label] = size_of(store) - before
        return costs

    def _dump_keeping_times(self, source: Path) -> None:
        """As a backup does: a file with the content of the last time gets its time, too."""
        fresh = self.base / "fresh"
        fresh.mkdir(mode=0o700)
        self.ours("dump", fresh, "pgsql:changing")
        for path in fresh.rglob("*"):
            old = source / path.relative_to(fresh)
            if path.is_file() and old.is_file() and old.read_bytes() == path.read_bytes():
                os.utime(path, ns=(old.stat().st_mtime_ns, old.stat().st_mtime_ns))
        shutil.rmtree(source, ignore_errors=True)
        fresh.rename(source)


def timed(work: Callable[[], object]) -> float:
    os.sync()
    began = time.monotonic()
    work()
    return time.monotonic() - began


def size_of(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def duplicity(source: Path, store: Path) -> None:
    words = [str(Path(sys.executable).with_name("duplicity")), "incr" if store.exists() else "full"]
    words += ["--archive-dir", str(store.parent / "cache"), "--gpg-options=--compress-level=1", "--no-print-statistics"]
    subprocess.run(
        [*words, str(source), f"file://{store}"],
        env={**os.environ, "PASSPHRASE": SECRET},
        check=True,
        capture_output=True,
    )


def rows(bench: Bench) -> Iterator[Row]:
    memories = {}
    for name, scale in (("tenth", 2), ("whole", 20)):
        bench.server.sql(SCHEMA.format(name=name, scale=scale, words=WORDS))
        bench.server.sql("VACUUM ANALYZE", name)
        bench.server.sql("CHECKPOINT")
        dumped, memory = bench.dump(name)
        megabytes = size_of(bench.base / f"extras-{name}") / 1e6
        restored, back_memory = bench.restore(name)
        memories[name] = max(memory, back_memory)
        judged = name == "whole"
        for what, pairs, limit, peer in (
            ("dump", dumped, MAX_DUMP, "pg_dump -Fd -Z0 -j2"),
            ("restore", restored, MAX_RESTORE, "pg_restore -j2"),
        ):
            good = not judged or pairs.ratio <= limit
            title = f"{what}, {megabytes:.0f} MB of rows"
            theirs = f"{peer} {median(pairs.theirs):.2f} s: ×{pairs.ratio:.2f} (allowed {limit})"
            yield Row(title, f"{median(pairs.ours):.2f} s", theirs, good)
        good = memories[name] < MAX_MEMORY and memories[name] < 1.15 * memories["tenth"]
        yield Row(f"memory, {megabytes:.0f} MB", f"{memories[name] / 1e6:.0f} MB", "< 80 MB, at any size", good)
    for label, cost in bench.increments().items():
        limit = MAX_MANY if "1,200" in label else MAX_FEW
        yield Row(f"{label} of 200 MB changed", f"{cost / 1e6:.3f} MB", f"< {limit / 1e6:.1f} MB", cost < limit)


def run() -> bool:
    """Prints a table; whether all limits are kept."""
    if not BINARIES.name:
        print("PostgreSQL: not installed, not measured")
        return True
    base = Path(tempfile.mkdtemp(prefix="tklbam-bench-"))
    base.chmod(0o777)
    template = base / "template"
    subprocess.run(["install", "-d", *(["-o", "postgres"] if os.geteuid() == 0 else []), str(template)], check=True)
    words = [str(BINARIES / "initdb"), "-N", "-D", str(template), "-U", "postgres", "--locale=C.UTF-8"]
    subprocess.run(PgCluster.as_owner(words), check=True, capture_output=True, cwd="/")
    place = base / "server"
    place.mkdir()
    # As Debian ships it, but for logical replication, which the tests use.
    server = PgCluster(place, template, fsync="on", shared_buffers="128MB", max_wal_size="1GB", wal_level="replica")
    try:
        server.start()
        kept = True
        for row in rows(Bench(server, base)):
            print(f"  {'kept  ' if row.good else 'BROKEN'} {row.name:<42} {row.ours:>10}   {row.theirs}", flush=True)
            kept = kept and row.good
        return kept
    finally:
        server.stop()
        shutil.rmtree(base)


if __name__ == "__main__":
    sys.exit(0 if run() else 1)
