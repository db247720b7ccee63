"""Systems small enough to be backed up in a second or two, and what tests of failures say about commands on them."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.machine import Done, Machine
from tests.e2e.test_migration import differences
from tests.unit.snapshots import snapshot

OURS = (b"/var/log", b"/var/lib/tklbam", b"/var/cache")
"""Where a run that fails may leave traces: logs, the session records, the parent of a restore's work directory."""


def small_system(root: Path, **environment: str) -> Machine:
    """A system with two accounts' files and nothing else; no packages, no init yet."""
    made = Machine(root, environment)
    made.write("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
    made.write("/etc/group", "root:x:0:\n")
    made.write("/etc/.pwd.lock", "", 0o600)  # which who merges accounts makes, and leaves
    for directory in ("/var/backups", "/var/log", "/var/cache", "/var/lib"):
        made.path(directory).mkdir(parents=True, exist_ok=True)
    return made


def initialised(root: Path, **environment: str) -> Machine:
    made = small_system(root, **environment)
    made.tklbam("init", "--solo", "--force-profile=empty", "--quiet")
    return made


def other_system(root: Path) -> Machine:
    """Another system, with files of its own, that was never initialised."""
    made = small_system(root)
    made.write("/srv/text", "B's own text\n", 0o600)
    made.write("/srv/own", "B's own\n")
    return made


def conf(made: Machine, *lines: str) -> None:
    made.write("/etc/tklbam/conf", "".join(f"{line}\n" for line in lines))


def assert_clear(done: Done, *words: str, lines: int = 2) -> None:
    """An error of a line or two (with --quiet), that says all of `words`, and no traceback."""
    said = done.err.splitlines()
    assert 1 <= len(said) <= lines, done
    assert [line for line in said if line.startswith("error: ")], done
    assert "Traceback" not in done.err + done.out, done
    for word in words:
        assert word in done.err, f"{word!r} is not in: {done}"


class Unchanged:
    """A system that must be the same when the block ends, byte for byte."""

    def __init__(self, made: Machine, skip: tuple[bytes, ...] = OURS) -> None:
        self.made, self.skip = made, skip

    def __enter__(self) -> None:
        self.before = snapshot(self.made.root, skip=self.skip)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            changed = differences(self.before, snapshot(self.made.root, skip=self.skip))
            assert changed == {}, changed
