"""Backups travel by every protocol: full, increment, list, restore elsewhere, prune. No password is seen on the way."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plugins.storage.remote.tests.machines import configure, key_of, machine, spellings
from plugins.storage.remote.tests.places import Place, opened
from plugins.storage.remote.tests.servers import PASSWORD
from tests import swift as openstack
from tests.e2e.small import other_system

pytestmark = pytest.mark.root

KINDS = ("sftp-password", "rsync", "rsyncssh", "ftp", "ftpes", "webdav-digest", "webdavs", "imaps", "swift")
LIGHTLY = ("scp", "lftpsftp", "rclone")
"""These share all but the way in with one of the others, so one session and its content are enough."""
LOOKS = 4
"""How often a process is looked at: it may have become another program since the first time."""


class Watcher:
    """Looks at the command lines of all new processes, and keeps those in which a secret stands."""

    def __init__(self, secrets: list[bytes]) -> None:
        self._secrets = secrets
        self._looks: Counter[str] = Counter()
        self._seen: set[bytes] = set()
        self.leaks: list[bytes] = []
        self._over = threading.Event()

    def _look(self) -> None:
        old = set(os.listdir("/proc"))
        while not self._over.wait(0.04):
            for pid in os.listdir("/proc"):
                if pid in old or not pid.isdigit() or self._looks[pid] >= LOOKS:
                    continue
                self._looks[pid] += 1
                try:
                    line = Path(f"/proc/{pid}/cmdline").read_bytes()
                except OSError:  # it has ended
                    continue
                if line not in self._seen:
                    self._seen.add(line)
                    self.leaks += [line for secret in self._secrets if secret in line.replace(b"\0", b" ")]

    def saw(self, word: bytes) -> bool:
        return any(word in line for line in self._seen)

    @contextmanager
    def watching(self) -> Iterator[None]:
        thread = threading.Thread(target=self._look)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()


@pytest.mark.parametrize("kind", KINDS)
def test_round_trip(kind: str, place_of: Callable[[str], Place], tmp_path: Path) -> None:
    place = place_of(kind)
    a = machine(tmp_path / "a", place)
    a.write("/srv/text", "first\n")
    a.write("/srv/rows", os.urandom(300_000))
    secrets = [*spellings(PASSWORD), *spellings(openstack.SECRET), a.secret_file.read_bytes().strip()]
    watcher = Watcher(secrets)
    with watcher.watching():
        said = [a.tklbam("backup", "--debug")]
        a.write("/srv/text", "second\n")
        a.write("/srv/later", "new\n")
        said.append(a.tklbam("backup", "--debug"))
        (listed,) = a.json("list", "--address", place.address)
        sessions = listed["sessions"]
        assert [session["kind"] for session in sessions] == ["full", "incremental"]
        assert sum(session["size"] for session in sessions) == sum(file.size for file in opened(place).files())

        b = other_system(tmp_path / "b")
        configure(b, place)
        key = key_of(a, tmp_path / "key")
        said.append(b.tklbam("restore", "--address", place.address, "--keyfile", str(key), "--debug"))
    for path in ("/srv/text", "/srv/later", "/srv/rows"):
        assert b.path(path).read_bytes() == a.path(path).read_bytes()

    said.append(a.tklbam("backup", "--full-backup", "now"))
    (listed,) = a.json("list", "--address", place.address)
    assert [session["kind"] for session in listed["sessions"]] == ["full"], "what is over keep-full is gone"

    assert watcher.saw(b"native.extract"), "it did not look"
    assert watcher.leaks == []
    logs = [path.read_bytes() for made in (a, b) for path in made.path("/var/log").rglob("*") if path.is_file()]
    assert logs
    told = [done.out.encode() + done.err.encode() for done in said]
    for secret in secrets:
        assert not [text for text in (*told, *logs) if secret in text]


@pytest.mark.parametrize("kind", LIGHTLY)
def test_a_session_by_the_other_ways(kind: str, place_of: Callable[[str], Place], tmp_path: Path) -> None:
    place = place_of(kind)
    a = machine(tmp_path / "a", place)
    a.write("/srv/text", "here and there\n")
    a.tklbam("backup")
    a.tklbam("restore", "--address", place.address, "--raw-download", str(tmp_path / "got"))
    assert (tmp_path / "got/srv/text").read_text() == "here and there\n"
