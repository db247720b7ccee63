"""The local storage plugin: the contract, its addresses, and errors that say what to do."""

from __future__ import annotations

import io
import os
import subprocess
import time
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tklbam_core.api import SpaceError, Target, TargetError, TargetRequest
from tklbam_core.testing.storage import StorageContract
from tklbam_storage_local.plugin import LocalStorage
from tklbam_storage_local.target import OLD, STRAY, LocalTarget


def opened(address: str) -> Target:
    target = LocalStorage().tklbam_storage_target(TargetRequest(address=address))
    assert target is not None
    return target


class TestContract(StorageContract):
    @pytest.fixture
    def target(self, tmp_path: Path) -> Target:
        return opened(f"file://{tmp_path}/store")


def test_the_plugin_is_found_by_its_scheme() -> None:
    (point,) = [point for point in entry_points(group="tklbam.storage") if point.name == "file"]
    assert point.load() is LocalStorage


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("file:///srv/backup", "/srv/backup"),
        ("file:///srv/backup/", "/srv/backup"),
        ("FILE://localhost/srv/backup", "/srv/backup"),
        ("file:///srv/my%20backup", "/srv/my backup"),
        ("file:///srv/my backup", "/srv/my backup"),
        ("file:///srv/%C3%BC", "/srv/ü"),
    ],
)
def test_addresses(address: str, path: str) -> None:
    target = opened(address)
    assert target.local_path() == Path(path)
    assert target.address == address


@pytest.mark.parametrize("address", ["file:srv", "file://host/srv", "file://", "file:///", "file:///srv/../etc"])
def test_an_address_that_makes_no_sense_is_an_error_with_a_remedy(address: str) -> None:
    with pytest.raises(TargetError) as caught:
        opened(address)
    assert caught.value.remedy


@pytest.mark.parametrize("address", ["s3://bucket", "/srv/backup", "sftp://host/file", ""])
def test_other_addresses_are_not_ours(address: str) -> None:
    assert LocalStorage().tklbam_storage_target(TargetRequest(address=address)) is None


def test_opening_touches_nothing(tmp_path: Path) -> None:
    opened(f"file://{tmp_path}/store")
    assert list(tmp_path.iterdir()) == []


def test_the_directory_is_made_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        opened(f"file://{tmp_path}/store").check(write=True)
    finally:
        os.umask(before)
    assert (tmp_path / "store").stat().st_mode & 0o7777 == 0o700


def test_a_missing_parent_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    target = opened(f"file://{tmp_path}/not-mounted/store")
    for write in (True, False):
        with pytest.raises(TargetError) as caught:
            target.check(write=write)
        assert "ount" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_a_missing_directory_is_an_error_for_a_reader(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="does not exist"):
        opened(f"file://{tmp_path}/store").check(write=False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_its_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("")
    with pytest.raises(TargetError, match="not a directory"):
        opened(f"file://{tmp_path}/store").check(write=True)
    with pytest.raises(TargetError):
        opened(f"file://{tmp_path}/store/below").check(write=True)


@pytest.mark.parametrize("name", ["", "..", "a/b", "../x", "x\0"])
def test_names_stay_inside(tmp_path: Path, name: str) -> None:
    target = LocalTarget(f"file://{tmp_path}", tmp_path)
    with pytest.raises(TargetError):
        target.write(name, io.BytesIO(b""))
    with pytest.raises(TargetError):
        target.delete([name])


def test_only_old_strays_are_removed(tmp_path: Path) -> None:
    old, young, other = tmp_path / f"{STRAY}a", tmp_path / f"{STRAY}b", tmp_path / ".other"
    for path in (old, young, other):
        path.write_text("")
    for path in (old, other):
        os.utime(path, (time.time() - OLD - 60,) * 2)
    target = LocalTarget(f"file://{tmp_path}", tmp_path)
    target.check(write=True)
    assert sorted(tmp_path.iterdir()) == sorted([young, other])
    assert [file.name for file in target.files()] == [".other"]


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "mount"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.root
def test_a_read_only_file_system_is_told(mounted: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
    with pytest.raises(TargetError, match="Read-only") as caught:
        opened(f"file://{mounted}").check(write=True)
    assert "for writing" in caught.value.remedy
    opened(f"file://{mounted}").check(write=False)


@pytest.mark.root
def test_a_full_file_system_is_told_and_keeps_nothing_half(mounted: Path) -> None:
    target = opened(f"file://{mounted}")
    with pytest.raises(SpaceError, match="full"):
        target.write("big", io.BytesIO(bytes(1 << 20)))
    assert list(mounted.iterdir()) == []
    free = target.free_bytes()
    assert free is not None
    assert 0 < free <= 256 << 10


@pytest.mark.root
def test_an_unwritable_directory_is_told(tmp_path: Path) -> None:
    place = tmp_path / "store"
    place.mkdir(mode=0o755)
    for parent in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        os.chmod(parent, 0o755)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgid(65534)
            os.setuid(65534)
            try:
                opened(f"file://{place}").check(write=True)
            except TargetError as error:
                status = 0 if "Permission denied" in error.what and error.remedy else 2
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
