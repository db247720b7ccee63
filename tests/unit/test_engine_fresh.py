"""A fresh restore, as a test of the target makes it: all comes from there and goes again, whatever is known here."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine_support import SECRET, Lab, noise, tree_state
from tests.http_target import http_target
from tests.unit.away import Away, away, size_of, stored
from tests.unit.crafting import by_ourselves, gpg
from tests.unit.small_disks import tmpfs
from tests.unit.snapshots import snapshot
from tklbam_core.api import ArchiveError, ProgressEvent
from tklbam_core.engine.cache import Cache
from tklbam_core.engine.duplicity import DuplicityEngine
from tklbam_core.engine.interface import FetchRequest
from tklbam_core.engine.native.decryption import plain_text

__all__ = ["away", "stored"]
HERE = Path(__file__).resolve().parents[2]


@pytest.fixture
def known(away: Away, stored: Lab) -> Away:
    """With all that is known where the sessions were stored, and with their volumes kept."""
    shutil.copytree(stored.cache, away.base / "cache")
    old, new = (Cache(away.base / "cache", address).name for address in (stored.target.address, away.target.address))
    for path in (away.base / "cache").iterdir():
        path.rename(path.with_name(path.name.replace(old, new)))
    assert away.whole()
    away.target.trouble.sent.clear()
    return away


def kept_here(away: Away) -> list[object]:
    """All that is kept on this machine between runs."""
    return [snapshot(place) for place in (away.base / "cache", away.kept)]


def in_temp(away: Away) -> list[Path]:
    """The volumes that lie in the temporary directory."""
    return [path for path in (away.base / "temp").rglob("*.difftar.*") if path.is_file()]


def found(away: Away, pattern: str) -> Path:
    (path,) = away.target.directory.glob(pattern)
    return path


def test_it_reads_all_of_the_target_and_nothing_else_and_leaves_nothing(known: Away) -> None:
    before, most = kept_here(known), 0

    def look(event: ProgressEvent) -> None:
        nonlocal most
        most = max(most, len(in_temp(known)))

    assert tree_state(known.restore("fresh", fresh=True, progress=look)) == tree_state(known.source)
    assert "directly" not in known.target.trouble.asked
    assert known.volumes_sent() == size_of(known)
    assert sum(known.target.trouble.sent.values()) - size_of(known) >= size_of(known, "manifest")
    assert 2 <= most <= 4, "one of each session, and the next of each"
    assert kept_here(known) == before
    assert os.listdir(known.base / "temp") == []


def decrypted(path: Path) -> bytes:
    with path.open("rb") as file:
        return b"".join(plain_text(file.read, SECRET))


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def flip(path: Path) -> None:
    path.write_bytes(flipped(path.read_bytes()))


def forge(path: Path) -> None:
    """Whole and by somebody who has the key: nothing but its hash is wrong."""
    path.write_bytes(by_ourselves(flipped(decrypted(path))))


DAMAGE = {
    "a byte of a volume": ("duplicity-full.*.vol2.*", flip),
    "a volume that is another one": ("duplicity-full.*.vol2.*", forge),
    "a byte of an increment's volume": ("duplicity-inc.*.vol1.*", flip),
    "a byte of a manifest": ("duplicity-full.*.manifest.*", flip),
    "a volume that is cut": ("duplicity-full.*.vol2.*", lambda path: os.truncate(path, 1000)),
    "a manifest that is cut": ("duplicity-inc.*.manifest.*", lambda path: os.truncate(path, path.stat().st_size - 30)),
    "a volume that is gone": ("duplicity-full.*.vol3.*", lambda path: path.unlink()),
    "the last volume that is gone": ("duplicity-full.*.vol4.*", lambda path: path.unlink()),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_found_however_good_what_is_kept_here_is(known: Away, what: str) -> None:
    before = kept_here(known)
    pattern, harm = DAMAGE[what]
    path = found(known, pattern)
    harm(path)
    with pytest.raises(ArchiveError) as caught:
        known.restore("fresh", fresh=True)
    named = path.name if path.exists() else f"volume {path.name.partition('.vol')[2][0]}"
    assert named in caught.value.what
    assert kept_here(known) == before
    assert os.listdir(known.base / "temp") == []


def test_what_is_kept_here_may_be_damaged_as_well(known: Away) -> None:
    for path in (known.base / "cache").rglob("*manifest"):
        path.write_bytes(b"Volume 1:\n    Hash SHA1 " + b"0" * 40 + b"\n")
    for path in known.kept_files():
        flip(path)
    assert tree_state(known.restore("fresh", fresh=True)) == tree_state(known.source)


@pytest.mark.root
@pytest.mark.parametrize(("increments", "ours"), [(1, True), (2, False)], ids=["by our reader", "by duplicity"])
def test_a_chain_larger_than_the_disk_is_restored(tmp_path: Path, increments: int, ours: bool) -> None:
    """A volume of each session must have room in a half of it."""
    lab = Lab(tmp_path / "lab")
    for number in range(12):
        lab.put(f"srv/{number}", noise(500_000, number))
    lab.backup()
    for number in range(increments):
        lab.put(f"srv/new-{number}", noise(900_000, 20 + number))
        lab.backup()
    with http_target(lab.store) as target, tmpfs(tmp_path / "temp", "5m") as temp:
        fresh = FetchRequest(destination=tmp_path / "restored", secret=SECRET, fresh=True)
        DuplicityEngine(tmp_path / "cache", temp).fetch(target, fresh)
        assert os.listdir(temp) == []
        assert ("directly" not in target.trouble.asked) == ours
    assert tree_state(tmp_path / "restored") == tree_state(lab.source)


def test_what_our_reader_can_not_read_comes_by_duplicity(away: Away) -> None:
    with gpg() as encrypted:
        volume, manifest = (found(away, f"duplicity-full.*.{kind}.*") for kind in ("vol2", "manifest"))
        before, text = volume.read_bytes(), decrypted(manifest)
        volume.write_bytes(encrypted(decrypted(volume), "--cipher-algo", "CAST5", "--s2k-count", "1088"))
        old, new = (hashlib.sha1(content).hexdigest().encode() for content in (before, volume.read_bytes()))
        assert old in text
        manifest.write_bytes(encrypted(text.replace(old, new), "--s2k-count", "1088"))
    assert tree_state(away.restore("fresh", fresh=True)) == tree_state(away.source)
    assert "directly" in away.target.trouble.asked


STOPPING = """
import sys, time
from pathlib import Path
from tests.engine_support import SECRET
from tests.http_target import HttpTarget, Trouble
from tklbam_core.engine.duplicity import DuplicityEngine
from tklbam_core.engine.interface import FetchRequest

def stop(event):
    if event.done > 2_500_000:
        print("there", flush=True)
        time.sleep(600)

base = Path(sys.argv[1])
target = HttpTarget(int(sys.argv[2]), base / "store", Trouble())
request = FetchRequest(destination=base / "killed", secret=SECRET, fresh=True, progress=stop)
DuplicityEngine(base / "cache", base / "temp").fetch(target, request)
"""


def test_what_a_killed_one_left_goes_with_the_next(away: Away) -> None:
    argv = [sys.executable, "-c", STOPPING, str(away.base), str(away.target.port)]
    with subprocess.Popen(argv, cwd=HERE, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"there\n"
        assert in_temp(away)
        run.send_signal(signal.SIGKILL)
    assert in_temp(away)
    for path in away.base.glob("temp/*/lock"):
        with path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # until what it had started is gone, too
    assert tree_state(away.restore("fresh", fresh=True)) == tree_state(away.source)
    assert os.listdir(away.base / "temp") == []
