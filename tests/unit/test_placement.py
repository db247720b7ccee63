"""A target whose disk or share is not mounted is an error, never a backup onto the disk below its mount point."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.unit.small_disks import MNT_DETACH, tmpfs
from tklbam_core.api.errors import TargetError
from tklbam_core.placement import prove_mounted
from tklbam_core.system.mounts import Mount, declared, holding, mounted

TKLBAM = f'{sys.executable} -c "from tklbam_core.cli.main import main; main()"'


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """Where fstab and the like are read, with a mount point M that nothing is mounted at."""
    for folder in ("etc/systemd/system", "etc/auto.master.d", "run/systemd/system", "disks/m"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def wants(system: Path, how: str, point: Path) -> None:
    """Says in one of the ways there are that something ought to be mounted at `point`."""
    escaped = str(point).replace(" ", "\\040")
    if how == "fstab":
        (system / "etc/fstab").write_text(
            "# disks\nUUID=1234 / ext4 defaults 0 1\n/dev/sdb2 none swap sw 0 0\n"
            f"LABEL=b\t{escaped}  ext4 noauto,nofail 0 2\n"
        )
    elif how == "unit":
        (system / "etc/systemd/system/x.mount").write_text(f"[Unit]\n[Mount]\nWhat=/dev/sdb1\nWhere = {point}\n")
    elif how == "autofs":
        (system / "etc/auto.master.d/x.autofs").write_text(f"{point} /etc/auto.x --timeout=60\n")
    else:
        (system / "etc/auto.master").write_text("# direct\n/- file:/etc/auto.direct\n+auto.master\n")
        (system / "etc/auto.direct").write_text(f"{point} -rw server:/export\n")


@pytest.mark.parametrize("how", ["fstab", "unit", "autofs", "direct"])
@pytest.mark.parametrize("below", ["", "web1", "deep/web1"])
def test_a_declared_mount_point_without_its_mount_is_an_error(system: Path, how: str, below: str) -> None:
    point = system / "disks/m"
    prove_mounted(point / below, "file:///x", system=system)
    wants(system, how, point)
    with pytest.raises(TargetError, match=f"file:///x: nothing is mounted at {point}, where /(etc|run)/") as caught:
        prove_mounted(point / below, "file:///x", system=system)
    assert f"mount {point}" in caught.value.remedy
    prove_mounted(system / "disks/mm", "file:///x", system=system)  # beside it, not below it
    prove_mounted(system / "disks", "file:///x", system=system)


def test_the_way_to_it_may_lead_over_links_on_either_side(system: Path) -> None:
    point = system / "disks/m"
    (system / "link").symlink_to(system / "disks")
    wants(system, "fstab", point)
    with pytest.raises(TargetError):
        prove_mounted(system / "link/m/web1", "file:///x", system=system)
    wants(system, "fstab", system / "link/m")
    with pytest.raises(TargetError):
        prove_mounted(point / "web1", "file:///x", system=system)


def test_a_masked_unit_and_one_in_the_way_of_another_say_nothing(system: Path) -> None:
    point = system / "disks/m"
    (system / "etc/systemd/system/x.mount").symlink_to("/dev/null")
    (system / "run/systemd/system/x.mount").write_text(f"[Mount]\nWhere={point}\n")
    prove_mounted(point, "file:///x", system=system)
    (system / "run/systemd/system/y.mount").write_text(f"[Mount]\nWhere={point}\n")
    with pytest.raises(TargetError, match=r"where /run/systemd/system/y\.mount"):
        prove_mounted(point, "file:///x", system=system)


@pytest.mark.root
def test_what_is_mounted_there_or_below_is_enough(system: Path) -> None:
    point = system / "disks/a b"
    wants(system, "fstab", point)
    with tmpfs(point, "1m"):
        held = prove_mounted(point / "web1", "file:///x", system=system)
        assert held is not None
        assert (held.point, held.kind) == (point, "tmpfs")
    with pytest.raises(TargetError, match="nothing is mounted"):
        prove_mounted(point / "web1", "file:///x", system=system)
    with tmpfs(point / "own", "1m"):
        prove_mounted(point / "own/web1", "file:///x", system=system)
        with pytest.raises(TargetError, match="nothing is mounted"):
            prove_mounted(point / "web1", "file:///x", system=system)


@pytest.mark.root
def test_the_nearest_declared_mount_point_counts(system: Path) -> None:
    outer, inner = system / "disks/outer", system / "disks/outer/inner"
    (system / "etc/fstab").write_text(f"a {outer} ext4\nb {inner} ext4\n")
    with tmpfs(outer, "1m"):
        prove_mounted(outer / "web1", "file:///x", system=system)
        with pytest.raises(TargetError, match=f"nothing is mounted at {inner}"):
            prove_mounted(inner / "web1", "file:///x", system=system)


def test_where_it_lay_before_is_remembered_even_if_nothing_declares_it(system: Path) -> None:
    place = system / "disks/m/web1"
    now = prove_mounted(place, "file:///x", "", system)
    assert now is not None
    prove_mounted(place, "file:///x", str(now.point), system)
    with pytest.raises(TargetError, match=f"mounted at {system}/disks/m, and now it lies on that of") as caught:
        prove_mounted(place, "file:///x", f"{system}/disks/m", system)
    assert "--accept-place --address file:///x" in caught.value.remedy


@pytest.mark.root
def test_from_the_root_disk_onto_a_disk_of_its_own_is_no_error(system: Path) -> None:
    with tmpfs(system / "disks/usb", "1m") as usb:
        held = prove_mounted(usb / "web1", "file:///x", "/", system)
        assert held is not None
        assert held.point == usb


@pytest.mark.root
def test_a_share_that_does_not_answer_is_an_error_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    """A FUSE file system whose server never says a word: whoever asks it anything hangs."""
    place, root = tmp_path / "share", tmp_path / "root"
    place.mkdir()
    (root / "etc/tklbam").mkdir(parents=True)
    (root / "etc/tklbam/conf").write_text("network-timeout 5\n")
    libc = ctypes.CDLL(None, use_errno=True)
    server = os.open("/dev/fuse", os.O_RDWR)
    try:
        words = b"fd=%d,rootmode=40000,user_id=0,group_id=0" % server
        assert libc.mount(b"share", os.fsencode(place), b"fuse", 0, words) == 0, os.strerror(ctypes.get_errno())
        began = time.monotonic()
        # Into a file: a process that hangs would hold a pipe open.
        with (tmp_path / "said").open("w+") as said:
            words = ["list", "--root", str(root), "--address", f"file://{place}/web1"]
            line = [sys.executable, "-c", "from tklbam_core.cli.main import main; main()", *words]
            child = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
            while child.poll() is None and time.monotonic() < began + 60:
                time.sleep(0.1)
        assert child.returncode == 1
        assert f"{place}/web1 did not answer within 10 s" in (tmp_path / "said").read_text()
    finally:
        os.close(server)  # which ends the file system, and whoever waits for it
        libc.umount2(os.fsencode(place), MNT_DETACH)


def test_the_last_mount_in_a_place_covers_the_others() -> None:
    mounts = [Mount(Path(point), kind, "") for point, kind in (("/", "ext4"), ("/m", "autofs"), ("/m", "nfs4"))]
    found = holding(Path("/m/web1"), mounts)
    assert found is not None
    assert found.kind == "nfs4"
    found = holding(Path("/mm"), mounts)
    assert found is not None
    assert found.kind == "ext4"


def test_tables_are_read_as_they_are_written(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "40 22 0:35 / /mnt/a\\040b\\134 rw master:3 shared:9 - nfs4 server:/my\\040share rw,vers=4.2\n"
        "41 22 0:36 / /mnt/c rw - tmpfs tmpfs rw\n"
    )
    assert mounted(table)[1:] == [
        Mount(Path("/mnt/a b\\"), "nfs4", "server:/my share"),
        Mount(Path("/mnt/c"), "tmpfs", "tmpfs"),
    ]
    assert list(declared(tmp_path)) == []


@pytest.mark.root
def test_a_backup_is_refused_until_the_disk_is_mounted_or_its_place_accepted(tmp_path: Path) -> None:
    root, disk = tmp_path / "root", tmp_path / "disk"
    (root / "etc").mkdir(parents=True)
    (root / "etc/hosts").write_text("x\n")
    disk.mkdir()
    address = f"file://{disk}/web1"
    script = f"""
        set -e
        {TKLBAM} init --solo --force-profile empty --quiet
        mount -t tmpfs tmpfs {disk}
        {TKLBAM} backup --quiet --address {address}
        umount {disk}
        {TKLBAM} backup --quiet --address {address} && exit 9
        ls -A {disk} | wc -l
        {TKLBAM} check --quiet --accept-place --address {address} || test $? != 0
        {TKLBAM} backup --quiet --address {address}
        ls {disk}/web1 | wc -l
        cp -a /etc {tmp_path}/etc
        echo "x {disk} ext4 noauto 0 0" >> {tmp_path}/etc/fstab
        mount --bind {tmp_path}/etc /etc
        {TKLBAM} restore --quiet --simulate --address {address} && exit 9
        mount -t tmpfs tmpfs {disk}
        {TKLBAM} backup --quiet --address {address}
        ls {disk}/web1 | wc -l
    """
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", script],
        env={**os.environ, "TKLBAM_ROOT": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done
    assert done.stdout.split() == ["0", "3", "3"]
    # In between the check says that there is no backup yet where the target lies now.
    refused, *_, unmounted = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert f"it lay on a file system mounted at {disk}" in refused
    assert f"nothing is mounted at {disk}, where /etc/fstab wants a file system" in unmounted
