"""Several targets: each backup goes to all, is made once, and what goes wrong with one is that one's own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.unit.command_line import Ran, Tklbam, tklbam  # noqa: F401 - fixture
from tests.unit.plugin_folder import Install, install  # noqa: F401 - fixture
from tests.unit.small_disks import tmpfs
from tklbam_core.context import Context
from tklbam_core.engine.duplicity import DuplicityEngine
from tklbam_core.engine.interface import WriteRequest, WriteResult
from tklbam_core.host import Host
from tklbam_core.plugins import Plugins
from tklbam_core.raw import upload
from tklbam_core.registry import Registry
from tklbam_core.schedule import Interval

# ruff: noqa: F811

pytestmark = pytest.mark.root

ODD = """
from tklbam_core.api import TargetError, hookimpl
from tklbam_storage_local.target import LocalTarget
from pathlib import Path

class Odd(LocalTarget):
    def check(self, *, write):
        if "moody" in self.address:
            raise TargetError("the cloud is in a mood", "Wait.")
        super().check(write=write)
    def files(self):
        if "broken" in self.address:
            raise RuntimeError("a mistake of its author's")
        return super().files()

@hookimpl
def tklbam_storage_target(request):
    if request.address.startswith("odd:"):
        return Odd(request.address, Path("/" + request.address.removeprefix("odd:///")))
"""

COUNTING = """
from tklbam_core.api import DatabaseReport, hookimpl

@hookimpl
def tklbam_database_dump(request):
    (request.extras / "countfs").mkdir()
    (request.extras / "countfs/rows").write_text("rows")
    with open(PLACE, "a") as calls:
        calls.write("dumped\\n")
    return DatabaseReport(engine="count", directory="countfs", server="")
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tklbam: Tklbam) -> Path:
    root = tmp_path / "root"
    for folder in ("etc/tklbam", "var/log", "srv"):
        (root / folder).mkdir(parents=True)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    monkeypatch.setenv("TKLBAM_ROOT", str(root))
    assert tklbam("init", "--solo", "--force-profile", "empty").status == 0
    return root


def restored(tklbam: Tklbam, address: str, place: Path) -> dict[str, str]:
    done = tklbam("restore", "--address", address, "--raw-download", str(place))
    assert done.status == 0, done
    found = {path.relative_to(place): path for path in place.rglob("*") if path.is_file()}
    return {str(name): path.read_text() for name, path in found.items() if name.name in ("passwd", "text")}


def test_one_that_missed_a_session_gets_all_with_the_next(tklbam: Tklbam, root: Path, tmp_path: Path) -> None:
    disk, cloud = f"file://{tmp_path}/disk", f"file://{tmp_path}/mnt/cloud"
    (tmp_path / "mnt").mkdir()
    (root / "etc/tklbam/conf").write_text(f"address {disk}\naddress {cloud}\naddress {disk}/\n")
    passwd = root / "etc/passwd"

    def backup(content: str, status: int) -> Ran:
        # The same size and a time of long ago each: only what the index remembers tells them apart.
        passwd.write_text(f"root:x:0:0:{content}:/root:/bin/sh\n")
        os.utime(passwd, (1000, 1000))
        (root / "srv/text").write_text(content * 3)
        done = tklbam("backup", "/srv", "--json")
        assert done.status == status, done
        return done

    first = json.loads(backup("root", 0).out)
    assert [each["address"] for each in first["sessions"]] == [disk, cloud], "each target once"
    (tmp_path / "mnt").rename(tmp_path / "gone")
    second = backup("toor", 3)
    found = json.loads(second.out)
    assert [each["address"] for each in found["sessions"]] == [disk]
    assert list(found["failed"]) == [cloud]
    assert cloud in found["missing"][0]
    status = {each["address"]: each for each in json.loads(tklbam("status", "--json").out)["targets"]}
    assert (status[disk]["last"]["outcome"], status[cloud]["last"]["outcome"]) == ("complete", "failed")
    assert status[disk]["last"]["missing"] == [], "what another target lacks is not missing here"
    assert "does not exist" in status[cloud]["last"]["error"]
    (tmp_path / "gone").rename(tmp_path / "mnt")
    # What the disk has now is new to the cloud, and the other way round.
    backup("toor", 0)
    assert restored(tklbam, cloud, tmp_path / "a") == restored(tklbam, disk, tmp_path / "b") == {
        "srv/text": "toortoortoor",
        "TKLBAM/etc/passwd": "root:x:0:0:toor:/root:/bin/sh\n",
    }  # fmt: skip
    backup("root", 0)
    assert restored(tklbam, cloud, tmp_path / "c") == restored(tklbam, disk, tmp_path / "d")
    assert "root:x:0:0:root" in (tmp_path / "c/TKLBAM/etc/passwd").read_text()
    chains = {
        each["address"]: each["last"]["chain_length"] for each in json.loads(tklbam("status", "--json").out)["targets"]
    }
    assert chains == {disk: 4, cloud: 3}


def test_what_is_stored_is_made_once_for_all(tklbam: Tklbam, root: Path, tmp_path: Path, install: Install) -> None:
    install("count-db", {"databases": {"count": "count_db"}}, count_db=COUNTING + f"PLACE = '{tmp_path}/calls'\n")
    targets = [f"file://{tmp_path}/{name}" for name in "abc"]
    done = tklbam("backup", "--json", *(word for address in targets for word in ("--address", address)))
    assert [each["address"] for each in json.loads(done.out)["sessions"]] == targets
    assert (tmp_path / "calls").read_text() == "dumped\n"


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("gopher://x/y", "no plugin stores to gopher://"),
        ("file://host/x", "names a host"),
        ("odd:///moody/x", "odd:///moody/x: the cloud is in a mood"),
        (
            "odd:///tmp/broken",
            "odd:///tmp/broken: something unforeseen happened: RuntimeError: a mistake of its author's",
        ),
        ("gopher://me:hunter2@host/x", "@host/x: no plugin"),
    ],
)
def test_any_failure_of_one_leaves_the_other_whole(
    tklbam: Tklbam, root: Path, tmp_path: Path, install: Install, bad: str, says: str
) -> None:
    install("odd-storage", {"storage": {"odd": "odd_storage"}}, odd_storage=ODD)
    good = f"file://{tmp_path}/good"
    (root / "etc/tklbam/conf").write_text(f"address {bad}\naddress {good}\n")
    done = tklbam("backup")
    assert done.status == 3, done
    (line,) = [line for line in done.err.splitlines() if line.startswith("warning: not stored: ")]
    assert says in line
    assert f"Stored a full session at {good}" in done.err
    assert "hunter2" not in done.err
    assert done.err.rstrip().endswith("INCOMPLETE: 1 thing not stored; see the warnings above.")
    shown = " ".join(tklbam("status").out.split())
    assert "Last session FAILED" in shown
    assert tklbam("backup", "--simulate").status in (0, 3)
    assert tklbam("restore", "--address", good, "--simulate").status == 0


def test_if_all_fail_each_says_why(tklbam: Tklbam, root: Path, tmp_path: Path, install: Install) -> None:
    install("odd-storage", {"storage": {"odd": "odd_storage"}}, odd_storage=ODD)
    (root / "etc/tklbam/conf").write_text(f"address odd:///moody/x\naddress file://{tmp_path}/no/where\n")
    done = tklbam("backup")
    assert done.status == 1
    assert "none of the targets took the backup: odd:///moody/x: the cloud is in a mood; file://" in done.err
    assert "no does not exist" in done.err
    records = {record.address: record.error for record in Registry(root / "var/lib/tklbam").sessions.newest_first()}
    assert records["odd:///moody/x"] == "the cloud is in a mood"
    assert "does not exist" in records[f"file://{tmp_path}/no/where"]
    assert not (root / "TKLBAM").exists()


def test_a_full_disk_under_the_extras_is_recorded_as_a_failure(tklbam: Tklbam, root: Path, tmp_path: Path) -> None:
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n" + "#" * 300_000)
    with tmpfs(tmp_path / "small", "128k") as small:
        done = tklbam("backup", "--address", f"file://{tmp_path}/target", "--extras-dir", str(small))
    assert done.status == 1
    assert "No space left on device" in done.err
    shown = tklbam("status").out
    assert "FAILED" in shown
    assert "No space left on device" in shown
    assert "Interrupted" not in shown


REMOTE = """
import time
from pathlib import Path
from tklbam_core.api import TargetError, hookimpl
from tklbam_storage_local.target import LocalTarget

class Remote(LocalTarget):
    parallel_writes = 2
    def check(self, *, write):
        end = time.monotonic() + 60
        while not EXTRAS.exists():
            if time.monotonic() > end:
                raise TargetError("nothing was done meanwhile", "")
            time.sleep(0.01)
        if "locked" in self.address:
            raise TargetError("the key does not fit", "Find it.")
        super().check(write=write)

@hookimpl
def tklbam_storage_target(request):
    if request.address.startswith("remote:"):
        return Remote(request.address, Path("/" + request.address.removeprefix("remote:///")))
"""


def test_a_target_is_proven_while_the_system_is_scanned_and_before_anything_is_dumped(
    tklbam: Tklbam, root: Path, tmp_path: Path, install: Install
) -> None:
    install(
        "remote-storage",
        {"storage": {"remote": "remote_storage"}},
        remote_storage=REMOTE + f"EXTRAS = Path('{root}/TKLBAM')\n",
    )
    install("count-db", {"databases": {"count": "count_db"}}, count_db=COUNTING + f"PLACE = '{tmp_path}/calls'\n")
    (tmp_path / "open").mkdir()
    done = tklbam("backup", "--address", f"remote://{tmp_path}/locked")
    assert done.status == 1, done
    assert "the key does not fit" in done.err
    assert not (tmp_path / "calls").exists()
    assert not (root / "TKLBAM").exists()
    both = ("--address", f"remote://{tmp_path}/open", "--address", f"remote://{tmp_path}/locked")
    done = tklbam("backup", *both)
    assert done.status == 3, done
    assert "key does not fit" in done.err
    assert f"Stored a full session at remote://{tmp_path}/open" in done.err


def test_a_backup_lists_its_target_before_it_stores_and_after(
    tklbam: Tklbam, root: Path, tmp_path: Path, install: Install
) -> None:
    counting = ODD.replace(
        '        if "broken" in', f"        open('{tmp_path}/listed', 'a').write('x')\n        if \"broken\" in"
    )
    install("odd-storage", {"storage": {"odd": "odd_storage"}}, odd_storage=counting)
    for _ in range(2):
        (tmp_path / "listed").write_text("")
        done = tklbam("backup", "--address", f"odd://{tmp_path}/target")
        assert done.status == 0, done
        assert len((tmp_path / "listed").read_text()) == 2


class Lossy(DuplicityEngine):
    """Loses a volume right after it was stored, as a bad disk would."""

    def write(self, target: object, request: WriteRequest) -> WriteResult:
        result = super().write(target, request)  # type: ignore[arg-type]
        max(Path(target.local_path()).glob("*.vol1.*")).unlink()  # type: ignore[attr-defined]
        return result


def test_a_raw_upload_is_verified(root: Path, tmp_path: Path, tklbam: Tklbam, monkeypatch: pytest.MonkeyPatch) -> None:
    address, source = f"file://{tmp_path}/raw", root / "srv"
    (source / "text").write_text("x")
    done = tklbam("backup", "--raw-upload", str(source), "--address", address)
    assert done.status == 0
    assert "every volume is there" in done.err
    host = Host.from_environment(root)
    registry = Registry(host.registry_dir)
    context = Context(host=host, registry=registry, plugins=Plugins(), warn=print, note=print)
    engine = Lossy(registry.cache_dir)
    target = context.target(address)
    _, verification = upload(source, target, registry.require_secret(), Interval.parse("now"), context, engine, 25)
    assert not verification.ok
    assert "volume 1 of 1 is missing" in verification.problems[0]
    monkeypatch.setattr("tklbam_core.cli.setup.DuplicityEngine", Lossy)
    done = tklbam("backup", "--raw-upload", str(source), "--address", address, "--full-backup", "now")
    assert done.status == 3
    assert "its verification failed" in done.err
