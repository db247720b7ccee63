"""What counts as a change: every row of the table, and what must never be taken for one."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.indexes import create_index
from tests.unit.dropping import as_nobody
from tklbam_core.api.errors import FormatError
from tklbam_core.delta.changes import find_changes
from tklbam_core.delta.dirindex import read_index, write_index
from tklbam_core.delta.model import Change
from tklbam_core.delta.rules import PathRules
from tklbam_core.delta.scan import ScanReport, scan

OLD = 1_000_000_000


class System:
    """A small system under `root` with a profile's index beside it."""

    def __init__(self, place: Path) -> None:
        self.root = place / "root"
        self.index = place / "dirindex"
        self.report = ScanReport()
        self.asked: list[bytes] = []
        for name in ("dir/in/deep", "dir/x", "file", "gone", "odd\nna\tme\\", "\udcff\udcfe"):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text("0123456789")
            os.utime(self.root / name, (OLD, OLD))
        (self.root / "empty").write_text("")
        os.utime(self.root / "empty", (OLD, OLD))
        (self.root / "link").symlink_to("file")
        os.utime(self.root / "link", (OLD, OLD), follow_symlinks=False)
        os.mkfifo(self.root / "fifo")
        os.utime(self.root / "fifo", (OLD, OLD))

    def take_profile(self, *words: str, version: int = 2) -> None:
        rules = PathRules.from_words(words or ["/"])
        create_index(self.index, root=self.root, rules=rules)
        if version == 1:
            lines = [
                b"%b\t%x\t%x\t%x\t%x\t%x%b\n" % (*entry[:6], b"\t" + entry.target if entry.target else b"")
                for entry in read_index(self.index)
                if b"\n" not in entry.path
            ]
            self.index.write_bytes(b"".join(sorted(lines)))

    def changes(self, *words: str, skip: tuple[bytes, ...] = (), checksum: bool = False) -> list[Change]:
        self.report = ScanReport()

        def differs(path: bytes) -> bool:
            self.asked.append(path)
            return "user.changed" in os.listxattr(os.fsencode(self.root) + path, follow_symlinks=False)

        return list(
            find_changes(
                root=self.root,
                index=self.index,
                rules=PathRules.from_words(words or ["/"]),
                skip=skip,
                checksum=checksum,
                attributes=differs,
                report=self.report,
            )
        )

    def kinds(self, *words: str, skip: tuple[bytes, ...] = (), checksum: bool = False) -> list[tuple[str, bytes]]:
        return [(change.kind, change.path) for change in self.changes(*words, skip=skip, checksum=checksum)]


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(tmp_path)


def rewrite(place: Path, text: str = "9876543210", mtime: int = OLD) -> None:
    place.write_text(text)
    os.utime(place, (mtime, mtime))


def replace(place: Path, make: Callable[[Path], object]) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink()
    make(place)


def bind_socket(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place))


TABLE: list[tuple[str, Callable[[Path], object], list[tuple[str, bytes]]]] = [
    ("nothing", lambda root: None, []),
    ("new file", lambda root: (root / "new").write_text(""), [("o", b"/new")]),
    ("new link", lambda root: (root / "new").symlink_to("x"), [("o", b"/new")]),
    ("new fifo", lambda root: os.mkfifo(root / "new"), [("o", b"/new")]),
    ("new directory", lambda root: (root / "new").mkdir(), [("s", b"/new")]),
    ("new socket", lambda root: bind_socket(root / "new"), []),
    (
        "new hostile name",
        lambda root: (root / "dir" / "a\tb\n\\\r\udcff").write_text(""),
        [("o", b"/dir/a\tb\n\\\r\xff")],
    ),
    ("size", lambda root: rewrite(root / "file", "longer than it was"), [("o", b"/file")]),
    ("mtime", lambda root: os.utime(root / "file", (OLD, OLD + 1)), [("o", b"/file")]),
    ("mtime below a second", lambda root: os.utime(root / "file", ns=(0, OLD * 10**9 + 999_999_999)), []),
    ("mtime of a hostile name", lambda root: os.utime(root / "odd\nna\tme\\", (0, 0)), [("o", b"/odd\nna\tme\\")]),
    ("mtime of a fifo", lambda root: os.utime(root / "fifo", (OLD, OLD + 1)), [("o", b"/fifo")]),
    ("directory mtime", lambda root: os.utime(root / "dir", (0, 0)), []),
    ("atime", lambda root: os.utime(root / "file", (0, OLD)), []),
    ("mode", lambda root: (root / "file").chmod(0o4750), [("s", b"/file")]),
    ("directory mode", lambda root: (root / "dir").chmod(0o700), [("s", b"/dir")]),
    ("mode and mtime", lambda root: [(root / "file").chmod(0o600), os.utime(root / "file", (0, 0))], [("o", b"/file")]),
    (
        "link mtime",
        lambda root: os.utime(root / "link", (0, 0), follow_symlinks=False),
        [],
    ),
    ("link renewed", lambda root: replace(root / "link", lambda p: p.symlink_to("file")), []),
    ("link target", lambda root: replace(root / "link", lambda p: p.symlink_to("other")), [("o", b"/link")]),
    (
        "link target of the same length and time",
        lambda root: [
            replace(root / "link", lambda p: p.symlink_to("elif")),
            os.utime(root / "link", (OLD, OLD), follow_symlinks=False),
        ],
        [("o", b"/link")],
    ),
    ("gone file", lambda root: (root / "gone").unlink(), [("d", b"/gone")]),
    ("gone hostile name", lambda root: (root / "odd\nna\tme\\").unlink(), [("d", b"/odd\nna\tme\\")]),
    (
        "gone directory",
        lambda root: shutil.rmtree(root / "dir"),
        [("d", b"/dir"), ("d", b"/dir/in"), ("d", b"/dir/in/deep"), ("d", b"/dir/x")],
    ),
    ("file to socket", lambda root: replace(root / "file", bind_socket), [("d", b"/file")]),
    ("file to link", lambda root: replace(root / "file", lambda p: p.symlink_to("gone")), [("o", b"/file")]),
    (
        "file to fifo of the same size and time",
        lambda root: [replace(root / "empty", os.mkfifo), os.utime(root / "empty", (OLD, OLD))],
        [("o", b"/empty")],
    ),
    (
        "file to directory",
        lambda root: replace(root / "file", lambda p: (p / "sub").mkdir(parents=True)),
        [("s", b"/file"), ("s", b"/file/sub")],
    ),
    ("link to directory", lambda root: replace(root / "link", Path.mkdir), [("s", b"/link")]),
    (
        "directory to file",
        lambda root: replace(root / "dir/in", Path.touch),
        [("o", b"/dir/in"), ("d", b"/dir/in/deep")],
    ),
    (
        "directory to link",
        lambda root: replace(root / "dir/in", lambda p: p.symlink_to("/etc")),
        [("o", b"/dir/in"), ("d", b"/dir/in/deep")],
    ),
    (
        "directory to socket",
        lambda root: replace(root / "dir/in", bind_socket),
        [("d", b"/dir/in"), ("d", b"/dir/in/deep")],
    ),
]


# Version 1 can't hold the name that these rows are about.
CASES = [
    pytest.param(version, act, expected, id=f"{name}, version {version}")
    for name, act, expected in TABLE
    for version in (1, 2)
    if version == 2 or name not in ("mtime of a hostile name", "gone hostile name")
]


@pytest.mark.parametrize(("version", "act", "expected"), CASES)
def test_the_table(
    version: int, act: Callable[[Path], object], expected: list[tuple[str, bytes]], system: System
) -> None:
    if version == 1:
        (system.root / "odd\nna\tme\\").rename(system.root / "odd")
    system.take_profile(version=version)
    act(system.root)
    assert system.kinds() == expected
    assert system.report.problem_count == 0


@pytest.mark.root
def test_owners_and_devices(system: System) -> None:
    os.mknod(system.root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    system.take_profile()
    os.chown(system.root / "file", 12, 34)
    os.lchown(system.root / "link", 0, 34)
    os.chown(system.root / "dir", 0, 4_000_000_000)
    os.mknod(system.root / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    assert [change[:5] for change in system.changes()] == [
        ("s", b"/dir", 0, 4_000_000_000, 0o40755),
        ("s", b"/file", 12, 34, 0o100644),
        ("s", b"/link", 0, 34, 0o120777),
        ("o", b"/zero", 0, 0, 0o20644),
    ]


def test_a_change_tells_what_was_found(system: System) -> None:
    system.take_profile()
    os.link(system.root / "file", system.root / "second")
    with open(system.root / "sparse", "wb") as sparse:
        sparse.truncate(1 << 40)
    second, third = system.changes()
    status = os.lstat(system.root / "file")
    assert second == Change(
        "o", b"/second", status.st_uid, status.st_gid, 0o100644, 10, 2, (status.st_dev, status.st_ino)
    )
    assert (third.path, third.size, third.links) == (b"/sparse", 1 << 40, 1)


def test_without_an_index_everything_is_new(system: System) -> None:
    changes = find_changes(root=system.root, index=None, rules=PathRules.from_words(["/dir"]), report=system.report)
    assert [change[:2] for change in changes] == [
        ("s", b"/dir"),
        ("s", b"/dir/in"),
        ("o", b"/dir/in/deep"),
        ("o", b"/dir/x"),
    ]


def test_version_1_order_gives_no_false_changes(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("a/b", "a-b", "a.d/x", "a/z/y"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    system = System(tmp_path)
    system.take_profile(version=1)
    lines = system.index.read_bytes()
    assert lines.index(b"/a-b\t") < lines.index(b"/a/b\t"), "byte order, as version 1 has it"
    changes = [change for change in system.kinds() if change[1] != b"/odd\nna\tme\\"]
    assert changes == []


def test_only_attributes_are_asked_about_where_ctime_differs(system: System) -> None:
    system.take_profile()
    os.setxattr(system.root / "file", "user.changed", b"1")
    os.setxattr(system.root / "dir", "user.changed", b"1")
    os.setxattr(system.root / "gone", "user.other", b"1")
    os.setxattr(system.root / "dir/x", "user.changed", b"1")
    (system.root / "dir/x").chmod(0o600)
    assert system.kinds() == [("a", b"/dir"), ("s", b"/dir/x"), ("a", b"/file")]
    assert system.asked == [b"/dir", b"/file", b"/gone"]

    system.asked.clear()
    system.take_profile(version=1)
    assert system.kinds() == [("o", b"/odd\nna\tme\\")]
    assert system.asked == [], "an index without ctime gives no reason to ask"


def test_checksum_finds_content_changed_behind_an_unchanged_mtime(system: System) -> None:
    system.take_profile()
    assert system.kinds(checksum=True) == []
    assert system.asked == []
    rewrite(system.root / "file")
    rewrite(system.root / "dir/x")
    (system.root / "dir/x").chmod(0o600)
    assert system.kinds() == [("s", b"/dir/x")]
    assert system.report.unchecked == 0
    assert system.kinds(checksum=True) == [("o", b"/dir/x"), ("o", b"/file")]
    assert system.report.unchecked == 0


def test_checksum_says_what_it_cannot_see(system: System) -> None:
    (system.root / "odd\nna\tme\\").unlink()
    system.take_profile(version=1)
    rewrite(system.root / "file")
    assert system.kinds(checksum=True) == []
    assert system.report.unchecked == 6


def test_what_the_rules_leave_out_now_is_not_deleted(system: System) -> None:
    system.take_profile()
    shutil.rmtree(system.root / "dir")
    (system.root / "gone").unlink()
    assert system.kinds("/", "-/dir/in", "-/g*") == [("d", b"/dir"), ("d", b"/dir/x")]
    assert system.kinds("/", "-/gone", skip=(b"/dir",)) == []
    assert system.kinds("/dir/x") == [("d", b"/dir/x")]
    assert system.kinds("-/dir") == []
    assert system.kinds("/none") == []


def test_what_a_glob_names_is_deleted_though_it_is_on_no_disk(system: System) -> None:
    system.take_profile()
    shutil.rmtree(system.root / "dir")
    assert system.kinds("/d*/in", "/other") == [("d", b"/dir/in"), ("d", b"/dir/in/deep")]


def test_a_file_that_goes_away_during_the_scan_is_deleted(system: System) -> None:
    system.take_profile()
    report = ScanReport()
    rewrite(system.root / "dir/x", "something longer")
    found = []
    for change in find_changes(root=system.root, index=system.index, rules=PathRules.from_words(["/"]), report=report):
        found.append(change[:2])
        (system.root / "gone").unlink(missing_ok=True)
    assert found == [("o", b"/dir/x"), ("d", b"/gone")]
    assert report.problem_count == 0
    assert report.vanished == 1


@pytest.fixture
def open_system() -> Iterator[System]:
    """One that every user can reach (pytest's own directories are the test user's alone)."""
    place = Path(tempfile.mkdtemp(prefix="tklbam-changes-"))
    place.chmod(0o755)
    yield System(place)
    subprocess.run(["chmod", "-R", "u+rwx", place], check=True)
    shutil.rmtree(place)


def test_what_cannot_be_read_is_a_problem_and_neither_deleted_nor_in_the_overlay(open_system: System) -> None:
    system = open_system
    system.take_profile()
    system.index.chmod(0o644)
    rewrite(system.root / "file", "changed, and closed")
    (system.root / "file").chmod(0)
    (system.root / "new").write_text("new, and closed")
    (system.root / "new").chmod(0)
    (system.root / "gone").chmod(0o200)
    rewrite(system.root / "dir/in/deep", "changed in a closed directory")
    (system.root / "dir/x").unlink()
    (system.root / "dir/in").chmod(0)

    def look() -> tuple[list[tuple[str, bytes]], ScanReport]:
        return system.kinds(), system.report

    found, report = as_nobody(look)
    assert found == [("s", b"/dir/in"), ("d", b"/dir/x"), ("s", b"/gone")]
    assert [problem.path for problem in report.problems] == [b"/dir/in", b"/file", b"/new"]
    assert report.problem_count == 3

    (system.root / "dir").chmod(0o444)
    found, report = as_nobody(look)
    assert found == [("s", b"/dir"), ("s", b"/gone")]
    assert [problem.path for problem in report.problems] == [b"/dir", b"/file", b"/new"]


def test_checksum_of_an_unreadable_file_is_a_problem(open_system: System) -> None:
    system = open_system
    system.take_profile()
    system.index.chmod(0o644)
    (system.root / "file").chmod(0)

    def look() -> tuple[list[tuple[str, bytes]], ScanReport]:
        return system.kinds(checksum=True), system.report

    found, report = as_nobody(look)
    assert found == []
    assert [problem.path for problem in report.problems] == [b"/file"]


OVERMOUNTED = """
import json, subprocess, sys
from pathlib import Path
from tklbam_core.delta.changes import find_changes
from tklbam_core.delta.rules import PathRules
from tklbam_core.delta.scan import ScanReport
root, index = Path(sys.argv[1]), Path(sys.argv[2])
subprocess.run(["mount", "-t", "tmpfs", "none", root / "dir/in"], check=True)
(root / "dir/in/new").touch()
answers = []
for words in (["/"], ["/", "/dir/in"], ["/", "/dir/in/deep"]):
    report = ScanReport()
    found = find_changes(root=root, index=index, rules=PathRules.from_words(words), report=report)
    answers.append([[change.kind, change.path.decode()] for change in found])
    assert report.problem_count == 0
print(json.dumps(answers))
"""


@pytest.mark.root
def test_what_lies_under_a_mount_is_not_deleted(system: System) -> None:
    system.take_profile()
    command = ["unshare", "-m", "--propagation", "private", sys.executable, "-c", OVERMOUNTED]
    done = subprocess.run([*command, system.root, system.index], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == [
        [],
        [["s", "/dir/in"], ["d", "/dir/in/deep"], ["o", "/dir/in/new"]],
        [["d", "/dir/in/deep"]],
    ]


def test_a_root_that_is_not_there_deletes_nothing(system: System) -> None:
    system.take_profile()
    shutil.rmtree(system.root)
    assert system.kinds() == []
    assert system.report.problem_count == 1


def test_a_damaged_index_is_named_with_its_line(system: System) -> None:
    system.take_profile()
    lines = system.index.read_bytes().split(b"\n")
    assert lines[5].startswith(b"/dir/x\t")

    def damage(number: int, line: bytes) -> pytest.ExceptionInfo[FormatError]:
        system.index.write_bytes(b"\n".join([*lines[: number - 1], line, *lines[number:]]))
        with pytest.raises(FormatError) as caught:
            system.kinds()
        return caught

    assert damage(6, b"nonsense").value.line == 6
    assert damage(6, lines[1]).value.line == 6
    assert "out of order" in str(damage(6, lines[3]).value)
    assert damage(6, lines[4]).value.line == 6
    system.index.write_bytes(b"\n".join(lines)[:-4])
    with pytest.raises(FormatError, match="cut short") as caught:
        system.kinds()
    assert caught.value.line == len(lines) - 1
    (system.root / "\udcff\udcfe").unlink()
    assert damage(len(lines) - 1, lines[-2] + b"\tmore").value.line == len(lines) - 1


def test_a_name_that_looks_like_an_escape_is_not_taken_for_the_escaped(tmp_path: Path) -> None:
    system = System(tmp_path)
    (system.root / "x\\ny").write_text("0123456789")
    os.utime(system.root / "x\\ny", (OLD, OLD))
    (entry,) = scan(system.root, PathRules.from_words(["/x\\ny"]))
    write_index(system.index, [entry._replace(path=b"/x\ny")])
    assert system.kinds("/x?*") == [("d", b"/x\ny"), ("o", b"/x\\ny")]
    write_index(system.index, [entry])
    assert system.kinds("/x?*") == []
