"""`tklbam internal create-profile`, and profiles as the core reads them."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tklbam_core.api import ProfileError
from tklbam_core.delta.attributes import ProfileAttributes
from tklbam_core.delta.changes import find_changes
from tklbam_core.delta.content import file_digest
from tklbam_core.delta.dirindex import read_index
from tklbam_core.delta.profile import Profile, create_profile, write_identity, write_packages
from tklbam_core.delta.scan import ScanReport

STATUS = "Package: {0}\nStatus: {1}\nArchitecture: amd64\nVersion: 1\n\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    system = tmp_path / "root"
    for path, content in {
        "etc/os-release": "ID=debian\nVERSION_ID=12\n",
        "etc/tool.conf": "on\n",
        "srv/data/file": "data\n",
        "srv/tmp/junk": "junk\n",
        "var/lib/dpkg/status": STATUS.format("zsh", "install ok installed")
        + STATUS.format("bash", "hold ok installed")
        + STATUS.format("gone", "deinstall ok config-files"),
    }.items():
        place = system / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
    return system


def run(root: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    script = "from tklbam_core.cli.main import main; main()"
    argv = [sys.executable, "-c", script, "internal", "create-profile", f"--root={root}", *words]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TKLBAM")}
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, env=environment)


def paths(profile: Profile) -> list[bytes]:
    assert profile.index is not None
    return [entry.path for entry in read_index(profile.index)]


def test_all_that_the_conf_names_is_pristine(root: Path, tmp_path: Path) -> None:
    done = run(root, str(tmp_path / "out"), "-", stdin="/etc/tool.conf /srv # here\n-/srv/tmp\n")
    assert done.returncode == 0, done.stderr
    profile = Profile.load(tmp_path / "out")
    assert profile.profile_id == "debian-12"
    assert paths(profile) == [b"/etc/tool.conf", b"/srv", b"/srv/data", b"/srv/data/file"]
    assert profile.packages == ["bash", "zsh"]
    assert abs((datetime.now(UTC) - profile.timestamp).total_seconds()) < 60
    report = ScanReport()
    assert list(find_changes(root=root, index=profile.index, rules=profile.rules, report=report)) == []


def test_the_index_keeps_ctime_and_digests(root: Path, tmp_path: Path) -> None:
    assert run(root, str(tmp_path / "out"), "-", stdin="/etc/tool.conf\n").returncode == 0
    index = Profile.load(tmp_path / "out").index
    assert index is not None
    (entry,) = read_index(index)
    place = root / "etc/tool.conf"
    assert entry.digest == file_digest(bytes(place))
    assert entry.ctime == place.stat().st_ctime_ns


@pytest.mark.root
def test_attributes_are_recorded(root: Path, tmp_path: Path) -> None:
    place = root / "etc/tool.conf"
    os.setxattr(place, "user.note", b"mine")
    assert run(root, str(tmp_path / "out"), "-", stdin="/etc\n").returncode == 0
    attributes = ProfileAttributes.load(tmp_path / "out", root)
    assert b"/etc/tool.conf" in attributes
    assert not attributes.differs(b"/etc/tool.conf")
    os.setxattr(place, "user.note", b"yours")
    assert attributes.differs(b"/etc/tool.conf")


def test_the_profile_itself_is_no_part_of_the_system(root: Path) -> None:
    out = root / "srv/profile"
    assert run(root, str(out), "-", stdin="/srv\n").returncode == 0
    assert not [path for path in paths(Profile.load(out)) if path.startswith(b"/srv/profile")]


def test_what_is_in_the_way_stays_unless_forced(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "packages").write_text("old\n")
    done = run(root, str(out), "-", stdin="/etc\n")
    assert done.returncode == 1
    assert "is not empty" in done.stderr
    assert "--force" in done.stderr
    assert (out / "packages").read_text() == "old\n"
    assert run(root, "--force", str(out), "-", stdin="/etc\n").returncode == 0
    assert (out / "packages").read_text() == "bash\nzsh\n"


def test_either_part_can_be_left_out_and_not_both(root: Path, tmp_path: Path) -> None:
    assert run(root, "--no-packages", str(tmp_path / "files"), "-", stdin="/etc\n").returncode == 0
    assert run(root, "--no-dirindex", str(tmp_path / "packages"), "-", stdin="/etc\n").returncode == 0
    files, packages = Profile.load(tmp_path / "files"), Profile.load(tmp_path / "packages")
    assert (files.packages, paths(files)[0]) == (None, b"/etc")
    assert (packages.packages, packages.index) == (["bash", "zsh"], None)
    assert not packages.rules.has_includes
    done = run(root, "--no-packages", "--no-dirindex", str(tmp_path / "nothing"), "-", stdin="/etc\n")
    assert done.returncode == 1
    assert not (tmp_path / "nothing/profile_id").exists()


@pytest.mark.parametrize(
    ("conf", "message"), [("# nothing\n", "names no path"), ("-/etc\n", "names no path"), ("etc\n", "dirindex.conf:1")]
)
def test_a_conf_that_says_nothing_is_refused(root: Path, tmp_path: Path, conf: str, message: str) -> None:
    done = run(root, str(tmp_path / "out"), "-", stdin=conf)
    assert done.returncode == 1
    assert message in done.stderr
    assert not (tmp_path / "out/profile_id").exists()


def test_a_conf_that_is_not_there_is_an_error_before_anything_is_made(root: Path, tmp_path: Path) -> None:
    done = run(root, str(tmp_path / "out"), str(tmp_path / "none.conf"))
    assert done.returncode == 1
    assert "none.conf" in done.stderr
    assert not (tmp_path / "out").exists()


def test_progress_is_told(root: Path, tmp_path: Path) -> None:
    events = []
    created = create_profile(root, b"/etc /srv\n", tmp_path, progress=events.append)
    assert created.entries > 5
    assert events
    assert (events[0].phase, events[0].unit) == ("profile", "files")


def test_a_directory_that_is_no_profile_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="is no profile"):
        Profile.load(tmp_path)


def test_a_conf_without_its_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dirindex.conf").write_text("/etc\n")
    write_packages(tmp_path, [])
    write_identity(tmp_path, "x", datetime.now(UTC))
    with pytest.raises(ProfileError, match="has no dirindex"):
        Profile.load(tmp_path)


@pytest.mark.parametrize("missing", ["profile_id", "stamp"])
def test_a_profile_without_id_or_time_is_refused(tmp_path: Path, missing: str) -> None:
    write_packages(tmp_path, [])
    write_identity(tmp_path, "x", datetime.now(UTC))
    (tmp_path / missing).unlink()
    with pytest.raises(ProfileError, match=f"has no {missing}"):
        Profile.load(tmp_path)
