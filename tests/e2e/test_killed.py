"""kill -9 anywhere: a restore can be undone, a backup can be made again, and nothing that was good is lost."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.archive import session_times
from tests.e2e.machine import Machine, machine
from tests.e2e.test_migration import NOT_PROMISED, differences, installed
from tests.unit.snapshots import snapshot

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The words that name a backup with files, users, packages, changed and deleted paths."""
    target = tmp_path_factory.mktemp("target")
    with machine("bookworm", tmp_path_factory.mktemp("a")) as a:
        a.tklbam("init", "--solo", "--force-profile=dpkg")
        a.inside("apt-get", "install", "-qq", "-y", "--no-install-recommends", "hello")
        a.inside("useradd", "--create-home", "alice")
        for number in range(400):
            a.write(f"/srv/many/{number % 20}/{number}", f"content {number}\n" * 50)
        a.write("/etc/motd", "A's message\n")
        a.path("/etc/issue.net").unlink()
        a.path("/etc/debian_version").chmod(0o600)
        a.tklbam("backup", "--address", f"file://{target}")
        yield ["--address", f"file://{target}", "--secretfile", str(a.secret_file)]


@pytest.fixture
def b(tmp_path: Path) -> Iterator[Machine]:
    with machine("bookworm", tmp_path / "b") as made:
        made.inside("useradd", "--create-home", "bob")
        made.write("/srv/many/1/1", "B's own\n")
        yield made


def run_until(made: Machine, reached: Callable[[], bool], *words: str, delay: float = 0.0) -> int:
    """Runs a command and kills it, with SIGKILL, `delay` seconds after something is reached, unless it has come to its
    end; its exit status."""
    process = subprocess.Popen(
        made.command(*words), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not reached():
        time.sleep(0.001)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(delay)
    process.send_signal(signal.SIGKILL)
    return process.wait()


@pytest.mark.parametrize(
    ("step", "delay"),
    [
        ("area", 0.0),
        ("saved", 0.0),
        ("packages", 0.0),
        ("packages", 1.0),
        ("users", 0.0),
        ("users", 0.05),
        ("overlay", 0.0),
        ("overlay", 0.1),
        ("done", 0.0),
    ],
)
def test_killed_restore_rolls_back(step: str, delay: float, backup: list[str], b: Machine) -> None:
    before, packages = snapshot(b.root, skip=NOT_PROMISED), installed(b)
    area = b.path("/var/backups/tklbam-rollback")
    journal = area / "journal"

    def reached() -> bool:
        if step == "area":
            return area.exists()
        return journal.exists() and f'"step": "{step}"' in journal.read_text()

    status = run_until(b, reached, "restore", *backup, delay=delay)
    assert status == -signal.SIGKILL or step not in ("area", "saved", "packages") or delay, "it was killed on the way"
    b.tklbam("restore-rollback", "--force")
    assert differences(before, snapshot(b.root, skip=NOT_PROMISED)) == {}
    assert installed(b) == packages
    assert not area.exists()


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_rollback_goes_on(seed: int, backup: list[str], b: Machine) -> None:
    before, packages = snapshot(b.root, skip=NOT_PROMISED), installed(b)
    b.tklbam("restore", *backup)
    chance = random.Random(seed)
    area = b.path("/var/backups/tklbam-rollback")
    for _ in range(3):
        if area.exists():
            run_until(b, lambda: True, "restore-rollback", "--force", delay=chance.uniform(0.3, 2.0))
    if area.exists():
        b.tklbam("restore-rollback", "--force")
    assert differences(before, snapshot(b.root, skip=NOT_PROMISED)) == {}
    assert installed(b) == packages


def test_a_restore_refuses_to_bury_one_that_was_killed(backup: list[str], b: Machine) -> None:
    journal = b.path("/var/backups/tklbam-rollback/journal")
    run_until(b, lambda: journal.exists() and "overlay" in journal.read_text(), "restore", *backup)
    done = b.tklbam("restore", *backup, status=1)
    assert "restore-rollback" in done.err
    b.tklbam("restore-rollback", "--force")


@pytest.fixture
def small(tmp_path: Path) -> Machine:
    """A system small enough to be backed up in a second or two, with some megabytes that do not compress."""
    made = Machine(tmp_path / "root")
    made.write("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
    made.write("/etc/group", "root:x:0:\n")
    for number in range(6):
        made.write(f"/srv/{number}", os.urandom(1_000_000))
    made.tklbam("init", "--solo", "--force-profile=empty")
    return made


def assert_every_session_restores(made: Machine, address: str, tmp_path: Path) -> None:
    for number, moment in enumerate(session_times(address)):
        place = tmp_path / f"fetched-{number}"
        made.tklbam("restore", "--address", address, "--time", moment.isoformat(), "--raw-download", str(place))
        assert (place / "TKLBAM/backup-conf").exists()


def test_a_backup_killed_at_any_moment_is_followed_by_a_good_one(small: Machine, tmp_path: Path) -> None:
    address = f"file://{tmp_path / 'target'}"
    words = ["backup", "--address", address, "--volsize", "1"]
    chance = random.Random(7)
    began = time.monotonic()
    small.tklbam("backup", "--address", f"file://{tmp_path / 'measured'}", "--volsize", "1")
    whole = time.monotonic() - began
    killed = 0
    for number in range(10):
        small.write(f"/srv/{number % 3}", os.urandom(1_000_000))
        began = time.monotonic()
        if run_until(small, lambda: True, *words, delay=whole * chance.uniform(0.1, 1.0)) == -signal.SIGKILL:
            killed += 1
        else:
            whole = time.monotonic() - began  # the machine has become quicker
        if number % 3 == 2:
            small.tklbam(*words)
            assert not (small.root / "TKLBAM").exists()
    assert killed >= 3, "the delays must fall into the run"
    result = small.json(*words)
    assert result["sessions"][0]["verified"]
    assert_every_session_restores(small, address, tmp_path)
    place = tmp_path / "latest"
    small.tklbam("restore", "--address", address, "--raw-download", str(place))
    for number in range(6):
        assert (place / f"srv/{number}").read_bytes() == small.path(f"/srv/{number}").read_bytes()
