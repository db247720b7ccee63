"""The `dpkg` profile on real Debian systems: a fresh one has no changes, and what an administrator does is seen."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import trees
from tklbam_core.api import ProfileRequest
from tklbam_core.delta.attributes import ProfileAttributes
from tklbam_core.delta.changes import find_changes
from tklbam_core.delta.profile import Profile
from tklbam_core.delta.scan import ScanReport
from tklbam_core.plugins import Plugins
from tklbam_core.system.dpkg import installed
from tklbam_core.system.packages import new_packages

pytestmark = pytest.mark.root

# What tests/trees.py adds to a tree so that apt works in it.
ADDED = ("etc/apt/apt.conf.d/00host-network", "etc/ssl")


@pytest.fixture
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    root = trees.copy(getattr(request, "param", "bookworm"), tmp_path / "root")
    if "ca-certificates" not in installed(root):
        for name in ADDED:
            place = root / name
            shutil.rmtree(place) if place.is_dir() else place.unlink()
    return root


@pytest.fixture
def derived(tmp_path: Path) -> Callable[[Path], Profile]:
    def derive(root: Path) -> Profile:
        directory = tmp_path / "profile"
        directory.mkdir()
        found = Plugins().first(
            "profiles",
            "tklbam_profile_find",
            request=ProfileRequest(wanted=None, profile_id="debian-test", directory=directory, root=root),
        )
        assert found.source.startswith("dpkg: ")
        assert found.warnings == ()
        return Profile.load(directory)

    return derive


def changes(root: Path, profile: Profile) -> set[tuple[str, str]]:
    report = ScanReport()
    found = {
        (change.kind, os.fsdecode(change.path))
        for change in find_changes(
            root=root,
            index=profile.index,
            rules=profile.rules,
            attributes=ProfileAttributes.load(profile.directory, root).differs,
            report=report,
        )
    }
    assert report.problem_count == 0
    return found


@pytest.mark.parametrize("fresh", ["bookworm", pytest.param("trixie", marks=pytest.mark.slow)], indirect=True)
def test_nothing_is_changed_on_a_fresh_system(fresh: Path, derived: Callable[[Path], Profile]) -> None:
    profile = derived(fresh)
    assert changes(fresh, profile) == set()
    assert new_packages(installed(fresh), profile.packages or []) == []


def test_what_an_administrator_did_before_the_profile_was_made_is_seen(
    fresh: Path, derived: Callable[[Path], Profile]
) -> None:
    def chroot(*words: str) -> None:
        subprocess.run(["chroot", str(fresh), *words], check=True, stdin=subprocess.DEVNULL, capture_output=True)

    conffile = fresh / "etc/adduser.conf"
    if not conffile.exists():
        conffile = fresh / "etc/debconf.conf"
    before = conffile.stat()
    data = conffile.read_bytes()
    conffile.write_bytes(data[:-2] + b"#\n")
    os.utime(conffile, ns=(before.st_atime_ns, before.st_mtime_ns))
    (fresh / "etc/login.defs").unlink()
    (fresh / "etc/systemd/system/timers.target.wants/fstrim.timer").unlink()
    chroot("ln", "-s", "/lib/systemd/system/fstrim.service", "/etc/systemd/system/fstrim.service")
    chroot("ln", "-sf", "/usr/share/zoneinfo/Europe/Oslo", "/etc/localtime")
    chroot("pam-auth-update", "--enable", "mkhomedir")
    chroot("update-alternatives", "--set", "which", "/usr/bin/which.debianutils")
    chroot("ln", "-sf", "/bin/true", "/etc/alternatives/pager")
    chroot("useradd", "--create-home", "ann")
    (fresh / "srv/www").mkdir()
    (fresh / "srv/www/index.html").write_text("hello\n")
    assert changes(fresh, derived(fresh)) == {
        ("o", f"/{conffile.relative_to(fresh)}"),
        ("d", "/etc/login.defs"),
        ("d", "/etc/systemd/system/timers.target.wants/fstrim.timer"),
        ("o", "/etc/systemd/system/fstrim.service"),
        ("o", "/etc/localtime"),
        ("o", "/etc/pam.d/common-session"),
        ("o", "/etc/alternatives/pager"),
        ("s", "/home/ann"),
        ("o", "/home/ann/.bashrc"),
        ("o", "/home/ann/.bash_logout"),
        ("o", "/home/ann/.profile"),
        ("s", "/srv/www"),
        ("o", "/srv/www/index.html"),
    }


def test_what_an_administrator_did_afterwards_is_seen(fresh: Path, derived: Callable[[Path], Profile]) -> None:
    profile = derived(fresh)
    (fresh / "etc/login.defs").chmod(0o600)
    os.chown(fresh / "etc/debconf.conf", 33, 33)
    (fresh / "etc/profile").write_text("# mine\n")
    os.setxattr(fresh / "etc/bash.bashrc", "user.note", b"mine")
    (fresh / "etc/profile.d").chmod(0o700)
    assert changes(fresh, profile) == {
        ("s", "/etc/login.defs"),
        ("s", "/etc/debconf.conf"),
        ("o", "/etc/profile"),
        ("a", "/etc/bash.bashrc"),
        ("s", "/etc/profile.d"),
    }


@pytest.mark.slow
def test_a_package_that_was_asked_for_is_new_and_its_dependencies_are_not(
    fresh: Path, derived: Callable[[Path], Profile]
) -> None:
    for name in ADDED:  # apt needs them back
        place = trees.tree("bookworm") / name
        target = fresh / name
        shutil.copytree(place, target) if place.is_dir() else shutil.copy2(place, target)
    words = ["apt-get", "-qq", "--no-install-recommends", "install", "nginx-light", "ssl-cert", "openssh-server"]
    subprocess.run(
        ["chroot", str(fresh), *words],
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"},
    )
    profile = derived(fresh)
    names = set(new_packages(installed(fresh), profile.packages or []))
    assert names == {"nginx-light", "ssl-cert", "openssh-server"}
    unexplained = {path for _, path in changes(fresh, profile) if not path.startswith(("/etc/ssl", "/etc/apt"))}
    assert unexplained == set()
