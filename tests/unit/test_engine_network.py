"""Behind a network that breaks: restores complete, download nothing twice, and never believe what they kept."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.engine_support import SECRET, tree_state
from tests.unit.away import Away, away, size_of, stored
from tests.unit.small_disks import tmpfs
from tklbam_core.api import ArchiveError, ProgressEvent, SpaceError, Target, TargetError, UsageError
from tklbam_core.engine import cache, decrypt, restore_cache
from tklbam_core.engine.duplicity import DuplicityEngine
from tklbam_core.engine.interface import FetchRequest
from tklbam_core.engine.manifest import Manifest, parse_manifest
from tklbam_core.engine.patience import PatientTarget, patient
from tklbam_core.engine.restore_cache import RestoreCache
from tklbam_core.engine.wrapped import WrappedTarget

__all__ = ["away", "stored"]
HERE = Path(__file__).resolve().parents[2]


def test_a_restore_s_two_fetches_and_the_next_restore_download_nothing_twice(away: Away) -> None:
    extras = away.restore("extras", "TKLBAM")
    assert (extras / "newpkgs").read_text() == "nano\n"
    assert away.volumes_sent() < size_of(away) / 2, "the extras alone need few of the volumes"
    assert away.whole()
    assert away.volumes_sent() == size_of(away)
    assert not any("sigtar" in name for name in away.target.trouble.asked), "no restore needs signatures"
    before = sum(away.target.trouble.sent.values())
    shutil.rmtree(away.base / "cache", ignore_errors=True)
    asked = len(away.target.trouble.asked)
    assert away.whole()
    assert away.target.trouble.asked[asked:] == [""], "the listing alone"
    assert sum(away.target.trouble.sent.values()) - before < 5000
    assert [path.name for path in away.kept.glob(".run-*")] == []


def test_a_connection_cut_again_and_again_ends_in_a_whole_restore(away: Away) -> None:
    away.target.trouble.cuts, away.target.trouble.cut_after = 20, 300_000
    away.target.trouble.busy = 2
    told: list[ProgressEvent] = []
    assert tree_state(away.restore(progress=told.append)) == tree_state(away.source)
    assert away.target.trouble.cuts == 0 or len(away.slept) > 10
    assert away.volumes_sent() == size_of(away), "each goes on where it was cut"
    downloaded = [event.done for event in told if event.phase == "download"]
    assert downloaded == sorted(downloaded)
    assert len(downloaded) > 20
    assert downloaded[-1] == size_of(away) == next(event.total for event in told if event.phase == "download")


def test_a_connection_that_never_holds_ends_in_a_clear_error_in_bounded_time(away: Away) -> None:
    away.target.trouble.cuts, away.target.trouble.cut_after = 1_000_000, 0
    with pytest.raises(TargetError, match=r"ended after 0 of|can't be read") as caught:
        away.restore()
    assert caught.value.remedy
    assert len(away.slept) == 3
    assert 0.5 <= away.slept[0] <= 1
    assert away.slept[0] < away.slept[1] + 0.5 < away.slept[2] + 1.5
    assert len(away.target.trouble.asked) == 1 + 4


def test_what_is_no_use_trying_again_is_not(away: Away) -> None:
    with pytest.raises(TargetError, match="404"):
        PatientTarget(away.target, away.patience).read("not-there").read()
    assert away.slept == []


def test_a_download_that_was_killed_goes_on_where_it_was(away: Away) -> None:
    # One volume arrives in part, and then the connection is gone for good.
    away.target.trouble.cuts, away.target.trouble.cut_after = 1_000_000, 40_000
    with pytest.raises(TargetError):
        away.restore()
    (part,) = [path for path in away.kept_files() if path.name.startswith(".part-")]
    assert part.stat().st_size == 128 << 10
    away.target.trouble.cuts = 0
    assert away.whole()
    assert away.volumes_sent() <= size_of(away) + (128 << 10)
    assert not part.exists()


def test_kept_files_that_were_tampered_with_are_fetched_again(away: Away) -> None:
    assert away.whole()
    sent = away.volumes_sent()
    volumes = [path for path in away.kept_files() if ".difftar." in path.name]
    damaged = volumes[0].stat().st_size + volumes[1].stat().st_size
    volumes[0].write_bytes(os.urandom(volumes[0].stat().st_size))
    volumes[1].write_bytes(volumes[1].read_bytes()[:-1])
    manifest = next(path for path in away.kept_files() if "manifest" in path.name)
    manifest.write_bytes(os.urandom(manifest.stat().st_size))
    link = volumes[2]
    link.unlink()
    link.symlink_to("/etc/passwd")
    damaged += (away.target.directory / link.name).stat().st_size
    shutil.rmtree(away.base / "cache", ignore_errors=True)
    assert away.whole()
    assert away.volumes_sent() - sent == damaged
    assert not link.is_symlink()


def test_kept_files_that_no_hash_vouches_for_and_that_don_t_decrypt_are_fetched_again(
    away: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_hashes(text: bytes) -> Manifest | None:
        found = parse_manifest(text)
        return found and Manifest(dict.fromkeys(found.volumes, ""), found.spans)

    monkeypatch.setattr(decrypt, "parse_manifest", without_hashes)
    monkeypatch.setattr(cache, "parse_manifest", without_hashes)
    assert away.whole()
    volume = next(path for path in away.kept_files() if "vol2.difftar" in path.name)
    volume.write_bytes(volume.read_bytes()[:-1000] + os.urandom(1000))
    damaged = volume.read_bytes()
    assert away.whole()
    assert not volume.exists() or volume.read_bytes() != damaged


def test_what_arrives_altered_is_an_error_and_is_not_kept(away: Away) -> None:
    away.restore("extras", "TKLBAM")
    away.target.trouble.altered = True
    with pytest.raises(ArchiveError, match="damaged"):
        away.restore()
    away.target.trouble.altered = False
    assert away.whole()


def test_the_least_used_goes_first_and_the_limit_holds(away: Away) -> None:
    assert away.whole()
    other = away.kept / ("0" * 32)
    other.mkdir()
    for age, name in enumerate(("newer", "older")):
        (other / name).write_bytes(bytes(1_000_000))
        os.utime(other / name, (time.time() - 1000 * (age + 1),) * 2)
    needed = size_of(away)
    for path in away.kept_files():
        if "vol1.difftar" in path.name:
            path.unlink()
    kept = RestoreCache(away.kept, lambda free: needed + 1_500_000)
    engine = DuplicityEngine(away.base / "cache", away.base / "temp", kept=kept, patience=away.patience)
    engine.fetch(away.target, FetchRequest(destination=away.base / "again", secret=SECRET))
    assert (other / "newer").exists()
    assert not (other / "older").exists()
    assert sum(path.stat().st_size for path in away.kept_files()) <= needed + 1_500_000


@pytest.mark.parametrize("share", [100, 0], ids=["kept", "in turn"])
def test_only_volumes_that_hold_what_is_wanted_are_downloaded(away: Away, share: int) -> None:
    away.share = share
    restored = away.restore(within=("srv/b",))
    assert sorted(path.name for path in restored.rglob("*")) == ["b", "srv"]
    assert (restored / "srv/b").read_bytes() == (away.source / "srv/b").read_bytes()
    # The one volume of the increment, and the first one of the full session, which may hold the directory.
    assert away.volumes_sent() < size_of(away) // 2
    away.restore(within=("nothing",))


def test_more_than_may_be_restored_costs_nothing_that_was_kept(away: Away) -> None:
    assert away.whole()
    kept, sent = away.kept_files(), away.volumes_sent()
    with pytest.raises(SpaceError, match="allowed"):
        away.restore(within=("srv/b",), room=200_000)
    assert (away.kept_files(), away.volumes_sent()) == (kept, sent)


def test_without_room_for_the_cache_a_restore_works_all_the_same(away: Away) -> None:
    away.share = 0
    assert away.whole()
    assert away.kept_files() == []
    assert "directly" not in away.target.trouble.asked


@pytest.mark.root
@pytest.mark.parametrize("size", ["2m", "6m"], ids=["full while downloading", "full while unpacking"])
def test_a_disk_that_fills_up_ends_in_a_whole_restore_without_the_cache(
    away: Away, size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Another program takes the room that was there when it was looked for.
    monkeypatch.setattr(restore_cache, "ROOM", 0)
    away.share = 1000
    with tmpfs(away.base / "small", size) as small:
        away.kept_at = small / "kept"
        where = "small/restored" if size == "6m" else "restored"
        assert tree_state(away.restore(where)) == tree_state(away.source)
        assert "directly" not in away.target.trouble.asked
        assert [path.name for path in away.kept.glob(".run-*")] == []


def test_the_cache_of_another_user_is_refused(away: Away) -> None:
    away.kept.mkdir()
    away.kept.chmod(0o777)
    with pytest.raises(UsageError, match="restore cache"):
        away.restore()


def start_restore(away: Away, number: int) -> subprocess.Popen[bytes]:
    """In a process of its own, with the same cache."""
    script = f"""
from pathlib import Path
from tests.engine_support import SECRET
from tests.http_target import HttpTarget, Trouble
from tklbam_core.engine.duplicity import DuplicityEngine
from tklbam_core.engine.interface import FetchRequest
from tklbam_core.engine.restore_cache import RestoreCache
base = Path({str(away.base)!r})
target = HttpTarget({away.target.port}, base / "store", Trouble())
engine = DuplicityEngine(base / "cache{number}", base / "temp", kept=RestoreCache(base / "kept", lambda free: free))
engine.fetch(target, FetchRequest(destination=base / "by-{number}", secret=SECRET))
"""
    return subprocess.Popen([sys.executable, "-c", script], cwd=HERE)


def test_runs_at_once_share_what_they_download(away: Away) -> None:
    runs = [start_restore(away, number) for number in range(2)]
    assert [run.wait() for run in runs] == [0, 0]
    assert all(tree_state(away.base / f"by-{number}") == tree_state(away.source) for number in range(2))
    assert away.volumes_sent() == size_of(away)
    assert not [path for path in away.kept_files() if path.name.startswith(".")]


def test_a_killed_restore_leaves_nothing_that_harms_the_next(away: Away) -> None:
    for moment in (0.3, 0.6, 0.9):
        run = start_restore(away, 0)
        time.sleep(moment)
        run.send_signal(signal.SIGKILL)
        run.wait()
        shutil.rmtree(away.base / "by-0", ignore_errors=True)
    assert away.whole()
    assert [path.name for path in away.kept.glob(".run-*")] == []
    assert away.volumes_sent() <= size_of(away) + 3 * (1 << 20)


def test_a_half_read_manifest_is_never_taken_for_an_interrupted_session(away: Away) -> None:
    """A cut connection must not make the next backup delete a good session."""
    away.target.trouble.cuts, away.target.trouble.cut_after = 1_000_000, 0
    before = sorted(os.listdir(away.target.directory))
    with pytest.raises(TargetError):
        away.engine.prepare(away.target, SECRET)
    assert sorted(os.listdir(away.target.directory)) == before
    away.target.trouble.cuts = 0
    away.engine.prepare(away.target, SECRET)
    assert sorted(os.listdir(away.target.directory)) == before


def test_a_target_that_can_t_seek_goes_on_all_the_same(away: Away) -> None:
    name = next(path.name for path in away.target.directory.iterdir() if "vol1" in path.name)
    with Target.read_from(away.target, name, 1000) as stream:
        assert stream.read() == (away.target.directory / name).read_bytes()[1000:]


def test_patience_is_not_multiplied_by_what_stands_around_a_patient_target(away: Away) -> None:
    once = PatientTarget(away.target, away.patience)
    around = WrappedTarget(once)
    assert patient(once, away.patience) is once
    assert patient(around, away.patience) is around
    assert isinstance(patient(WrappedTarget(away.target), away.patience), PatientTarget)
