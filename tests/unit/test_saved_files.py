"""A rollback area gives everything back as it was, whatever happened in between and wherever it was killed."""

from __future__ import annotations

import os
import random
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.applying import Bench, bench, in_full  # noqa: F401 - fixture
from tests.unit.killing import killed, points
from tests.unit.small_disks import tmpfs
from tests.unit.snapshots import differences, snapshot
from tklbam_core.api.errors import FormatError, SpaceError, UnsafePathError
from tklbam_core.api.process import run
from tklbam_core.delta.model import Change
from tklbam_core.delta.saved import SavedFiles, space_needed

# ruff: noqa: F811

pytestmark = pytest.mark.root


def fill(bench: Bench) -> None:
    """A system with something of everything, and a backup that changes something of everything."""
    root = bench.root
    for directory in ("etc/app", "srv/dir-to-file/sub", "srv/links", "srv/kept", "var/gone", "var/empty-dir"):
        (root / directory).mkdir(parents=True)
    (root / "etc/app/conf").write_text("old conf")
    os.chown(root / "etc/app/conf", 33, 33)
    os.chmod(root / "etc/app/conf", 0o4640)
    os.setxattr(root / "etc/app/conf", "trusted.note", b"old")
    run(["setfacl", "-m", "u:33:r", str(root / "etc/app/conf")])
    (root / "srv/tool").write_text("tool")
    run(["setcap", "cap_net_raw+ep", str(root / "srv/tool")])
    (root / "srv/dir-to-file/sub/x").write_text("x")
    os.link(root / "srv/dir-to-file/sub/x", root / "srv/dir-to-file/y")
    os.setxattr(root / "srv/dir-to-file", "trusted.dir", b"d")
    os.chmod(root / "srv/dir-to-file", 0o2711)
    (root / "srv/file-to-dir").write_text("file")
    (root / "srv/link-to-file").symlink_to("/etc/app/conf")
    (root / "srv/dangling").symlink_to("../nowhere")
    (root / "srv/links/1").write_text("shared")
    for name in ("2", "3"):
        os.link(root / "srv/links/1", root / "srv/links" / name)
    os.link(root / "srv/links/1", root / "srv/links-outside-the-plan")
    with open(root / "srv/sparse", "wb") as file:
        file.truncate(8 << 20)
    os.mkfifo(root / "var/fifo", 0o600)
    os.mknod(root / "var/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (root / "var/gone/a").write_text("deleted")
    (root / "var/gone/b\nnewline\xe9\\").write_text("deleted")
    os.setxattr(root / "var/gone/a", "trusted.x", b"1")
    (root / "srv/kept/stat-only").write_text("content stays")
    (root / "srv/kept/untouched").write_text("not in the plan")
    for directory, names, files in os.walk(root):
        for name in names + files:
            os.utime(os.path.join(directory, name), ns=(1, random.randrange(10**18)), follow_symlinks=False)

    bench.put("/etc/app/conf", b"new conf", 0o600, 1000, 1000)
    bench.put("/etc/app/made/deep/file", b"new")
    bench.put("/srv/tool", b"new tool")
    bench.put("/srv/dir-to-file", b"now a file")
    bench.gone("/srv/dir-to-file/sub/x")
    bench.gone("/srv/dir-to-file/y")
    bench.put("/srv/file-to-dir/below", b"below")
    bench.put("/srv/link-to-file", b"a file")
    bench.put("/srv/dangling/below", b"below")
    bench.put("/srv/links/1", b"new one")
    bench.put("/srv/links/2", b"new two")
    bench.gone("/srv/links/3")
    bench.put("/srv/sparse", b"dense")
    bench.link("/var/fifo", "/elsewhere")
    bench.put("/var/null", b"a file")
    bench.gone("/var/gone/a")
    bench.gone(b"/var/gone/b\nnewline\xc3\xa9\\")
    bench.gone("/var/gone")
    bench.gone("/var/empty-dir")
    bench.gone("/var/never-was")
    bench.stat("/srv/kept/stat-only", 0o100755, 5, 6)
    bench.stat("/srv/kept", 0o40700, 7, 8)
    bench.stat("/srv/new-dir", 0o40750, 7, 8)
    bench.stat("/srv/not-here", 0o100644)
    odd = bench.put(b"/srv/\xff/file", b"odd")
    first = bench.put("/srv/new-links/a", b"new shared")
    os.link(first, bench.old / "srv/new-links/b")
    bench.note("/srv/new-links/b")
    os.setxattr(odd, "trusted.odd", b"1")
    bench.ship()


def test_everything_is_back_as_it_was(bench: Bench) -> None:
    fill(bench)
    before = snapshot(bench.root)
    inodes = (bench.root / "srv/links/1").stat().st_ino
    saved = bench.save()
    assert snapshot(bench.root) == before
    reports = bench.apply(saved)
    assert [problem for report in reports for problem in report.problems] == []
    assert (bench.root / "srv/dir-to-file").read_bytes() == b"now a file"
    assert not (bench.root / "var/gone").exists()
    assert snapshot(bench.root) != before
    report = SavedFiles(bench.area, bench.root).restore()
    assert report.problems == []
    assert report.left == []
    changed = differences(before, snapshot(bench.root))
    if os.stat(bench.area).st_dev == os.stat(bench.root).st_dev:
        assert changed == {}
        assert (bench.root / "srv/links/1").stat().st_ino == inodes
    else:
        # A name that was no part of the plan can't be linked to a copy of the file.
        assert set(changed) <= {b"/srv/links/1", b"/srv/links/2", b"/srv/links/3", b"/srv/links-outside-the-plan"}
        assert (bench.root / "srv/links/1").stat().st_nlink == 3
    assert (bench.root / "srv/sparse").stat().st_blocks * 512 < 1 << 20


def test_a_rollback_can_be_run_again(bench: Bench) -> None:
    fill(bench)
    bench.apply(bench.save())
    SavedFiles(bench.area, bench.root).restore()
    once = snapshot(bench.root)
    assert SavedFiles(bench.area, bench.root).restore().problems == []
    assert snapshot(bench.root) == once


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """Where syncing costs nothing, for tests that do everything many times."""
    with tmpfs(tmp_path / "memory", "200m") as directory:
        yield directory


@pytest.mark.parametrize("stage", ["save", "apply", "restore"])
def test_killed_anywhere_a_rollback_gives_everything_back(memory: Path, tmp_path: Path, stage: str) -> None:
    bench = Bench(tmp_path / "pattern")
    fill(bench)
    before = snapshot(bench.root)
    work = Bench(memory / "work", bench.changes)

    def reset() -> None:
        run(["rm", "-rf", str(work.base)])
        run(["cp", "-a", str(bench.base), str(work.base)])
        if stage != "save":
            work.save()
        if stage == "restore":
            work.apply(SavedFiles(work.area, work.root))

    def rollback() -> None:
        assert SavedFiles(work.area, work.root).restore().problems == []

    def again() -> None:
        if stage == "save":
            work.save()
        elif stage == "apply":
            work.apply(SavedFiles(work.area, work.root))
        else:
            rollback()

    for step in points(again, reset, 40):
        reset()
        assert killed(again, step)
        rollback()
        assert differences(before, snapshot(work.root)) == {}, f"{stage} killed at step {step}"


def test_a_killed_rollback_of_copies_gives_everything_back(memory: Path, tmp_path: Path) -> None:
    bench = Bench(tmp_path / "pattern")
    fill(bench)
    # Names outside the plan can't be kept linked to copies.
    os.unlink(bench.root / "srv/links-outside-the-plan")
    os.utime(bench.root / "srv", ns=(5, 5))
    before = snapshot(bench.root)
    work = Bench(memory / "work", bench.changes)
    with tmpfs(tmp_path / "elsewhere", "64m") as elsewhere:
        work_area = elsewhere / "area"

        def reset() -> None:
            run(["rm", "-rf", str(work.base), str(work_area)])
            run(["cp", "-a", str(bench.base), str(work.base)])
            work.apply(work.save(work_area))

        def rollback() -> None:
            assert SavedFiles(work_area, work.root).restore().problems == []

        for step in points(rollback, reset, 40):
            reset()
            assert killed(rollback, step)
            rollback()
            assert differences(before, snapshot(work.root)) == {}, f"killed at step {step}"


def test_saving_costs_no_copy_on_the_same_file_system(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (bench.root / "large").write_bytes(b"x" * (4 << 20))
    bench.put("/large", b"new")
    assert space_needed(bench.delta(), bench.root, os.stat(tmp_path).st_dev) < 4096
    bench.save()
    (kept,) = (bench.area / "content").iterdir()
    assert kept.stat().st_ino == (bench.root / "large").stat().st_ino


def test_a_path_of_which_only_the_owner_changes_is_saved_without_its_content(bench: Bench) -> None:
    (bench.root / "large").write_bytes(b"x" * (1 << 20))
    bench.stat("/large", 0o100600, 1, 2)
    bench.save()
    assert list((bench.area / "content").iterdir()) == []


def test_the_space_needed_elsewhere_is_told(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "root", "64m"):
        bench = Bench(tmp_path)
        (bench.root / "large").write_bytes(b"x" * (4 << 20))
        (bench.root / "dir").mkdir()
        (bench.root / "dir/more").write_bytes(b"x" * (2 << 20))
        bench.put("/large")
        bench.put("/dir")
        assert 6 << 20 <= space_needed(bench.delta(), bench.root, os.stat(tmp_path).st_dev) < 7 << 20


def test_a_full_disk_for_the_area_is_an_error_and_counts_for_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (bench.root / "large").write_bytes(os.urandom(3 << 20))
    bench.put("/large", b"new")
    bench.ship()
    with tmpfs(tmp_path / "small", "2m") as small:
        with pytest.raises(SpaceError, match="no space left"):
            bench.save(small / "area")
        before = snapshot(bench.root)
        assert SavedFiles(small / "area", bench.root).restore().problems == []
        assert snapshot(bench.root) == before


def test_a_directory_elsewhere_is_copied_before_anything_changes_or_not_at_all(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (bench.root / "dir").mkdir()
    (bench.root / "dir/large").write_bytes(os.urandom(3 << 20))
    bench.put("/dir", b"a file")
    bench.ship()
    with tmpfs(tmp_path / "small", "2m") as small:
        with pytest.raises(SpaceError, match="no space left"):
            bench.save(small / "area")
    assert (bench.root / "dir/large").stat().st_size == 3 << 20


def test_what_a_restore_made_and_others_filled_is_not_thrown_away(bench: Bench) -> None:
    (bench.root / "srv").mkdir()
    (bench.root / "srv/file").write_text("was a file")
    bench.put("/srv/file/below", b"new")
    bench.put("/srv/new/below", b"new")
    bench.ship()
    bench.apply(bench.save())
    (bench.root / "srv/file/mine").write_text("written after the restore")
    (bench.root / "srv/new/mine").write_text("written after the restore")
    report = SavedFiles(bench.area, bench.root).restore()
    assert (bench.root / "srv/file").read_text() == "was a file"
    assert report.left == [b"/srv/file"]
    (left,) = (bench.area / "left").iterdir()
    assert (left / "mine").read_text() == "written after the restore"
    assert [problem.path for problem in report.problems] == [b"/srv/new"]
    assert os.listdir(bench.root / "srv/new") == ["mine"]


def test_paths_saved_twice_come_back_as_they_were_first(bench: Bench) -> None:
    (bench.root / "etc").mkdir()
    (bench.root / "etc/passwd").write_text("first")
    saved = SavedFiles(bench.area, bench.root)
    saved.save(in_full(b"/etc/passwd", b"/etc/shadow"))
    (bench.root / "etc/passwd").unlink()
    (bench.root / "etc/passwd").write_text("second")
    (bench.root / "etc/shadow").write_text("made")
    saved.save(in_full(b"/etc/passwd", b"/etc/shadow"))
    (bench.root / "etc/passwd").unlink()
    SavedFiles(bench.area, bench.root).restore()
    assert os.listdir(bench.root / "etc") == ["passwd"]
    assert (bench.root / "etc/passwd").read_text() == "first"


def test_an_immutable_file_is_saved_by_copy(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (bench.root / "file").write_text("immutable")
    bench.put("/file", b"new")
    bench.ship()
    run(["chattr", "+i", str(bench.root / "file")])
    try:
        saved = bench.save()
    finally:
        run(["chattr", "-i", str(bench.root / "file")])
    bench.place(saved)
    SavedFiles(bench.area, bench.root).restore()
    assert (bench.root / "file").read_text() == "immutable"


def test_a_socket_in_the_way_comes_back(bench: Bench) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(bench.root)
        try:
            server.bind("s")
        finally:
            os.chdir(here)
    bench.put("/s", b"file")
    bench.ship()
    bench.apply(bench.save())
    SavedFiles(bench.area, bench.root).restore()
    assert stat.S_ISSOCK((bench.root / "s").lstat().st_mode)


def test_only_what_is_taken_comes_back(bench: Bench) -> None:
    for name in ("a", "b"):
        (bench.root / name).write_text("old")
        bench.put(f"/{name}", b"new")
    bench.ship()
    bench.apply(bench.save())
    SavedFiles(bench.area, bench.root).restore(lambda path: path == b"/a")
    assert (bench.root / "a").read_text() == "old"
    assert (bench.root / "b").read_text() == "new"


def test_a_batch_cut_off_anywhere_counts_for_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (bench.root / "a").write_text("old")
    saved = SavedFiles(bench.area, bench.root)
    saved.save(in_full(b"/a"))
    index = bench.area / "index"
    size = index.stat().st_size
    saved.save(in_full(b"/b", b"/c"))
    whole = index.read_bytes()
    for end in range(size, len(whole)):
        index.write_bytes(whole[:end])
        (bench.root / "b").write_text("not the restore's")
        SavedFiles(bench.area, bench.root).restore()
        assert (bench.root / "b").exists()
    for end in range(size):
        index.write_bytes(whole[:end])
        SavedFiles(bench.area, bench.root).restore()
        assert (bench.root / "a").read_text() == "old"


def test_a_batch_after_a_torn_one_is_whole(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    saved = SavedFiles(bench.area, bench.root)
    saved.save(in_full(b"/a"))
    with open(bench.area / "index", "ab") as index:
        index.write(b"/torn\tfi")
    SavedFiles(bench.area, bench.root).save(in_full(b"/c"))
    for name in ("a", "c", "torn"):
        (bench.root / name).write_text("made")
    assert SavedFiles(bench.area, bench.root).restore().problems == []
    assert os.listdir(bench.root) == ["torn"]


def test_a_damaged_index_is_named(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    SavedFiles(bench.area, bench.root).save(in_full(b"/a"))
    index = bench.area / "index"
    index.write_bytes(index.read_bytes().replace(b"absent", b"abscnt"))
    with pytest.raises(FormatError, match="index at byte"):
        SavedFiles(bench.area, bench.root).restore()


def test_an_index_that_leads_out_of_the_root_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    SavedFiles(bench.area, bench.root).save(in_full(b"/a"))
    index = bench.area / "index"
    index.write_bytes(index.read_bytes().replace(b"/a\t", b"/../a\t"))
    (bench.base / "a").write_text("outside")
    with pytest.raises(UnsafePathError):
        SavedFiles(bench.area, bench.root).restore()
    assert (bench.base / "a").exists()


def test_a_missing_regular_file_that_only_changed_mode_is_not_removed_later(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    saved = SavedFiles(bench.area, bench.root)
    saved.save([Change("s", b"/file", 0, 0, 0o100644), Change("a", b"/other")])
    (bench.root / "file").write_text("installed meanwhile")
    SavedFiles(bench.area, bench.root).restore()
    assert (bench.root / "file").exists()


def test_several_files_in_directories_that_were_not_there_go_with_them(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "var").mkdir(parents=True)
    before = snapshot(root)
    names = ("var/www/html/a", "var/www/html/b", "var/www/z/y/x", "var/www/z/y2")
    SavedFiles(tmp_path / "area", root).save(Change("o", b"/" + name.encode()) for name in names)
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("restored")
    assert SavedFiles(tmp_path / "area", root).restore().problems == []
    assert snapshot(root) == before
