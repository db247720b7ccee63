"""Sessions written and restored for real: what goes in comes out, chains grow, fall back, verify and are pruned."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.engine_support import SECRET, Lab, noise, tree_state
from tklbam_core.api.errors import EngineError, UsageError
from tklbam_core.api.progress import ProgressEvent
from tklbam_core.engine.interface import FetchRequest


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_full_and_increment_restore_identical_at_both_times(lab: Lab) -> None:
    lab.put("var/www/big", noise(2_500_000, 1))
    lab.put("var/www/index.html", b"<html>")
    lab.put("etc/secret", b"x")
    os.chmod(lab.source / "etc/secret", 0o600)
    os.symlink("/etc/hosts", lab.source / "etc/link")
    os.mkfifo(lab.source / "var/pipe")
    first = tree_state(lab.source)
    full = lab.backup(full=True)
    assert (full.session.kind, full.session.volumes) == ("full", 3)
    assert full.session.size == sum(path.stat().st_size for path in lab.store.iterdir())
    assert not full.warnings
    assert not full.unread
    lab.put("var/www/index.html", b"<html>changed")
    (lab.source / "etc/secret").unlink()
    lab.put("var/www/new", b"new")
    second = tree_state(lab.source)
    increment = lab.backup()
    assert increment.session.kind == "incremental"
    assert increment.session.size < 20_000
    assert increment.new_files >= 1  # directories whose time changed are counted, too
    assert increment.deleted_files == 1
    assert tree_state(lab.restore("latest")) == second
    assert tree_state(lab.restore("then", time=full.session.time)) == first
    assert [[session.kind for session in chain.sessions] for chain in lab.engine.chains(lab.target)] == [
        ["full", "incremental"]
    ]
    assert lab.temporary_files() == []


def test_names_with_newlines_spaces_and_globs_are_stored(lab: Lab) -> None:
    for name in (
        "new\nline",
        " lead and trail ",
        "tab\there",
        "ümläut 中",
        "a*b?[c]",
        "back\\slash",
        "#hash",
        "- dash",
    ):
        lab.put(f"srv/{name}", name.encode())
        lab.put(f"srv/dir {name}/file", b"1")
    lab.backup()
    assert tree_state(lab.restore()) == tree_state(lab.source)


def test_only_listed_paths_are_stored_with_their_parents_as_they_are(lab: Lab) -> None:
    lab.put("srv/app/data/wanted", b"1")
    lab.put("srv/app/data/unwanted", b"2")
    lab.put("srv/other/unwanted", b"3")
    os.chmod(lab.source / "srv/app", 0o751)
    os.chmod(lab.source / "srv/app/data", 0o2770)
    (lab.extras / "myfs/db/tables").mkdir(parents=True)
    (lab.extras / "myfs/db/tables/rows").write_bytes(b"1,2\n")
    lab.backup([b"srv/app/data/wanted"])
    restored = tree_state(lab.restore())
    assert restored == {path: state for path, state in tree_state(lab.source).items() if path in restored}
    assert {path for path in restored if not path.startswith(b"TKLBAM")} == {
        b"srv",
        b"srv/app",
        b"srv/app/data",
        b"srv/app/data/wanted",
    }
    assert b"TKLBAM/myfs/db/tables/rows" in restored


def test_a_source_just_like_its_parent_is_not_stored_empty(lab: Lab) -> None:
    """Duplicity takes a directory of its parent's mode, owner and time for `/`, and then finds none of the list."""
    lab.put("etc/big", noise(1000, 3))
    for directory in (lab.source, lab.source.parent):
        directory.chmod(0o755)
        os.utime(directory, (1_700_000_000, 1_700_000_000))
    assert lab.backup().source_files > 3
    assert (lab.restore() / "etc/big").read_bytes() == noise(1000, 3)


def test_a_directory_in_the_list_does_not_bring_what_is_below_it(lab: Lab) -> None:
    lab.put("srv/a/file", b"1")
    lab.backup([b"srv/a"])
    assert set(tree_state(lab.restore())) == {b"srv", b"srv/a", b"TKLBAM", b"TKLBAM/fsdelta"}


def test_the_extras_alone_can_be_fetched(lab: Lab) -> None:
    lab.put("srv/big", noise(1_500_000, 2))
    lab.backup()
    assert set(os.listdir(lab.restore(path="TKLBAM"))) == {"fsdelta"}


def test_no_extras_for_a_raw_upload(lab: Lab) -> None:
    lab.backup([b"etc/hosts"], extras=None)
    assert set(tree_state(lab.restore())) == {b"etc", b"etc/hosts"}


@pytest.mark.root
def test_extras_elsewhere_are_stored_as_tklbam(lab: Lab) -> None:
    shutil.rmtree(lab.extras)
    elsewhere = lab.base / "large-disk/extras"
    elsewhere.mkdir(parents=True)
    (elsewhere / "fsdelta").write_text("elsewhere")
    lab.backup([b"etc/hosts"], extras=elsewhere)
    assert not lab.extras.exists()
    assert (lab.restore() / "TKLBAM/fsdelta").read_text() == "elsewhere"


def test_what_vanished_or_can_not_be_named_is_told_and_the_rest_is_stored(lab: Lab) -> None:
    result = lab.backup([b"etc/hosts", b"etc/vanished", b"etc/\xff\xfe"])
    assert (lab.restore() / "etc/hosts").read_bytes() == b"127.0.0.1 localhost\n"
    assert result.vanished == ("etc/vanished",)
    assert any(r"\xff\xfe" in line for line in result.unread)


def test_progress_ends_at_the_total(lab: Lab) -> None:
    lab.put("srv/big", noise(3_000_000, 3))
    seen: list[ProgressEvent] = []
    lab.backup(progress=seen.append, total_bytes=3_000_100)
    assert {event.phase for event in seen} == {"upload"}
    assert (seen[-1].done, seen[-1].total) == (3_000_100, 3_000_100)
    assert [event.done for event in seen] == sorted(event.done for event in seen)
    fetched: list[ProgressEvent] = []
    lab.restore(progress=fetched.append)
    assert fetched[-1].done == fetched[-1].total == sum(path.stat().st_size for path in lab.store.glob("*.difftar.*"))


def test_an_unchanged_small_system_costs_little(lab: Lab) -> None:
    assert lab.backup([]).session.size < 4_000


def test_stock_duplicity_restores_our_session(lab: Lab) -> None:
    lab.put("srv/file", noise(100_000, 4))
    lab.backup()
    destination = lab.base / "stock"
    home = lab.base / "home"
    home.mkdir(mode=0o700)
    duplicity = Path(sys.executable).with_name("duplicity")
    argv = [duplicity, "restore", "--archive-dir", lab.base / "other-cache", f"file://{lab.store}", destination]
    subprocess.run(argv, check=True, capture_output=True, env={**os.environ, "PASSPHRASE": SECRET, "HOME": str(home)})
    assert tree_state(destination) == tree_state(lab.source)


def test_restore_needs_neither_cache_nor_signatures(lab: Lab) -> None:
    lab.backup()
    lab.put("etc/more", b"more")
    lab.backup()
    shutil.rmtree(lab.cache)
    for signatures in lab.store.glob("*sigtar*"):
        signatures.write_bytes(b"")
    assert tree_state(lab.restore()) == tree_state(lab.source)
    assert not any(lab.cache.glob("*/*")), "a restore must not fill the cache"


def test_an_unknown_time_names_the_sessions_there_are(lab: Lab) -> None:
    session = lab.backup().session
    with pytest.raises(EngineError) as caught:
        lab.restore(time=datetime(2001, 1, 1, tzinfo=UTC))
    assert f"{session.time:%Y-%m-%dT%H:%M:%SZ}" in caught.value.remedy


def test_a_path_that_is_not_in_the_archive_is_an_error(lab: Lab) -> None:
    lab.backup()
    with pytest.raises(EngineError, match="does not hold"):
        lab.restore(path="no/such/path")


def test_nothing_is_restored_over_existing_files(lab: Lab) -> None:
    lab.backup()
    with pytest.raises(UsageError):
        lab.engine.fetch(lab.target, FetchRequest(destination=lab.source, secret=SECRET))


def test_verify_accepts_a_session_and_needs_no_cache(lab: Lab) -> None:
    lab.put("srv/big", noise(1_500_000, 5))
    session = lab.backup().session
    assert lab.engine.verify(lab.target, session, SECRET).ok
    shutil.rmtree(lab.cache)
    found = lab.engine.verify(lab.target, session, SECRET)
    assert (found.ok, found.volumes) == (True, 2)


@pytest.mark.parametrize("cached", [True, False])
def test_verify_finds_a_missing_last_volume(lab: Lab, cached: bool) -> None:
    lab.put("srv/big", noise(1_500_000, 5))
    session = lab.backup().session
    next(lab.store.glob("*vol2*")).unlink()
    if not cached:
        shutil.rmtree(lab.cache)
    found = lab.engine.verify(lab.target, session, SECRET)
    assert not found.ok
    assert "volume 2 of 2 is missing" in found.problems[0]


def test_verify_finds_a_shortened_volume_and_missing_signatures(lab: Lab) -> None:
    session = lab.backup().session
    volume = next(lab.store.glob("*vol1*"))
    volume.write_bytes(volume.read_bytes()[:-1])
    next(lab.store.glob("*sigtar*")).unlink()
    found = lab.engine.verify(lab.target, session, SECRET)
    assert not found.ok
    assert len(found.problems) == 2


def test_without_signatures_the_next_session_is_full_and_says_so(lab: Lab) -> None:
    lab.backup()
    next(lab.store.glob("*sigtar*")).unlink()
    result = lab.backup()
    assert result.session.kind == "full"
    assert any("full session" in line for line in result.warnings)
    assert lab.sessions() == 2


def test_prune_keeps_the_newest_chains_whole(lab: Lab) -> None:
    lab.backup(full=True)
    lab.put("etc/a", b"a")
    lab.backup()
    lab.backup(full=True)
    kept = lab.backup()
    (lab.store / "someone-elses.txt").write_text("keep me")
    gone = lab.engine.prune(lab.target, 1)
    assert [session.kind for session in gone] == ["full", "incremental"]
    assert lab.engine.chains(lab.target)[0].sessions[-1] == kept.session
    assert (lab.store / "someone-elses.txt").exists()
    assert tree_state(lab.restore()) == tree_state(lab.source)
    assert lab.backup().session.kind == "incremental"
    assert list(lab.engine.prune(lab.target, 1)) == []
    with pytest.raises(UsageError):
        lab.engine.prune(lab.target, 0)


def test_sessions_in_the_same_second_stay_apart(lab: Lab) -> None:
    times = [lab.backup(full=True).session.time for _ in range(3)]
    assert times == sorted(set(times))
    assert lab.sessions() == 3


def test_a_clock_set_back_is_told_and_the_chain_holds(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.backup()
    future = (datetime.now(UTC) + timedelta(days=400)).replace(microsecond=0)
    for path in sorted(lab.store.iterdir()):
        old = path.name.split(".")[1]
        path.rename(path.with_name(path.name.replace(old, f"{future:%Y%m%dT%H%M%SZ}")))
    shutil.rmtree(lab.cache)
    lab.put("etc/later", b"later")
    increment = lab.backup()
    assert increment.session.kind == "incremental"
    assert increment.session.time == future + timedelta(seconds=1)
    assert any("clock" in line for line in increment.warnings)
    full = lab.backup(full=True)
    assert full.session.time == future + timedelta(seconds=2)
    assert tree_state(lab.restore("latest")) == tree_state(lab.source)
    assert tree_state(lab.restore("before", time=increment.session.time)) == tree_state(lab.source)


def test_works_as_cron_runs_it(lab: Lab) -> None:
    script = (
        "import os\n"
        "os.close(0)\n"
        "os.umask(0)\n"
        "from pathlib import Path\n"
        "from tests.engine_support import Lab, tree_state\n"
        "class Existing(Lab):\n"
        "    def __post_init__(self): pass\n"
        f"lab = Existing(Path({str(lab.base)!r}))\n"
        "lab.backup()\n"
        "assert tree_state(lab.restore()) == tree_state(lab.source)\n"
    )
    here = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(lab.base / "temp")},
        cwd=here,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b""
    assert done.stderr == b""
    for path in lab.cache.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
