"""check: what is wrong with a target is named; a restore test restores all there is, and compares it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.machine import Machine
from tests.e2e.small import assert_clear, conf, initialised
from tests.unit.small_disks import tmpfs
from tests.unit.snapshots import snapshot
from tklbam_core.delta.safepath import SafeRoot
from tklbam_core.host import Host
from tklbam_core.lock import locked
from tklbam_core.trial_restore import Tally, _compare_with_live

pytestmark = pytest.mark.root

ODD = os.fsdecode(b"/srv/odd\xff\n\t name")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A system with two chains on a target: full and increment, then full and increment."""
    folder = tmp_path_factory.mktemp("base")
    made = initialised(folder / "root")
    conf(made, f"address file://{folder}/target", "volsize 1", "price 0.5 USD")
    made.write("/etc/tklbam/overrides", "/srv\n")
    made.write("/srv/big", os.urandom(2_500_000))
    made.write("/srv/text", "text\n", 0o4750)
    made.write(ODD, "odd\n")
    os.chown(made.path("/srv/text"), 1234, 4321)
    os.link(made.path("/srv/text"), made.path("/srv/hard"))
    os.symlink("/nowhere", made.path("/srv/link"))
    os.mkfifo(made.path("/srv/fifo"))
    os.truncate(made.write("/srv/sparse", ""), 3 << 20)
    made.path("/srv/empty/below").mkdir(parents=True)
    subprocess.run(["setfattr", "-n", "user.mark", "-v", "x", made.path("/srv/big")], check=True)
    for number, when in enumerate(("1M", "1M", "now", "1M")):
        made.write("/srv/changing", f"{number}\n")
        made.tklbam("backup", "--quiet", "--full-backup", when)
    return made


@pytest.fixture
def made(base: Machine, tmp_path: Path) -> Machine:
    """The same, of the test's own: root and target may be damaged. The archive's cache goes by address and is new."""
    subprocess.run(["cp", "-a", base.root, tmp_path / "root"], check=True)
    subprocess.run(["cp", "-a", base.root.parent / "target", tmp_path / "target"], check=True)
    copy = Machine(tmp_path / "root")
    conf(copy, f"address file://{tmp_path}/target", "volsize 1", "price 0.5 USD")
    shutil.rmtree(copy.path("/var/lib/tklbam/targets"))
    for record in copy.path("/var/lib/tklbam/sessions").iterdir():
        record.write_text(record.read_text().replace(f"{base.root.parent}/target", f"{tmp_path}/target"))
    return copy


def target(made: Machine) -> Path:
    return made.root.parent / "target"


def files(made: Machine, pattern: str) -> list[Path]:
    """Files of the target, oldest session first."""
    return sorted(target(made).glob(pattern), key=lambda path: re.findall(r"\d{8}T\d{6}Z", path.name)[-1])


def record(made: Machine) -> dict[str, object]:
    (path,) = made.path("/var/lib/tklbam/targets").iterdir()
    found = json.loads(path.read_text())
    assert isinstance(found, dict)
    return found


def test_a_sound_target_is_found_sound_and_left_as_it_is(made: Machine) -> None:
    before = snapshot(target(made))
    names = before.keys()
    found = made.json("check")
    (one,) = found["targets"]
    check = one["check"]
    assert (check["ok"], check["chains"], check["sessions"], check["orphans"]) == (True, 2, 4, 0)
    assert check["size"] == sum(path.stat().st_size for path in target(made).iterdir())
    assert one["cost"]["amount"] == pytest.approx(0.5 * check["size"] / 2**30)
    assert abs(check["clock_skew"]) < 2
    after = snapshot(target(made))
    assert {name: after[name] for name in names if name != b"/"} == {n: before[n] for n in names if n != b"/"}
    assert after.keys() == names
    assert record(made)["check"] == check
    done = made.tklbam("check", "--quiet")
    assert (done.out, done.err) == ("", "")


def test_a_restore_test_restores_all_compares_and_leaves_nothing(made: Machine) -> None:
    before = snapshot(made.root, skip=(b"/var/lib/tklbam", b"/var/cache"))
    (one,) = made.json("check", "--restore-test")["targets"]
    test = one["restore_test"]
    # Seven files of ours, the users' two, and the extras: every one is the same here.
    assert (test["outcome"], test["problems"], test["changed"]) == ("complete", [], 0)
    assert test["files"] == test["compared"] > 12
    assert test["size"] > 5_500_000
    assert not list(made.path("/var/cache/tklbam/restore").glob("work"))
    assert snapshot(made.root, skip=(b"/var/lib/tklbam", b"/var/cache")) == before
    shown = " ".join(made.tklbam("status").out.split())
    assert re.search(r"Restore tested \d+ seconds? ago: \d+ files of the session of [\w :-]+, \d+ compared", shown)
    assert re.search(r"Checked \d+ seconds? ago: all was well", shown)
    assert "Size in all 4." in shown or "Size in all 5." in shown
    assert "about 0.00 USD" in shown or "less than 0.01 USD a month" in shown
    status = made.json("status")["targets"][0]
    assert status["restore_test"] == test
    assert status["size"] == one["check"]["size"]


def test_what_changed_here_since_the_backup_is_no_difference(made: Machine) -> None:
    text, big = made.path("/srv/text"), made.path("/srv/big")
    os.utime(made.write("/srv/changing", "9\n"), (1, 1))
    with big.open("r+b") as file:  # behind an unchanged size and time
        file.write(b"changed")
    os.utime(big, ns=(0, big.stat().st_mtime_ns))
    text.unlink()
    (one,) = made.json("check", "--restore-test")["targets"]
    test = one["restore_test"]
    assert (test["outcome"], test["problems"]) == ("complete", [])
    assert test["changed"] == 3


def test_a_file_that_is_older_here_than_the_backup_must_be_the_same(tmp_path: Path) -> None:
    (tmp_path / "restored").mkdir()
    (tmp_path / "live").mkdir()
    (tmp_path / "restored/a").write_text("one")
    (tmp_path / "live/a").write_text("two")
    with SafeRoot(tmp_path / "restored") as restored, SafeRoot(tmp_path / "live") as live:
        place = restored.at(b"/a")
        status = place.lstat()
        assert status is not None
        tally = Tally()
        later = os.stat(tmp_path / "live/a").st_ctime + 1
        assert "has not changed since" in _compare_with_live(place, status, live.at(b"/a"), later, tally)
        assert _compare_with_live(place, status, live.at(b"/a"), later - 2, tally) == ""
        assert (tally.compared, tally.changed) == (0, 1)
        (tmp_path / "live/a").write_text("one")
        assert _compare_with_live(place, status, live.at(b"/a"), later, tally) == ""
        assert tally.compared == 1


def test_damage_that_no_listing_shows_is_found_by_restoring(made: Machine) -> None:
    volume = files(made, "duplicity-full.*.vol2.difftar.gpg")[-1]
    content = bytearray(volume.read_bytes())
    for place in range(1000, len(content), 5000):
        content[place] ^= 0xFF
    volume.write_bytes(content)
    assert made.tklbam("check", "--quiet").status == 0
    done = made.tklbam("check", "--restore-test", "--quiet", status=1)
    assert volume.name in done.err
    assert record(made)["restore_test"]["outcome"] == "failed"  # type: ignore[index]
    shown = " ".join(made.tklbam("status").out.split())
    assert "Restore FAILED" in shown
    assert volume.name in shown


def test_missing_and_cut_files_are_named_and_the_older_chain_counts(made: Machine) -> None:
    volume, manifest = (files(made, f"duplicity-full.*.{kind}.gpg")[-1] for kind in ("vol2.difftar", "manifest"))
    volume.unlink()
    found = made.json("check", status=3)
    check = found["targets"][0]["check"]
    assert (found["exit_code"], check["ok"], check["chains"], check["sessions"]) == (3, False, 1, 2)
    assert "volume 2" in check["problems"][0]
    assert "a session it builds on is missing or damaged" in check["problems"][1]
    assert made.tklbam("check", "--restore-test", "--quiet", status=1).err.count("volume 2") >= 1
    manifest.write_bytes(manifest.read_bytes()[:40])
    shown = made.tklbam("list").out
    assert shown.count("DAMAGED") >= 2
    assert "2 sessions in 1 chain" in shown
    for path in files(made, "duplicity-full*"):
        path.unlink()
    made.tklbam("check", "--quiet", status=1)


def test_a_session_that_is_gone_is_missed(made: Machine) -> None:
    newest = re.findall(r"\d{8}T\d{6}Z", files(made, "duplicity-inc*")[-1].name)[-1]
    for path in files(made, f"*.to.{newest}.*"):
        path.unlink()
    done = made.tklbam("check", status=3)
    assert "the newest stored, is not there" in done.err
    assert "3 sessions in 2 chains" in done.out


def test_files_of_no_session_are_told_and_are_no_fault(made: Machine) -> None:
    (target(made) / "letter.txt").write_text("dear")
    shutil.copy(files(made, "*.vol1.*")[0], target(made) / "duplicity-full.20200101T000000Z.vol1.difftar.gpg")
    done = made.tklbam("check")
    assert "of no session: duplicity-full.20200101T000000Z.vol1.difftar.gpg, letter.txt" in done.out
    assert record(made)["check"]["orphans"] == 2  # type: ignore[index]
    listed = made.json("list")[0]
    assert listed["orphans"]["files"] == 2


def test_extras_that_are_not_those_stored_are_found(made: Machine) -> None:
    newest = max(made.path("/var/lib/tklbam/sessions").iterdir())
    content = json.loads(newest.read_text())
    newest.write_text(json.dumps({**content, "extras_digest": "0" * 64}))
    done = made.tklbam("check", "--restore-test", "--quiet", status=3)
    assert "the metadata and dumps are not those that were stored" in done.err
    shown = " ".join(made.tklbam("status").out.split())
    assert "Restore INCOMPLETE" in shown
    index = made.path("/var/lib/tklbam/extras-index")
    text = re.sub(r"^[0-9a-f]{64}(\t\d+\tetc/group)$", "f" * 64 + r"\1", index.read_text(), flags=re.MULTILINE)
    index.write_text(text)
    from tklbam_core.extras import extras_digest
    from tklbam_core.registry import Registry

    digest = extras_digest(Registry(made.path("/var/lib/tklbam")).extras_index(print))
    newest.write_text(json.dumps({**content, "extras_digest": digest}))
    done = made.tklbam("check", "--restore-test", "--quiet", status=3)
    assert done.err == "warning: TKLBAM/etc/group: other content than was stored\n"


def test_targets_that_cannot_be_used_are_errors_and_one_of_several_leaves_the_others(made: Machine) -> None:
    gone = f"file://{made.root}/no/where"
    assert_clear(made.tklbam("check", "--quiet", "--address", gone, status=1), "does not exist")
    good = f"file://{target(made)}"
    done = made.tklbam("check", "--address", gone, "--address", good, status=3)
    assert "does not exist" in done.err
    assert "4 sessions in 2 chains" in done.out
    conf(made)
    assert_clear(made.tklbam("check", "--quiet", status=2), "no target is named", "--address URL")


def test_a_target_that_is_gone_is_not_made_by_looking_and_an_emptied_one_is_of_no_use(made: Machine) -> None:
    place = target(made)
    for file in place.iterdir():
        file.unlink()
    assert "the newest stored, is not there" in made.tklbam("check", "--quiet", status=1).err
    place.rmdir()
    assert_clear(made.tklbam("check", "--quiet", status=1), "does not exist")
    assert not place.exists()


def test_a_target_that_can_only_be_read_is_told(made: Machine, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "20m") as disk:
        shutil.copytree(target(made), disk / "target")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        done = made.tklbam("check", "--address", f"file://{disk}/target", status=3)
    assert "NOT WRITABLE" in done.out
    assert "no backup could be stored" in done.err
    assert "Read-only" in done.err


def test_a_copy_of_the_key_is_tested_too(made: Machine, tmp_path: Path) -> None:
    made.tklbam("escrow", "--quiet", str(tmp_path / "key"), input="pass phrase\n")
    (tmp_path / "passphrase").write_text("pass phrase\n")
    words = ["check", "--restore-test", "--quiet", "--passphrase-file", str(tmp_path / "passphrase")]
    made.tklbam(*words, "--keyfile", str(tmp_path / "key"))
    (tmp_path / "other").write_text("not the secret\n")
    done = made.tklbam("check", "--restore-test", "--quiet", "--secretfile", str(tmp_path / "other"), status=1)
    assert "the secret does not open the archive" in done.err


def test_a_backup_that_is_running_is_waited_for(made: Machine) -> None:
    with locked(Host.from_environment(made.root)):
        assert_clear(made.tklbam("check", "--quiet", status=1), "another run", "Wait")


def test_too_little_room_for_a_restore_test_is_told_before(made: Machine, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "small", "1m") as small:
        words = ["check", "--restore-test", "--quiet", "--restore-cache-dir", str(small)]
        done = made.tklbam(*words, status=1)
    assert "are free" in done.err or "are allowed" in done.err


def test_an_upload_as_it_is_can_be_tested(made: Machine, tmp_path: Path) -> None:
    address = f"file://{tmp_path}/raw"
    made.tklbam("backup", "--quiet", "--raw-upload", str(made.path("/etc")), "--address", address)
    (one,) = made.json("check", "--restore-test", "--address", address)["targets"]
    assert one["restore_test"]["outcome"] == "complete"
    assert one["restore_test"]["files"] == len([path for path in made.path("/etc").rglob("*") if path.is_file()])


def test_the_plan_of_a_restore_names_the_session(made: Machine) -> None:
    times = [session["time"] for session in made.json("list")[0]["sessions"]]
    assert made.json("restore", "--simulate", "--time", times[1])["session"] == times[1]
    said = made.tklbam("restore", "--simulate", "--time", times[2]).err
    assert re.search(r"^  session    of \w{3} \d{4}-\d\d-\d\d \d\d:\d\d, \d+ \w+ ago$", said, re.MULTILINE)


def test_every_restore_takes_the_session_that_was_newest_when_it_began(made: Machine) -> None:
    """The extras of one session and the files of another would be no backup at all."""
    from tklbam_core.cli.common import Output
    from tklbam_core.cli.setup import prepare
    from tklbam_core.restore_source import ArchiveSource

    with prepare(Host.from_environment(made.root), Output(quiet=True)) as run:
        target_ = run.context.target(run.config.addresses[0])
        source = ArchiveSource(engine=run.engine, target=target_, secret=run.registry.require_secret())
        work = made.root.parent / "work"
        work.mkdir()
        source.fetch_extras(work)
        made.write("/srv/changing", "newer\n")
        made.tklbam("backup", "--quiet")
        overlay = source.fetch_overlay(work, None)
        assert (overlay / "srv/changing").read_text() == "3\n"
        assert replace(source).session.time > source.session.time
