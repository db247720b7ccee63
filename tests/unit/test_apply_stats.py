"""Owners, modes, attributes and deletions of a delta, applied and simulated; the commands that do it alone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.applying import Bench
from tklbam_core.api.errors import FormatError, UnsafePathError
from tklbam_core.api.process import run
from tklbam_core.delta.apply import delete, fix_stats, quote, simulate_delete, simulate_fix_stats
from tklbam_core.delta.carry import CarryReader
from tklbam_core.delta.coherent import Delta
from tklbam_core.delta.metadata import IdMaps
from tklbam_core.delta.model import Change
from tklbam_core.delta.report import ApplyReport

needs_root = pytest.mark.root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nwww:x:33:33::/:/bin/sh\nalias:x:33:33::/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nwww-group:x:33:\n")
    (root / "file").write_text("x")
    (root / "file").chmod(0o644)
    return root


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def clean(report: ApplyReport) -> ApplyReport:
    assert report.problems == []
    return report


@needs_root
def test_owner_and_mode_are_set_through_the_maps(root: Path) -> None:
    clean(fix_stats([Change("s", b"/file", 5, 6, 0o104755)], root, maps=IdMaps({5: 50}, {6: 60})))
    status = (root / "file").stat()
    assert (mode(root / "file"), status.st_uid, status.st_gid) == (0o4755, 50, 60)


@needs_root
def test_capabilities_survive_a_change_of_owner_alone(root: Path) -> None:
    run(["setcap", "cap_net_raw+ep", str(root / "file")])
    wanted = os.getxattr(root / "file", "security.capability")
    os.chmod(root / "file", 0o6755)
    clean(fix_stats([Change("o", b"/file", 5, 6)], root))
    assert (root / "file").stat().st_uid == 5
    assert os.getxattr(root / "file", "security.capability") == wanted
    assert mode(root / "file") == 0o6755


@needs_root
def test_a_link_gets_its_owner_and_its_target_nothing(root: Path) -> None:
    (root / "link").symlink_to("file")
    clean(fix_stats([Change("s", b"/link", 5, 6, 0o120777)], root))
    assert (root / "link").lstat().st_uid == 5
    assert (root / "file").stat().st_uid == 0
    assert mode(root / "file") == 0o644


@pytest.mark.parametrize("written", [0o40750, 0o750])
def test_a_missing_directory_is_made_also_by_very_old_lines(root: Path, written: int) -> None:
    clean(fix_stats([Change("s", b"/new/below", os.getuid(), os.getgid(), written)], root))
    assert (root / "new/below").is_dir()
    assert mode(root / "new/below") == 0o750
    assert mode(root / "new") == 0o755


def test_a_very_old_line_leaves_a_path_its_own_type(root: Path) -> None:
    clean(fix_stats([Change("s", b"/file", os.getuid(), os.getgid(), 0o600)], root))
    assert (root / "file").read_text() == "x"
    assert mode(root / "file") == 0o600


def test_a_file_that_is_not_here_or_something_else_here_is_skipped(root: Path) -> None:
    (root / "dir").mkdir(mode=0o755)
    (root / "link").symlink_to("file")
    report = clean(
        fix_stats(
            [
                Change("s", b"/dir", 0, 0, 0o100600),
                Change("s", b"/gone", 0, 0, 0o100600),
                Change("s", b"/gone/too", 0, 0, 0o100600),
                Change("s", b"/link", 0, 0, 0o100600),
            ],
            root,
        )
    )
    assert (report.done, report.skipped) == (0, 4)
    assert mode(root / "dir") == 0o755
    assert mode(root / "file") == 0o644


def test_a_file_in_the_way_of_a_directory_goes(root: Path) -> None:
    report = clean(fix_stats([Change("s", b"/file", os.getuid(), os.getgid(), 0o40700)], root))
    assert (root / "file").is_dir()
    assert report.displaced == [b"/file"]


def test_a_directory_that_is_a_link_to_one_here_stays_a_link(root: Path) -> None:
    (root / "usr/lib").mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    report = clean(fix_stats([Change("s", b"/lib", 5, 5, 0o40700)], root))
    assert report.skipped == 1
    assert (root / "lib").is_symlink()


def test_stats_outside_the_root_can_t_be_reached(root: Path) -> None:
    (root.parent / "outside").write_text("x")
    (root.parent / "outside").chmod(0o600)
    (root / "up").symlink_to("..")
    for path in (b"/up/outside", b"/../outside"):
        with pytest.raises(UnsafePathError):
            fix_stats([Change("s", path, 0, 0, 0o100777)], root)
        with pytest.raises(UnsafePathError):
            delete([Change("d", path)], root)
    assert mode(root.parent / "outside") == 0o600


@needs_root
def test_changes_of_attributes_alone_travel(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for base in (bench.old, bench.root):
        (base / "srv").mkdir()
        for name in ("a", "b", "c"):
            (base / "srv" / name).write_text("same")
    os.setxattr(bench.old / "srv/b", "trusted.x", b"1")
    os.chown(bench.root / "srv/b", 7, 7)
    bench.changes.append(Change("a", b"/srv/b"))
    bench.stat("/srv/c", 0o100600)
    bench.ship()
    (bench.extras / "fsdelta").write_bytes(b"#tklbam 2\ns\t/srv/c\t0\t0\t0100600\n")
    carry = CarryReader(bench.extras)
    changes = Delta(bench.extras / "fsdelta", carry)
    assert [(change.kind, change.path) for change in changes] == [("a", b"/srv/b"), ("s", b"/srv/c")]
    clean(fix_stats(changes, bench.root, carry=carry))
    assert os.getxattr(bench.root / "srv/b", "trusted.x") == b"1"
    assert (bench.root / "srv/b").stat().st_uid == 7
    assert mode(bench.root / "srv/c") == 0o600


@needs_root
def test_attributes_lost_since_the_profile_are_lost_here_too_and_others_stay(root: Path) -> None:
    (root / "other").write_text("")
    for name in ("file", "other"):
        os.setxattr(root / name, "trusted.x", b"1")
    extras = root.parent / "extras"
    extras.mkdir()
    (extras / "attributes").write_bytes(b"#tklbam 2\n/file\n")
    changes = [Change("s", b"/file", 0, 0, 0o100644), Change("s", b"/other", 0, 0, 0o100600)]
    clean(fix_stats(changes, root, carry=CarryReader(extras)))
    assert os.listxattr(root / "file") == []
    assert os.listxattr(root / "other") == ["trusted.x"]


def test_deletions_take_files_and_empty_directories_only(root: Path) -> None:
    for name in ("full", "empty/inner", "emptied"):
        (root / name).mkdir(parents=True)
    (root / "full/mine").write_text("kept")
    (root / "full/theirs").write_text("")
    (root / "emptied/x").write_text("")
    (root / "link").symlink_to("full")
    gone = [
        b"/emptied",
        b"/emptied/x",
        b"/empty",
        b"/empty/inner",
        b"/full",
        b"/full/theirs",
        b"/link",
        b"/never",
        b"/file/x",
    ]
    report = clean(delete(sorted(Change("d", path) for path in gone), root))
    assert sorted(os.listdir(root)) == ["etc", "file", "full"]
    assert os.listdir(root / "full") == ["mine"]
    assert (report.done, report.skipped) == (6, 3)


def test_the_user_databases_are_never_deleted_and_never_chmoded(root: Path) -> None:
    delete([Change("d", b"/etc/passwd")], root)
    fix_stats([Change("s", b"/etc/passwd", 0, 0, 0o100600)], root)
    assert mode(root / "etc/passwd") == 0o644


def test_simulation_prints_shell_lines_and_changes_nothing(root: Path) -> None:
    (root / "dir").mkdir()
    (root / "it's here").write_text("")
    uid, gid = os.getuid(), os.getgid()
    changes = [
        Change("s", b"/already", uid, gid, 0o100644),
        Change("s", b"/dir", uid, gid, 0o40700),
        Change("s", b"/file", 1000, 1000, 0o100600),
        Change("s", b"/it's here", uid, gid, 0o104755),
        Change("s", b"/new", 33, 4242, 0o40755),
    ]
    lines = list(simulate_fix_stats(changes, root, maps=IdMaps({1000: 33}, {1000: 33}), shown=lambda path: path))
    assert lines == [
        "chmod 0700 /dir",
        "chown -h www:www-group /file",
        "chmod 0600 /file",
        """chmod 4755 '/it'"'"'s here'""",
        "mkdir -p /new",
        "chown -h www:4242 /new",
        "chmod 0755 /new",
    ]
    assert not (root / "new").exists()
    assert mode(root / "file") == 0o644
    gone = [Change("d", b"/dir"), Change("d", b"/file"), Change("d", b"/never")]
    assert list(simulate_delete(gone, root, shown=lambda path: path)) == [
        "rm /file",
        "rmdir --ignore-fail-on-non-empty /dir",
    ]


@needs_root
def test_the_simulated_lines_do_what_applying_does(root: Path) -> None:
    names = [b"plain", b"sp ace", b"quo'te", b"new\nline", b"\xff\\x", "ü".encode(), b"$HOME", b"-n"]
    changes = []
    for name in sorted(names):
        with open(os.fsencode(root) + b"/" + name, "w"):
            pass
        changes.append(Change("s", b"/" + name, 33, 33, 0o102750))
    changes.sort(key=lambda change: change.path)
    lines = list(simulate_fix_stats(changes, root))
    script = "\n".join(lines).replace("www:www-group", "33:33")
    run(["bash", "-e"], input=script.encode())
    assert list(simulate_fix_stats(changes, root)) == []
    assert clean(fix_stats(changes, root)).done == len(names)


@given(st.binary(min_size=1, max_size=30).filter(lambda name: b"\0" not in name))
def test_quoted_words_are_one_line_and_mean_the_path(path: bytes) -> None:
    word = quote(path)
    assert "\n" not in word
    assert word.isprintable()
    # Python has no reader of $'…', so undo its octal escapes here.
    if word.startswith("$'"):
        assert word[2:-1].encode("ascii").decode("unicode_escape").encode("latin-1") == path


def test_a_delta_of_the_first_version_is_sorted_when_it_is_in_no_known_order(tmp_path: Path) -> None:
    file = tmp_path / "fsdelta"
    file.write_bytes(b"d\t/b\nd\t/a/x\no\t/a-b\t0\t0\no\t/a\t0\t0\nd\t/a\\x2d\n")
    assert [change.path for change in Delta(file)] == [b"/a", b"/a-b", b"/a\\x2d", b"/b"]
    file.write_bytes(b"s\t/b\t0\t0\t040755\ns\t/a/x\t0\t0\t040755\no\t/a-b\t0\t0\no\t/a\t0\t0\n")
    with pytest.raises(UnsafePathError, match="/a/x"):
        Delta(file)


@pytest.mark.parametrize("paths", [[b"/a", b"/a-b", b"/a/b", b"/b"], [b"/a", b"/a/b", b"/a-b", b"/b"]])
def test_a_delta_in_either_order_is_taken_as_it_is(tmp_path: Path, paths: list[bytes]) -> None:
    file = tmp_path / "fsdelta"
    file.write_bytes(b"".join(b"d\t%s\n" % path for path in paths))
    assert [change.path for change in Delta(file)] == paths


def test_a_damaged_delta_is_found_before_anything_is_done(tmp_path: Path) -> None:
    file = tmp_path / "fsdelta"
    file.write_bytes(b"d\t/a\nd\t/b\textra\n")
    with pytest.raises(FormatError, match=r"fsdelta:2"):
        Delta(file)


# --- the commands ----------------------------------------------------------------------------------------------------


def tklbam(
    *words: str | Path, cwd: Path, input: bytes | None = None, status: int = 0
) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [sys.executable, "-c", "from tklbam_core.cli.main import main; main()", "internal", *words],
        cwd=cwd,
        input=input,
        capture_output=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.getcwd()},
        check=False,
    )
    assert done.returncode == status, done.stderr.decode()
    return done


def test_relative_paths_of_a_delta_are_relative_to_where_it_is_applied(tmp_path: Path) -> None:
    (tmp_path / "testdir").mkdir()
    for name in ("file", "other", "gone"):
        (tmp_path / "testdir" / name).write_text("")
        (tmp_path / "testdir" / name).chmod(0o644)
    owner = f"{os.getuid()}\t{os.getgid()}"
    delta = "".join(f"s\ttestdir/{name}\t{owner}\t0100600\n" for name in ("file", "other")) + "d\ttestdir/gone\n"
    done = tklbam("fixstat", "-s", "-", cwd=tmp_path, input=delta.encode())
    assert done.stdout == b"chmod 0600 testdir/file\nchmod 0600 testdir/other\n"
    done = tklbam("fixstat", "-v", "-", "testdir", "-testdir/other", cwd=tmp_path, input=delta.encode())
    assert done.stdout == b"chmod 0600 testdir/file\n"
    assert (mode(tmp_path / "testdir/file"), mode(tmp_path / "testdir/other")) == (0o600, 0o644)
    assert tklbam("delete", "-s", "-", cwd=tmp_path, input=delta.encode()).stdout == b"rm testdir/gone\n"
    tklbam("delete", "-", "testdir/file", cwd=tmp_path, input=delta.encode())
    assert (tmp_path / "testdir/gone").exists()
    tklbam("delete", "-", cwd=tmp_path, input=delta.encode())
    assert not (tmp_path / "testdir/gone").exists()


@needs_root
def test_fixstat_takes_id_maps_and_a_root(root: Path) -> None:
    (root.parent / "delta").write_bytes(b"#tklbam 2\ns\t/file\t1000\t1001\t0100600\n")
    words = ["fixstat", "--root", root, "-u", "1000,33:7,8", "-g", "1001,5"]
    done = tklbam(*words, "-s", "delta", cwd=root.parent)
    assert done.stdout.decode() == f"chown -h www:5 {root}/file\nchmod 0600 {root}/file\n"
    assert tklbam(*words, "delta", cwd=root.parent).stdout == b""
    status = (root / "file").stat()
    assert (status.st_uid, status.st_gid, mode(root / "file")) == (33, 5, 0o600)


def test_wrong_words_are_usage_errors_and_hostile_paths_are_refused(root: Path) -> None:
    (root.parent / "delta").write_bytes(b"d\t/file\n")
    assert b"no pair of ids" in tklbam("fixstat", "-u", "1000", "delta", cwd=root.parent, status=2).stderr
    assert b"no delta" in tklbam("delete", "missing", cwd=root.parent, status=2).stderr
    (root / "up").symlink_to("../..")
    (root.parent / "delta").write_bytes(b"d\t/up/delta\n")
    failed = tklbam("delete", "--root", root, "delta", cwd=root.parent, status=1)
    assert b"leads out of the root" in failed.stderr
    (root.parent / "delta").write_bytes(b"d\t../delta\n")
    failed = tklbam("delete", "delta", cwd=root.parent, status=1)
    assert b"delta:1" in failed.stderr
