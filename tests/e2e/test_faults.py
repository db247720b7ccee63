"""What goes wrong ends with the right exit code and a line or two that say what to do, and nothing is changed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.e2e.archive import session_times
from tests.e2e.machine import Machine
from tests.e2e.small import Unchanged, assert_clear, conf, initialised, other_system, small_system
from tests.e2e.unprivileged import NOBODY, as_nobody
from tests.unit.small_disks import tmpfs
from tklbam_core.host import Host
from tklbam_core.lock import locked

pytestmark = pytest.mark.root

PASSPHRASE = "correct horse"
HOME = "/home/OFFICE\\nora"
"""A file name with a backslash, as accounts of a domain have them."""


@dataclass(frozen=True)
class Stored:
    """A system with one session on a target, of three volumes or more; its key, protected; and its extract."""

    machine: Machine
    address: str
    key: Path
    extract: Path
    time: datetime

    @property
    def target(self) -> Path:
        return Path(self.address.removeprefix("file://"))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    base = tmp_path_factory.mktemp("stored")
    made = initialised(base / "root")
    made.write("/srv/big", os.urandom(2_500_000))
    made.write("/srv/text", "A's text\n")
    made.write(HOME, "of a domain\n")
    address = f"file://{base / 'target'}"
    made.tklbam("backup", "--address", address, "--volsize", "1")
    made.tklbam("backup", "--dump", str(base / "extract"))
    made.tklbam("escrow", str(base / "key"), input=f"{PASSPHRASE}\n")
    return Stored(made, address, base / "key", base / "extract", session_times(address)[0])


@pytest.fixture
def damaged(stored: Stored, tmp_path: Path) -> Stored:
    """The same with a target of its own, to be damaged."""
    shutil.copytree(stored.target, tmp_path / "target")
    return Stored(stored.machine, f"file://{tmp_path / 'target'}", stored.key, stored.extract, stored.time)


@pytest.fixture
def b(tmp_path: Path) -> Machine:
    return other_system(tmp_path / "b")


def volume(target: Path, number: int) -> Path:
    return next(target.glob(f"duplicity-full.*.vol{number}.difftar.gpg"))


# --- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["input", "noninteractive", "file"])
def test_a_wrong_passphrase(way: str, stored: Stored, b: Machine, tmp_path: Path) -> None:
    words = ["restore", "--quiet", "--address", stored.address, "--keyfile", str(stored.key)]
    given: str | None = "wrong\n"
    if way == "file":
        (tmp_path / "passphrase").write_text("wrong\n")
        words, given = [*words, "--passphrase-file", str(tmp_path / "passphrase")], None
    elif way == "noninteractive":
        words.append("--noninteractive")
    with Unchanged(b):
        done = b.tklbam(*words, status=11, input=given)
    assert_clear(done, "Incorrect passphrase")
    assert done.out == ("Passphrase: " if way == "noninteractive" else "")


def test_the_right_passphrase_opens_what_a_wrong_one_does_not(stored: Stored, b: Machine) -> None:
    words = ["restore", "--quiet", "--address", stored.address, "--keyfile", str(stored.key), "--limits", "/srv/text"]
    b.tklbam(*words, input=f"{PASSPHRASE}\n")
    assert b.path("/srv/text").read_text() == "A's text\n"


@pytest.mark.parametrize("damage", ["a bit", "cut short", "empty", "no packet", "no file"])
def test_a_corrupt_key_file(damage: str, stored: Stored, b: Machine, tmp_path: Path) -> None:
    packet = bytearray(base64.b64decode(stored.key.read_bytes()))
    packet[len(packet) // 2] ^= 1
    content = {
        "a bit": base64.b64encode(packet) + b"\n",
        "cut short": stored.key.read_bytes()[:60],
        "empty": b"",
        "no packet": b"\x7fELF\0\0 not a key\n",
    }
    key = tmp_path / "key"
    if damage in content:
        key.write_bytes(content[damage])
    words = ["restore", "--quiet", "--address", stored.address, "--keyfile", str(key)]
    with Unchanged(b):
        done = b.tklbam(*words, status=2 if damage == "no file" else 1, input=f"{PASSPHRASE}\n")
    assert_clear(done, str(key))


def test_the_key_of_another_system_does_not_open_the_archive(stored: Stored, tmp_path: Path) -> None:
    other = initialised(tmp_path / "other")
    with Unchanged(other):
        done = other.tklbam("restore", "--quiet", "--address", stored.address, status=1)
    assert_clear(done, "the secret does not open the archive", stored.address, "key")


def test_input_at_its_end_where_a_passphrase_is_needed(stored: Stored, b: Machine, tmp_path: Path) -> None:
    with Unchanged(b):
        done = b.tklbam("restore", "--quiet", "--address", stored.address, "--keyfile", str(stored.key), status=2)
    assert_clear(done, "passphrase", "standard input has ended")
    key = stored.machine.path("/var/lib/tklbam/key")
    before = key.read_bytes()
    assert_clear(stored.machine.tklbam("passphrase", "--quiet", status=2), "standard input has ended")
    assert_clear(stored.machine.tklbam("escrow", str(tmp_path / "copy"), "--quiet", status=2), "input has ended")
    assert key.read_bytes() == before
    assert not (tmp_path / "copy").exists()


# --- the archive ------------------------------------------------------------------------------------------------------


def test_a_corrupt_volume(damaged: Stored) -> None:
    broken = volume(damaged.target, 2)
    content = bytearray(broken.read_bytes())
    for place in range(1000, len(content), 5000):
        content[place] ^= 0xFF
    broken.write_bytes(content)
    with Unchanged(damaged.machine):
        done = damaged.machine.tklbam("restore", "--quiet", "--address", damaged.address, status=1)
    assert_clear(done, broken.name, damaged.address, "damaged", "--time")


def test_a_missing_volume_and_the_backup_after_it(damaged: Stored) -> None:
    made = damaged.machine
    volume(damaged.target, 2).unlink()
    with Unchanged(made):
        done = made.tklbam("restore", "--quiet", "--address", damaged.address, status=1)
    assert_clear(done, "volume 2", damaged.address, "damaged", "--time")
    after = made.json("backup", "--address", damaged.address)
    assert after["outcome"] == "complete"
    assert after["sessions"][0]["kind"] == "full", "nothing can be built on a chain with a hole"
    assert after["sessions"][0]["verified"]


def test_a_time_before_the_first_session(stored: Stored) -> None:
    earlier = (stored.time - timedelta(hours=1)).isoformat()
    with Unchanged(stored.machine):
        done = stored.machine.tklbam("restore", "--quiet", "--address", stored.address, "--time", earlier, status=1)
    assert_clear(done, "no session", f"{stored.time:%Y-%m-%dT%H:%M:%SZ}")
    done = stored.machine.tklbam("restore", "--quiet", "--address", stored.address, "--time", "soon", status=2)
    assert_clear(done, "'soon' is no time", "3D")


# --- addresses and targets --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_no_address(command: str, stored: Stored) -> None:
    with Unchanged(stored.machine):
        done = stored.machine.tklbam(command, "--quiet", status=2)
    assert_clear(done, "--address URL")


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_an_unknown_scheme_names_what_to_install(command: str, stored: Stored, tmp_path: Path) -> None:
    made = Machine(stored.machine.root, {"TKLBAM_CONF": str(tmp_path)})
    (tmp_path / "conf").write_text("disable-plugin storage:s3\n")
    with Unchanged(made):
        done = made.tklbam(command, "--quiet", "--address", "s3://s3.amazonaws.com/bucket", status=1)
    assert_clear(done, "no plugin stores to s3://", "Install tklbam-storage-s3.")
    assert_clear(made.tklbam(command, "--quiet", "--address", "gopher://x/y", status=1), "gopher://", "spelling")
    assert_clear(made.tklbam(command, "--quiet", "--address", "/srv/x", status=2), "URL", "file:///srv/x")


def test_a_target_that_cannot_be_written(stored: Stored, tmp_path: Path) -> None:
    made = stored.machine
    (tmp_path / "file").write_text("not a directory\n")
    with tmpfs(tmp_path / "mounted", "1m") as mounted, Unchanged(made):
        subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
        for place, why in (
            (tmp_path / "file", "not a directory"),
            (mounted, "Read-only"),
            (mounted / "new", "Read-only"),
        ):
            done = made.tklbam("backup", "--quiet", "--address", f"file://{place}", status=1)
            assert_clear(done, str(place), why)
        done = made.tklbam("backup", "--quiet", "--address", f"file://{tmp_path / 'no/parent'}", status=1)
        assert_clear(done, str(tmp_path / "no"))


# --- full disks -------------------------------------------------------------------------------------------------------


def test_a_full_target_keeps_the_earlier_session(tmp_path: Path) -> None:
    made = initialised(tmp_path / "root")
    made.write("/srv/text", "stored\n")
    with tmpfs(tmp_path / "target", "2m") as target:
        words = ["backup", "--quiet", "--volsize", "1", "--address", f"file://{target}"]
        made.tklbam(*words)
        made.write("/srv/big", os.urandom(5_000_000))
        with Unchanged(made):
            assert_clear(made.tklbam(*words, status=1), f"{target}", "free")
        report = made.json("status", status=0)["targets"][0]
        assert report["last"]["outcome"] == "failed"
        assert report["last_complete"] is not None
        made.path("/srv/big").unlink()
        made.tklbam("restore", "--address", f"file://{target}", "--raw-download", str(tmp_path / "fetched"))
        assert (tmp_path / "fetched/srv/text").read_text() == "stored\n"


def test_a_full_temporary_directory(stored: Stored, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "temp", "600k") as temp:
        made = Machine(stored.machine.root, {"TMPDIR": str(temp)})
        with Unchanged(made):
            address = f"file://{tmp_path / 'target'}"
            assert_clear(made.tklbam("backup", "--quiet", "--address", address, status=1), str(temp), "free")
        # What is read from a directory of this machine needs no room there.
        made.tklbam("restore", "--quiet", "--simulate", "--address", stored.address)
        assert list(temp.iterdir()) == []
        assert list((tmp_path / "target").iterdir()) == [], "nothing that looks like a session"


@pytest.mark.parametrize("fetched", ["on the full disk", "elsewhere"])
def test_a_full_restored_root_is_as_it_was(fetched: str, stored: Stored, tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "2m") as disk:
        made = small_system(disk)
        made.write("/srv/text", "B's own text\n", 0o600)
        made.write("/srv/zzz", "B's own\n")
        words = ["restore", "--quiet", str(stored.extract)]
        if fetched == "elsewhere":
            words += ["--restore-cache-dir", str(tmp_path / "cache")]
        with Unchanged(made):
            done = made.tklbam(*words, status=1)
        if fetched == "on the full disk":
            assert_clear(done, str(disk), "free")
        else:  # one line more: the restore had begun, and is undone
            assert_clear(done, "no space left for /srv/big", "undoing it", lines=3)
        assert not made.path("/var/backups/tklbam-rollback").exists()


def test_a_root_that_is_no_system_gets_nothing(stored: Stored, tmp_path: Path) -> None:
    place = tmp_path / "folder"
    place.mkdir()
    done = Machine(place).tklbam("restore", "--quiet", str(stored.extract), status=2)
    assert_clear(done, f"{place} holds no system", "--raw-download")
    assert list(place.rglob("etc")) == []


def test_a_disk_too_small_for_all_has_room_for_what_is_asked_for(stored: Stored, tmp_path: Path) -> None:
    """Of an archive, and of an extract."""
    for number, source in enumerate(
        (["--address", stored.address, "--keyfile", str(stored.key)], [str(stored.extract)])
    ):
        made = other_system(tmp_path / str(number))
        with tmpfs(made.path("/var/cache"), "2m"), Unchanged(made):
            done = made.tklbam("restore", "--quiet", *source, status=1, input=f"{PASSPHRASE}\n")
            assert_clear(done, "needs", "--restore-cache-dir")
        with tmpfs(made.path("/var/cache"), "2m"):
            words = ["--quiet", *source, "--limits", f"/srv/text {HOME}"]
            made.tklbam("restore", *words, input=f"{PASSPHRASE}\n")
        assert made.path("/srv/text").read_text() == "A's text\n"
        assert made.path(HOME).read_text() == "of a domain\n"
        assert not made.path("/srv/big").exists()


def test_what_is_asked_for_takes_no_more_than_it_may(stored: Stored, tmp_path: Path) -> None:
    """So that services find room to go on. Of an archive, of one that duplicity reads (all of it), of an extract."""
    archive = ["--address", stored.address, "--keyfile", str(stored.key)]
    for number, source in enumerate((archive, archive, [str(stored.extract)])):
        made = other_system(tmp_path / str(number))
        if number == 1:
            conf(made, "archive-engine duplicity")
        words = ["--quiet", *source, "--limits", "/srv/big"]
        with tmpfs(made.path("/var/cache"), "4m"):
            with Unchanged(made):
                done = made.tklbam("restore", *words, status=1, input=f"{PASSPHRASE}\n")
                assert_clear(done, "are allowed", "--restore-cache-size")
            made.tklbam("restore", *words, "--restore-cache-size", "90%", input=f"{PASSPHRASE}\n")
        assert made.path("/srv/big").read_bytes() == stored.machine.path("/srv/big").read_bytes()


def test_a_disk_too_small_for_what_is_to_be_done(stored: Stored, tmp_path: Path) -> None:
    """The list of it is kept there."""
    shutil.copytree(stored.extract, tmp_path / "extract", symlinks=True)
    with (tmp_path / "extract/TKLBAM/fsdelta").open("a") as delta:
        delta.writelines(f"d\t/srv/{'x' * 200}{number:07}\n" for number in range(10_000))
    made = other_system(tmp_path / "b")
    with tmpfs(made.path("/var/cache"), "1m"), Unchanged(made):
        done = made.tklbam("restore", "--quiet", str(tmp_path / "extract"), "--limits", "/srv", status=1)
        assert_clear(done, "no space left for", str(made.path("/var/cache")))


def test_a_disk_too_small_for_what_is_replaced_is_told_before_anything_changes(stored: Stored, tmp_path: Path) -> None:
    made = other_system(tmp_path / "b")
    made.write("/srv/big", os.urandom(4 << 20))
    with tmpfs(made.path("/var/backups"), "2m") as backups, Unchanged(made):
        done = made.tklbam("restore", "--quiet", str(stored.extract), "--limits", "/srv/big", status=1)
        assert_clear(done, "saving what the restore replaces needs 4.0 MB", str(backups), "Make room there")


# --- configuration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("volsize plenty", ("volsize", "10000")),
        ("full-backup 3X", ("full-backup", "now")),
        ("colour red", ("colour",)),
    ],
)
def test_a_bad_conf_line(line: str, words: tuple[str, ...], stored: Stored, tmp_path: Path) -> None:
    made = Machine(stored.machine.root, {"TKLBAM_CONF": str(tmp_path)})
    (tmp_path / "conf").write_text(f"# a comment\n\n{line}\nkeep-full 3\n")
    with Unchanged(made):
        done = made.tklbam("backup", "--quiet", "--address", stored.address, status=2)
    assert_clear(done, f"{tmp_path / 'conf'}:3", *words)


# --- other runs, other users ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_a_second_run_names_the_first(command: str, stored: Stored) -> None:
    made = stored.machine
    with locked(Host.from_environment(made.root)), Unchanged(made):
        done = made.tklbam(command, "--quiet", "--address", stored.address, status=1)
    assert_clear(done, f"process {os.getpid()}", str(made.root))


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that everybody can reach, as pytest's own can't."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def test_an_unreadable_file_makes_the_backup_incomplete_and_is_named(public: Path) -> None:
    made = small_system(public / "root")
    made.write("/srv/text", "readable\n")
    made.write("/srv/closed/within", "not readable\n").parent.chmod(0o700)
    made.write("/srv/secret", "not readable\n", 0o600)
    (public / "target").mkdir()
    os.chown(public / "target", NOBODY, NOBODY)
    for directory, folders, files in os.walk(made.root):
        for place in [directory, *(os.path.join(directory, name) for name in [*folders, *files])]:
            if not place.endswith(("/closed", "/secret", "/within")):
                os.chown(place, NOBODY, NOBODY)

    def nobody(*words: str, status: int) -> str:
        argv, environment = as_nobody(made.command(*words), dict(os.environ))
        done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment)
        assert done.returncode == status, f"{words}: {done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    nobody("init", "--solo", "--force-profile=empty", status=0)
    said = nobody("backup", "--address", f"file://{public / 'target'}", status=3)
    for path in ("/srv/secret", "/srv/closed"):
        assert f"not in the backup: '{path}': Permission denied" in said
    assert "INCOMPLETE" in said
    status = json.loads(nobody("status", "--json", status=10))["targets"][0]
    assert status["last"]["outcome"] == "incomplete"
    assert {missing.split("'")[1] for missing in status["last"]["missing"]} == {"/srv/secret", "/srv/closed"}
    assert "/srv/secret" in nobody("status", status=10)
    nobody("restore", "--address", f"file://{public / 'target'}", "--raw-download", str(public / "root/got"), status=0)
    assert (public / "root/got/srv/text").read_text() == "readable\n"
