"""The walk: what the rules name and nothing else, whatever is in the way."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.dropping import as_nobody
from tklbam_core.delta.model import Entry
from tklbam_core.delta.rules import PathRule, PathRules
from tklbam_core.delta.scan import ScanReport, Walk, scan


def paths(
    root: Path, *words: str | bytes, skip: tuple[bytes, ...] = (), report: ScanReport | None = None
) -> list[bytes]:
    return [entry.path for entry in scan(root, PathRules.from_words(words), skip=skip, report=report)]


def make(root: Path, *names: str) -> None:
    """Makes directories (names that end with a slash) and files."""
    for name in names:
        place = root / name
        (place if name.endswith("/") else place.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            place.write_text(name)


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A directory that every user can reach (pytest's own are the test user's alone)."""
    directory = Path(tempfile.mkdtemp(prefix="tklbam-scan-"))
    directory.chmod(0o755)
    yield directory
    subprocess.run(["chmod", "-R", "u+rwx", directory], check=True)
    shutil.rmtree(directory)


def test_only_what_is_named_is_taken(tmp_path: Path) -> None:
    make(tmp_path, "etc/a", "etc/skip/b", "etc/skip/keep/c", "etc/skip/other/d", "srv/x/www/i", "srv/y/", "var/v", "z")
    assert paths(tmp_path, "/etc", "-/etc/skip", "/etc/skip/keep", "/srv/*/www", "/z", "/none") == [
        b"/etc",
        b"/etc/a",
        b"/etc/skip/keep",
        b"/etc/skip/keep/c",
        b"/srv/x/www",
        b"/srv/x/www/i",
        b"/z",
    ]
    assert paths(tmp_path, "-/etc") == []
    assert paths(tmp_path) == []
    assert len(paths(tmp_path, "/")) == 17


names = st.sampled_from(["a", "b", "ab", ".a"])
tree = st.lists(st.lists(names, min_size=1, max_size=4).map("/".join), max_size=8)
components = st.sampled_from([b"a", b"b", b"ab", b".a", b"*", b"a*", b".*"])
rule = st.builds(PathRule, st.booleans(), st.lists(components, max_size=3).map(lambda parts: b"/" + b"/".join(parts)))


@given(tree, st.lists(rule, max_size=5))
@settings(max_examples=100, deadline=None)
def test_a_scan_takes_what_the_filter_lets_through(directories: list[str], rules: list[PathRule]) -> None:
    with tempfile.TemporaryDirectory() as root:
        for directory in directories:
            os.makedirs(f"{root}/{directory}", exist_ok=True)
        everything = [entry.path for entry in scan(Path(root), PathRules.from_words(["/"]))]
        wanted = PathRules(rules)
        taken = [entry.path for entry in scan(Path(root), wanted)]
    if wanted.has_includes:
        assert taken == [path for path in everything if wanted.includes(path)]
    else:
        assert taken == []


def test_what_the_tool_keeps_for_itself_is_never_scanned(tmp_path: Path) -> None:
    make(tmp_path, "TKLBAM/fsdelta", "srv/backups/vol1", "srv/data", "var/x")
    (tmp_path / "target").symlink_to("/srv/backups")
    assert paths(tmp_path, "/", "/TKLBAM/fsdelta", skip=(b"/TKLBAM", b"/target/")) == [
        b"/",
        b"/srv",
        b"/srv/data",
        b"/var",
        b"/var/x",
    ]


def test_links_are_never_followed_and_a_named_one_is_the_link(tmp_path: Path) -> None:
    make(tmp_path, "d/e/f")
    (tmp_path / "d/loop").symlink_to("..")
    (tmp_path / "d/self").symlink_to("self")
    (tmp_path / "d/out").symlink_to("/")
    (tmp_path / "named").symlink_to("d")
    entries = list(scan(tmp_path, PathRules.from_words(["/d", "/named"])))
    assert [(entry.path, entry.target) for entry in entries] == [
        (b"/d", None),
        (b"/d/e", None),
        (b"/d/e/f", None),
        (b"/d/loop", b".."),
        (b"/d/out", b"/"),
        (b"/d/self", b"self"),
        (b"/named", b"d"),
    ]


def test_a_path_named_through_a_link_is_scanned_where_it_really_is_and_never_out_of_the_root(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    make(root, "run/x/pid", "var/")
    make(outside, "secret/key")
    (root / "var/run").symlink_to("/run")
    (root / "evil").symlink_to("../outside")
    (root / "evil2").symlink_to(outside)
    assert paths(root, "/var/run/x", "/evil/secret", "/evil2/secret") == [b"/run/x", b"/run/x/pid"]


def test_every_type_of_file(tmp_path: Path) -> None:
    make(tmp_path, "plain", "hard1")
    os.link(tmp_path / "hard1", tmp_path / "hard2")
    os.mkfifo(tmp_path / "fifo", 0o640)
    with open(tmp_path / "sparse", "wb") as sparse:
        sparse.truncate(1 << 40)
    (tmp_path / "setuid").write_bytes(b"")
    (tmp_path / "setuid").chmod(0o4755)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    report = ScanReport()
    entries = {entry.path: entry for entry in scan(tmp_path, PathRules.from_words(["/"]), report=report)}
    assert sorted(entries) == [b"/", b"/fifo", b"/hard1", b"/hard2", b"/plain", b"/setuid", b"/sparse"]
    assert stat.S_ISFIFO(entries[b"/fifo"].mode)
    assert entries[b"/sparse"].size == 1 << 40
    assert entries[b"/setuid"].mode == 0o104755
    status = os.lstat(tmp_path / "plain")
    assert entries[b"/plain"] == Entry(
        b"/plain", 0o100644, os.geteuid(), status.st_gid, 5, int(status.st_mtime), status.st_ctime_ns
    )
    assert report == ScanReport(entries=7)


@pytest.mark.root
def test_devices_are_entries(tmp_path: Path) -> None:
    os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(tmp_path / "loop", stat.S_IFBLK | 0o600, os.makedev(7, 200))
    modes = [stat.S_IFMT(entry.mode) for entry in scan(tmp_path, PathRules.from_words(["/"]))]
    assert modes == [stat.S_IFDIR, stat.S_IFBLK, stat.S_IFCHR]


def test_times_before_1970_are_whole_seconds_downwards(tmp_path: Path) -> None:
    make(tmp_path, "old")
    os.utime(tmp_path / "old", ns=(0, -1_500_000_000))
    (entry,) = scan(tmp_path, PathRules.from_words(["/old"]))
    assert entry.mtime == -2


def test_what_vanishes_during_the_scan_is_counted_and_no_problem(tmp_path: Path) -> None:
    make(tmp_path, "a", "b", "c/d", "e/f", "g")
    report = ScanReport()
    met = []
    for entry in scan(tmp_path, PathRules.from_words(["/"]), report=report):
        met.append(entry.path)
        if entry.path == b"/a":
            (tmp_path / "b").unlink()
        if entry.path == b"/c":
            shutil.rmtree(tmp_path / "c")
        if entry.path == b"/e":
            shutil.rmtree(tmp_path / "e")
            (tmp_path / "e").write_text("a file now")
    assert met == [b"/", b"/a", b"/c", b"/e", b"/g"]
    assert report == ScanReport(entries=5, vanished=3)


def test_a_directory_swapped_for_a_link_during_the_scan_is_not_left_through_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    make(root, "a/x", "b")
    make(tmp_path, "outside/secret")
    met = []
    for entry in scan(root, PathRules.from_words(["/"])):
        met.append(entry.path)
        if entry.path == b"/a":
            shutil.rmtree(root / "a")
            (root / "a").symlink_to(tmp_path / "outside")
    assert met == [b"/", b"/a", b"/b"]


def test_what_cannot_be_read_is_named_and_the_rest_is_scanned(open_path: Path) -> None:
    make(open_path, "a/x", "closed/x", "listed/x", "listed/y", "z")
    (open_path / "closed").chmod(0o000)
    (open_path / "listed").chmod(0o444)
    report = ScanReport()

    def look() -> tuple[list[bytes], ScanReport]:
        return paths(open_path, "/", report=report), report

    found, report = as_nobody(look)
    assert found == [b"/", b"/a", b"/a/x", b"/closed", b"/listed", b"/z"]
    assert [problem.path for problem in report.problems] == [b"/closed", b"/listed"]
    assert {problem.reason for problem in report.problems} == {os.strerror(errno.EACCES)}
    assert report.problem_count == 2
    assert report.vanished == 0


def test_problems_are_counted_beyond_those_kept() -> None:
    report = ScanReport()
    for number in range(1000):
        report.problem(b"/%d" % number, PermissionError(errno.EACCES, "no"))
    assert report.problem_count == 1000
    assert len(report.problems) == 100


def test_a_root_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    report = ScanReport()
    assert paths(tmp_path / "none", "/", report=report) == []
    assert report.problem_count == 1


def test_depth_has_no_limit_but_the_systems(tmp_path: Path) -> None:
    top = os.open(tmp_path, os.O_DIRECTORY)
    for _ in range(2500):
        os.mkdir("d", dir_fd=top)
        below = os.open("d", os.O_DIRECTORY, dir_fd=top)
        os.close(top)
        top = below
    os.close(top)
    report = ScanReport()
    try:
        found = paths(tmp_path, "/", report=report)
    finally:
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)
    assert len(found) > 1900
    assert report.problem_count == 1
    assert report.problems[0].reason == os.strerror(errno.ENAMETOOLONG)


MOUNTS = """
import json, subprocess, sys
from pathlib import Path
from tklbam_core.delta.rules import PathRules
from tklbam_core.delta.scan import ScanReport, scan
root = Path(sys.argv[1])
def mount(*words):
    subprocess.run(["mount", *words], check=True)
mount("-t", "tmpfs", "none", root / "mnt")
mount("-t", "tmpfs", "none", root / "net\\nwork")
(root / "mnt/data/deep").mkdir(parents=True)
mount("--bind", root / "a", root / "bound")
mount("--bind", root / "a/x", root / "file")
answers = []
for words in json.loads(sys.argv[2]):
    report = ScanReport()
    met = [entry.path.decode() for entry in scan(root, PathRules.from_words(words), report=report)]
    answers.append([met, [path.decode() for path in report.skipped_mounts]])
print(json.dumps(answers))
"""


@pytest.mark.root
def test_other_file_systems_are_left_out_unless_named(tmp_path: Path) -> None:
    make(tmp_path, "a/x", "mnt/under", "net\nwork/", "bound/", "file")
    asked = [["/"], ["/", "/mnt"], ["/", "/mnt/data/deep"], ["/bound", "-/bound/x"], ["/file"], ["/m*", "-/mnt/data"]]
    command = ["unshare", "-m", "--propagation", "private", sys.executable, "-c", MOUNTS, tmp_path, json.dumps(asked)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    skipped = ["/bound", "/file", "/mnt", "/net\nwork"]
    base = ["/", "/a", "/a/x"]
    mount = ["/mnt", "/mnt/data", "/mnt/data/deep"]
    assert json.loads(done.stdout) == [
        [base, skipped],
        [base + mount, ["/bound", "/file", "/net\nwork"]],
        [[*base, "/mnt/data/deep"], skipped],
        [["/bound"], []],
        [["/file"], []],
        [["/mnt"], []],
    ]


LATE_MOUNT = """
import json, subprocess, sys
from pathlib import Path
from tklbam_core.delta.rules import PathRules
from tklbam_core.delta.scan import ScanReport, Walk
root, report = Path(sys.argv[1]), ScanReport()
walk = Walk(root, PathRules.from_words(["/", "/mnt/data/named"]), skip=(), report=report)
subprocess.run(["mount", "-t", "tmpfs", "none", root / "mnt"], check=True)
(root / "mnt/data/named/x").mkdir(parents=True)
met = [path.decode() for path, *_ in walk]
print(json.dumps([met, [path.decode() for path in report.skipped_mounts], walk.covers(b"/mnt/under")]))
"""


@pytest.mark.root
def test_a_file_system_that_no_list_of_mounts_names_is_left_out_by_its_device(tmp_path: Path) -> None:
    make(tmp_path, "a", "mnt/under")
    command = ["unshare", "-m", "--propagation", "private", sys.executable, "-c", LATE_MOUNT, tmp_path]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    met = ["/", "/a", "/mnt/data/named", "/mnt/data/named/x"]
    assert json.loads(done.stdout) == [met, ["/mnt"], False]


@pytest.mark.root
def test_the_live_systems_proc_and_sys_are_left_out() -> None:
    report = ScanReport()
    walk = Walk(Path("/"), PathRules.from_words(["/", "-/*", "/proc", "-/proc", "/sys/kernel"]), skip=(), report=report)
    assert not walk.covers(b"/proc/1")
    assert walk.covers(b"/sys/kernel/x")
    walk = Walk(Path("/"), PathRules.from_words(["/"]), skip=(), report=report)
    assert not walk.covers(b"/proc/1/status")
    assert not walk.covers(b"/sys/kernel")
    assert walk.covers(b"/etc/passwd")
