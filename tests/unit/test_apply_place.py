"""The overlay is put in place whole: with owners, modes, times, attributes, links and holes, and nowhere else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.unit.applying import OLD_TIME, Bench, bench  # noqa: F401 - fixture
from tests.unit.small_disks import tmpfs
from tklbam_core.api.errors import FormatError, SpaceError, UnsafePathError
from tklbam_core.api.process import run
from tklbam_core.delta.metadata import IdMaps
from tklbam_core.delta.model import Change
from tklbam_core.delta.saved import SavedFiles

# ruff: noqa: F811

pytestmark = pytest.mark.root


def no_left_overs(root: Path) -> bool:
    return not [name for _, names, files in os.walk(root) for name in names + files if name.startswith(".")]


def test_content_owner_mode_and_time_arrive(bench: Bench) -> None:
    bench.put("/srv/a/file", b"hello", 0o640, 1000, 50)
    bench.link("/srv/a/link", "/absolute/target")
    bench.maps = IdMaps({1000: 1005}, {50: 60})
    bench.ship()
    report = bench.place()
    assert (report.done, report.problems) == (2, [])
    status = (bench.root / "srv/a/file").stat()
    assert (bench.root / "srv/a/file").read_bytes() == b"hello"
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o640, 1005, 60)
    assert status.st_mtime_ns == OLD_TIME
    assert os.readlink(bench.root / "srv/a/link") == "/absolute/target"
    assert no_left_overs(bench.root)


def test_missing_parents_are_made_like_those_of_the_backup(bench: Bench) -> None:
    bench.put("/srv/private/deep/file")
    os.chmod(bench.old / "srv/private", 0o2750)
    os.chown(bench.old / "srv/private", 1000, 50)
    os.chmod(bench.old / "srv/private", 0o2750)
    bench.maps = IdMaps({1000: 7}, {50: 8})
    bench.ship()
    assert bench.place().problems == []
    status = (bench.root / "srv/private").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o2750, 7, 8)


def test_existing_parents_stay_as_they_are(bench: Bench) -> None:
    (bench.root / "srv").mkdir(mode=0o700)
    bench.put("/srv/file")
    bench.ship()
    bench.place()
    assert stat.S_IMODE((bench.root / "srv").stat().st_mode) == 0o700


def test_setuid_bits_and_capabilities_survive_the_change_of_owner(bench: Bench) -> None:
    bench.put("/bin/su", b"x", 0o6755, 1000, 50)
    capable = bench.put("/bin/ping", b"x", 0o755, 1000, 50)
    run(["setcap", "cap_net_raw+ep", str(capable)])
    wanted = os.getxattr(capable, "security.capability")
    bench.maps = IdMaps({1000: 1001})
    bench.ship()
    assert bench.apply()[0].problems == []
    assert stat.S_IMODE((bench.root / "bin/su").stat().st_mode) == 0o6755
    assert (bench.root / "bin/ping").stat().st_uid == 1001
    assert os.getxattr(bench.root / "bin/ping", "security.capability") == wanted


def test_acls_arrive_with_their_ids_mapped(bench: Bench) -> None:
    shared = bench.put("/srv/shared/file", uid=1000)
    run(["setfacl", "-m", "u:1000:rw,g:50:r,u:1001:r", str(shared)])
    run(["setfacl", "-d", "-m", "u:1000:rwx", str(shared.parent)])
    bench.stat("/srv/shared", 0o40755)
    bench.maps = IdMaps({1000: 2000}, {50: 51})
    bench.ship()
    reports = bench.apply()
    assert [report.problems for report in reports] == [[], [], []]
    shown = run(["getfacl", "-np", str(bench.root / "srv/shared/file")]).stdout.decode()
    assert "user:2000:rw-" in shown
    assert "user:1001:r--" in shown
    assert "group:51:r--" in shown
    assert "user:1000" not in shown
    assert "default:user:2000:rwx" in run(["getfacl", "-np", str(bench.root / "srv/shared")]).stdout.decode()


def test_a_default_acl_of_the_target_does_not_rub_off(bench: Bench) -> None:
    (bench.root / "srv").mkdir()
    run(["setfacl", "-d", "-m", "u:1000:rwx", str(bench.root / "srv")])
    bench.put("/srv/file", mode=0o600)
    bench.ship()
    bench.place()
    assert os.listxattr(bench.root / "srv/file") == []
    assert stat.S_IMODE((bench.root / "srv/file").stat().st_mode) == 0o600


def test_hard_links_are_one_file_again_and_no_other_names_of_it_are_touched(bench: Bench) -> None:
    first = bench.put("/srv/a/one", b"shared")
    (bench.old / "srv/b").mkdir()
    for name in ("a/two", "b/three"):
        os.link(first, bench.old / "srv" / name)
        bench.note(f"/srv/{name}")
    (bench.root / "srv/a").mkdir(parents=True)
    (bench.root / "srv/a/one").write_text("old")
    os.link(bench.root / "srv/a/one", bench.root / "srv/other")
    bench.ship()
    assert bench.place().problems == []
    names = [bench.root / "srv" / name for name in ("a/one", "a/two", "b/three")]
    assert len({path.stat().st_ino for path in names}) == 1
    assert names[0].stat().st_nlink == 3
    assert (bench.root / "srv/other").read_text() == "old"
    assert no_left_overs(bench.root)
    # And again, over what is in place already.
    bench.ship()
    assert bench.place().problems == []
    assert names[2].stat().st_nlink == 3
    assert no_left_overs(bench.root)


def test_hard_links_of_which_some_are_not_taken_link_the_rest(bench: Bench) -> None:
    first = bench.put("/srv/1", b"shared")
    for name in ("2", "3", "4"):
        os.link(first, bench.old / "srv" / name)
        bench.note(f"/srv/{name}")
    bench.takes = lambda path: path in (b"/srv/2", b"/srv/4")
    bench.ship()
    assert bench.place().problems == []
    assert sorted(os.listdir(bench.root / "srv")) == ["2", "4"]
    assert (bench.root / "srv/2").stat().st_ino == (bench.root / "srv/4").stat().st_ino


def test_two_names_that_are_one_place_here_stay_one_file(bench: Bench) -> None:
    (bench.root / "usr/bin").mkdir(parents=True)
    (bench.root / "bin").symlink_to("usr/bin")
    first = bench.put("/bin/tool", b"tool")
    (bench.old / "usr/bin").mkdir(parents=True)
    os.link(first, bench.old / "usr/bin/tool")
    bench.note("/usr/bin/tool")
    bench.ship()
    assert bench.place().problems == []
    assert os.listdir(bench.root / "usr/bin") == ["tool"]
    assert (bench.root / "usr/bin/tool").stat().st_nlink == 1


def test_sparse_files_are_sparse_again_and_the_rest_is_not_touched(bench: Bench) -> None:
    with open(bench.put("/srv/image", b""), "r+b") as file:
        file.seek(20 << 20)
        file.write(b"middle")
        file.seek(40 << 20)
        file.truncate()
    bench.ship()
    assert (bench.staging / "srv/image").stat().st_blocks * 512 >= 40 << 20
    assert bench.place().problems == []
    status = (bench.root / "srv/image").stat()
    assert status.st_size == 40 << 20
    assert status.st_blocks * 512 < 1 << 20
    assert (bench.root / "srv/image").read_bytes() == (bench.old / "srv/image").read_bytes()


def test_fifos_and_device_nodes_arrive(bench: Bench) -> None:
    (bench.old / "dev").mkdir()
    os.mkfifo(bench.old / "dev/pipe", 0o620)
    os.mknod(bench.old / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(bench.old / "dev/loop", stat.S_IFBLK | 0o660, os.makedev(7, 0))
    for name in ("pipe", "null", "loop"):
        os.chown(bench.old / "dev" / name, 5, 6)
        bench.note(f"/dev/{name}")
    bench.ship()
    assert bench.place().problems == []
    for name in ("pipe", "null", "loop"):
        was, is_now = (bench.old / "dev" / name).lstat(), (bench.root / "dev" / name).lstat()
        assert (was.st_mode, was.st_rdev, is_now.st_uid) == (is_now.st_mode, is_now.st_rdev, 5)


def test_odd_names_are_put_back_with_directories_of_odd_names(bench: Bench) -> None:
    bench.put(b"/srv/\xff\xfe/dir/na\nme\xf0", b"odd", 0o4750, 1000, 50)
    bench.link(b"/srv/\xff\xfe/link", b"\xfetarget")
    os.chmod(os.fsencode(bench.old) + b"/srv/\xff\xfe", 0o700)
    os.chown(os.fsencode(bench.old) + b"/srv/\xff\xfe", 1000, 50)
    bench.maps = IdMaps({1000: 9}, {})
    bench.ship()
    assert os.listdir(bench.staging) == []
    assert bench.place().problems == []
    base = os.fsencode(bench.root) + b"/srv/\xff\xfe"
    status = os.stat(base + b"/dir/na\nme\xf0")
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_mtime_ns) == (0o4750, 9, OLD_TIME)
    assert os.readlink(base + b"/link") == b"\xfetarget"
    assert (stat.S_IMODE(os.stat(base).st_mode), os.stat(base).st_uid) == (0o700, 9)


@pytest.mark.parametrize("with_area", [True, False])
def test_a_directory_makes_room_for_a_file_and_a_file_for_a_directory(bench: Bench, with_area: bool) -> None:
    (bench.root / "srv/was-dir/full").mkdir(parents=True)
    (bench.root / "srv/was-dir/full/x").write_text("x")
    (bench.root / "srv/was-file").write_text("file")
    (bench.root / "srv/dangling").symlink_to("nowhere")
    bench.put("/srv/was-dir", b"now a file")
    bench.gone("/srv/was-dir/full/x")
    bench.put("/srv/was-file/below/it", b"now below")
    bench.put("/srv/dangling/below", b"now below")
    bench.ship()
    saved = bench.save() if with_area else None
    reports = bench.apply(saved)
    assert [problem for report in reports for problem in report.problems] == []
    assert (bench.root / "srv/was-dir").read_bytes() == b"now a file"
    assert (bench.root / "srv/was-file/below/it").read_bytes() == b"now below"
    assert (bench.root / "srv/dangling/below").read_bytes() == b"now below"
    assert sorted(reports[0].displaced) == [b"/srv/dangling", b"/srv/was-dir", b"/srv/was-file"]
    assert no_left_overs(bench.root)


def test_a_directory_replaced_by_a_link_does_not_lead_deletions_elsewhere(bench: Bench) -> None:
    (bench.root / "var/lib/mysql").mkdir(parents=True)
    (bench.root / "var/lib/mysql/ibdata1").write_text("old place")
    (bench.root / "data").mkdir()
    (bench.root / "data/ibdata1").write_text("new place")
    bench.link("/var/lib/mysql", "/data")
    bench.gone("/var/lib/mysql/ibdata1")
    bench.ship()
    bench.apply(bench.save())
    assert os.readlink(bench.root / "var/lib/mysql") == "/data"
    assert (bench.root / "data/ibdata1").read_text() == "new place"


def test_the_overlay_goes_through_links_that_the_system_has(bench: Bench) -> None:
    (bench.root / "usr/bin").mkdir(parents=True)
    (bench.root / "bin").symlink_to("usr/bin")
    bench.put("/bin/tool", b"tool")
    bench.stat("/bin", 0o40755)
    bench.ship()
    reports = bench.apply(bench.save())
    assert [problem for report in reports for problem in report.problems] == []
    assert (bench.root / "bin").is_symlink()
    assert (bench.root / "usr/bin/tool").read_bytes() == b"tool"


@pytest.mark.parametrize("target", ["../../outside", "../../../../../../../../outside"])
def test_a_planted_link_never_leads_out_of_the_root(bench: Bench, target: str) -> None:
    (bench.base / "outside").mkdir()
    (bench.root / "srv").mkdir()
    (bench.root / "srv/planted").symlink_to(target)
    bench.put("/srv/planted/file")
    bench.ship()
    for attempt in (bench.save, bench.place):
        with pytest.raises(UnsafePathError, match="/srv/planted"):
            attempt()
    assert os.listdir(bench.base / "outside") == []


@pytest.mark.parametrize("kind", ["o", "s", "a"])
def test_nothing_is_applied_below_what_the_overlay_itself_makes_a_link(bench: Bench, kind: str) -> None:
    (bench.root / "etc").mkdir()
    (bench.root / "etc/cron").write_text("mine")
    bench.link("/link", "/etc")
    bench.link("/link-2", "/etc")
    bench.changes.append(Change(kind, b"/link/cron", 0, 0, 0o100666))  # type: ignore[arg-type]
    bench.ship()
    for attempt in (bench.save, bench.place, lambda: bench.apply()):
        with pytest.raises(UnsafePathError, match="/link/cron"):
            attempt()
    assert (bench.root / "etc/cron").read_text() == "mine"
    assert stat.S_IMODE((bench.root / "etc/cron").stat().st_mode) != 0o666


def test_a_delta_path_with_dots_is_refused(bench: Bench) -> None:
    bench.changes.append(Change("o", b"/srv/../../etc/x"))
    with pytest.raises(UnsafePathError, match="plain form"):
        bench.save()
    with pytest.raises(UnsafePathError, match="plain form"):
        bench.place()


def test_a_delta_out_of_order_is_refused(bench: Bench) -> None:
    saved = SavedFiles(bench.area, bench.root)
    with pytest.raises(FormatError, match="order"):
        saved.save([Change("d", b"/b"), Change("d", b"/a/c"), Change("d", b"/a-b"), Change("d", b"/a/b")])


@pytest.mark.parametrize("name", ["passwd", "group", "shadow", "gshadow", "subuid", "subgid", "shadow-", "passwd-"])
def test_user_databases_are_never_taken_from_the_overlay(bench: Bench, name: str) -> None:
    (bench.root / "etc").mkdir()
    (bench.root / "usr").mkdir()
    (bench.root / "usr/etc").symlink_to("../etc")
    (bench.root / "etc" / name).write_text("ours")
    bench.put(f"/etc/{name}", b"theirs")
    bench.put(f"/usr/etc/{name}", b"theirs through a link")
    bench.put("/etc/hosts", b"theirs")
    bench.ship()
    report = bench.apply()[0]
    assert (report.done, report.skipped, report.problems) == (1, 2, [])
    assert (bench.root / "etc" / name).read_text() == "ours"
    assert (bench.root / "etc/hosts").read_text() == "theirs"


def test_only_what_is_taken_is_touched(bench: Bench) -> None:
    bench.put("/srv/yes")
    bench.put("/srv/no")
    bench.takes = lambda path: path == b"/srv/yes"
    bench.ship()
    bench.place()
    assert os.listdir(bench.root / "srv") == ["yes"]


def test_a_staging_tree_of_others_is_left_whole(bench: Bench) -> None:
    bench.put("/srv/file", b"theirs", uid=5)
    bench.maps = IdMaps({5: 6})
    bench.ship()
    assert bench.place(owned=False).problems == []
    assert (bench.staging / "srv/file").read_bytes() == b"theirs"
    assert (bench.staging / "srv/file").stat().st_uid == 5
    assert (bench.root / "srv/file").stat().st_uid == 6


def test_a_path_that_the_archive_lacks_is_named(bench: Bench) -> None:
    bench.put("/srv/a")
    bench.put("/srv/b")
    bench.ship()
    (bench.staging / "srv/a").unlink()
    report = bench.place()
    assert report.done == 1
    assert [str(problem) for problem in report.problems] == ["/srv/a: not in the archive"]


def test_a_file_that_can_t_be_replaced_is_named_and_the_rest_is_done(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (bench.root / "srv").mkdir()
    (bench.root / "srv/b").write_text("immutable")
    for name in ("a", "b", "c"):
        bench.put(f"/srv/{name}")
    bench.ship()
    run(["chattr", "+i", str(bench.root / "srv/b")])
    try:
        report = bench.place(bench.save())
    finally:
        run(["chattr", "-i", str(bench.root / "srv/b")])
    assert report.done == 2
    assert [problem.path for problem in report.problems] == [b"/srv/b"]
    assert (bench.root / "srv/b").read_text() == "immutable"
    assert no_left_overs(bench.root)


def test_a_full_disk_is_an_error_that_names_the_path_and_leaves_no_half_file(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "root", "1m"):
        bench = Bench(tmp_path)
        bench.put("/srv/large", os.urandom(2 << 20))
        bench.ship()
        with pytest.raises(SpaceError, match="/srv/large"):
            bench.place()
        assert os.listdir(bench.root / "srv") == []


@pytest.mark.parametrize("with_area", [True, False])
def test_a_directory_with_something_mounted_below_never_makes_room(bench: Bench, with_area: bool) -> None:
    (bench.root / "srv/dir/deep").mkdir(parents=True)
    with tmpfs(bench.root / "srv/dir/deep/mo unted", "1m") as mounted:
        (mounted / "precious").write_text("kept")
        bench.put("/srv/dir", b"file")
        bench.ship()
        report = bench.place(bench.save() if with_area else None)
        assert [str(problem) for problem in report.problems] == ["/srv/dir: another file system is mounted there"]
        assert (mounted / "precious").read_text() == "kept"
        assert no_left_overs(bench.root)


def test_a_long_name_can_be_placed(bench: Bench) -> None:
    name = "/srv/" + "n" * 255
    bench.put(name)
    bench.ship()
    assert bench.place().problems == []
    assert Path(f"{bench.root}{name}").exists()
