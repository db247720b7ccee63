"""A delta, extras or links that are damaged, or made to lead out of the root: refused, and nothing is changed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.e2e.machine import Machine
from tests.e2e.small import OURS, Unchanged, assert_clear, initialised, other_system

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("pristine")
    made = initialised(base / "root")
    made.write("/srv/text", "A's text\n")
    made.tklbam("backup", "--dump", str(base / "extract"))
    return base / "extract"


@pytest.fixture
def extract(pristine: Path, tmp_path: Path) -> Path:
    """A backup as plain files, to be damaged."""
    shutil.copytree(pristine, tmp_path / "extract", symlinks=True)
    return tmp_path / "extract"


@pytest.fixture
def b(tmp_path: Path) -> Machine:
    return other_system(tmp_path / "b")


def test_the_extract_restores_as_long_as_it_is_whole(extract: Path, b: Machine) -> None:
    b.tklbam("restore", str(extract))
    assert b.path("/srv/text").read_text() == "A's text\n"
    assert b.path("/srv/own").read_text() == "B's own\n"


@pytest.mark.parametrize(
    "record",
    [
        "x\t/srv/text",
        "o\t/srv/text\t0",
        "o\trelative\t0\t0",
        "o\t/srv/../../outside\t0\t0",
        "d\t/srv/../../outside",
    ],
)
def test_a_malformed_delta(record: str, extract: Path, b: Machine, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("outside\n")
    delta = extract / "TKLBAM/fsdelta"
    delta.write_text(f"{delta.read_text()}{record}\n")
    number = len(delta.read_text().splitlines())
    with Unchanged(b):
        done = b.tklbam("restore", "--quiet", str(extract), status=1)
    assert_clear(done, f"fsdelta:{number}", "damaged")
    assert (tmp_path / "outside").read_text() == "outside\n"


def test_the_root_itself_is_not_deleted(extract: Path, b: Machine) -> None:
    delta = extract / "TKLBAM/fsdelta"
    delta.write_text("#tklbam 2\nd\t/\n")
    with Unchanged(b, skip=(*OURS, b"/var/backups")):
        done = b.tklbam("restore", "--quiet", str(extract), status=3)
    assert done.err == "warning: not restored: /: still here after the restore\n"


def test_a_delta_that_is_cut_short(extract: Path, b: Machine) -> None:
    delta = extract / "TKLBAM/fsdelta"
    delta.write_bytes(delta.read_bytes()[:-3])
    with Unchanged(b):
        assert_clear(b.tklbam("restore", "--quiet", str(extract), status=1), "fsdelta:", "cut short")


@pytest.mark.parametrize(
    "record", ["o\t/srv/way/victim\t0\t0", "s\t/srv/way/victim\t0\t0\t0100777", "d\t/srv/way/victim"]
)
def test_a_planted_link_leads_nowhere(record: str, extract: Path, b: Machine, tmp_path: Path) -> None:
    """The restored system has a link out of its root where the delta's path has a directory."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("outside\n")
    os.symlink("../../outside", b.path("/srv/way"))
    delta = extract / "TKLBAM/fsdelta"
    delta.write_text(f"{delta.read_text()}{record}\n")
    (extract / "srv/way").mkdir()
    (extract / "srv/way/victim").write_text("planted\n")
    with Unchanged(b):
        assert_clear(b.tklbam("restore", "--quiet", str(extract), status=1), "/srv/way")
    assert (outside / "victim").read_text() == "outside\n"
    assert (outside / "victim").stat().st_mode & 0o777 == 0o644


def test_a_loop_of_links_is_named(extract: Path, b: Machine) -> None:
    os.symlink("loop", b.path("/srv/loop"))
    delta = extract / "TKLBAM/fsdelta"
    delta.write_text(f"{delta.read_text()}o\t/srv/loop/file\t0\t0\n")
    (extract / "srv/loop").mkdir()
    (extract / "srv/loop/file").write_text("within\n")
    with Unchanged(b):
        done = b.tklbam("restore", "--quiet", str(extract), status=1)
    assert_clear(done, "/srv/loop/file", "Too many levels of symbolic links", lines=3)


def test_a_link_that_the_backup_itself_plants_leads_nowhere(extract: Path, b: Machine, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_text("outside\n")
    delta = extract / "TKLBAM/fsdelta"
    delta.write_text(f"{delta.read_text()}o\t/srv/way\t0\t0\no\t/srv/way/victim\t0\t0\nd\t/srv/way/z\n")
    os.symlink("../../outside", extract / "srv/way")
    with Unchanged(b):
        assert_clear(b.tklbam("restore", "--quiet", str(extract), status=1), "/srv/way", lines=3)
    assert (outside / "victim").read_text() == "outside\n"


def test_a_link_in_the_place_of_accounts_shows_nobody_elses(extract: Path, b: Machine, tmp_path: Path) -> None:
    """In the extras, which are then not believed; and in the overlay, where old backups have some of them."""
    (tmp_path / "private").write_text("root:$6$salt$private:1::::::\n")
    b.write("/etc/shadow", "root:*:1::::::\n", 0o640)
    for place in ("TKLBAM/etc/shadow", "TKLBAM/etc/more/fifo"):
        path = extract / place
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        if path.name == "fifo":
            os.mkfifo(path)
        else:
            path.symlink_to(tmp_path / "private")
        with Unchanged(b):
            assert_clear(b.tklbam("restore", "--quiet", str(extract), status=1), place, "do not trust")
        path.unlink()
    (extract / "etc").mkdir(exist_ok=True)
    (extract / "etc/shadow").symlink_to(tmp_path / "private")
    os.mkfifo(extract / "etc/gshadow")
    b.tklbam("restore", "--quiet", str(extract))
    assert "private" not in b.path("/etc/shadow").read_text()


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("garbage", "JSON"),
        ("[]", ""),
        ('{"profile_id": "x", "overrides": "none"}', "overrides"),
        ('{"profile_id": "x", "format": 3}', "newer"),
        (None, "TKLBAM/backup-conf"),
    ],
)
def test_a_backup_conf_that_is_none(content: str | None, word: str, extract: Path, b: Machine) -> None:
    (extract / "TKLBAM/backup-conf").unlink()
    if content is not None:
        (extract / "TKLBAM/backup-conf").write_text(content)
    with Unchanged(b):
        assert_clear(b.tklbam("restore", "--quiet", str(extract), status=1), str(extract), word)
