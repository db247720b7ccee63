"""`tklbam internal dirindex`, run as people and scripts run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tklbam_core.delta.dirindex import read_index

Answer = tuple[int, bytes, str]


class Shell:
    def __init__(self, cwd: Path) -> None:
        self.cwd = cwd

    def __call__(self, *words: str | Path, text: bytes = b"") -> Answer:
        program = [sys.executable, "-c", "from tklbam_core.cli.main import main; main()", "internal", "dirindex"]
        done = subprocess.run([*program, *words], cwd=self.cwd, input=text, capture_output=True)
        return done.returncode, done.stdout, done.stderr.decode()


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "testdir/sub").mkdir(parents=True)
    (tmp_path / "testdir/file").write_text("file")
    (tmp_path / "testdir/sub/x").write_text("x")
    return Shell(tmp_path)


def test_relative_paths_stay_as_given_and_normalised(shell: Shell) -> None:
    assert shell("--create", "index", "./testdir/", "-testdir/./sub") == (0, b"", "")
    assert [entry.path for entry in read_index(shell.cwd / "index", relative=True)] == [b"testdir", b"testdir/file"]
    assert shell("index", "testdir", "-testdir/sub") == (0, b"", "")
    assert shell("index", "--", "testdir", "-./testdir/sub/") == (0, b"", "")
    (shell.cwd / "testdir/new").symlink_to("x")
    (shell.cwd / "testdir/file").unlink()
    (shell.cwd / "testdir").chmod(0o700)
    (shell.cwd / "testdir").stat()
    status, out, _ = shell("index", "testdir")
    uid, gid = (shell.cwd / "testdir/new").lstat().st_uid, (shell.cwd / "testdir/new").lstat().st_gid
    owner = b"%d\t%d" % (uid, gid)
    assert status == 0
    assert out == (
        b"s\ttestdir\t%b\t040700\nd\ttestdir/file\no\ttestdir/new\t%b\ns\ttestdir/sub\t%b\t040755\no\ttestdir/sub/x\t%b\n"
        % (owner, owner, owner, owner)
    )


def test_absolute_and_relative_paths_in_one_index(shell: Shell) -> None:
    assert shell("-c", "index", ".", "-pipe", shell.cwd / "testdir/sub")[0] == 0
    absolute = bytes(shell.cwd / "testdir/sub")
    assert [entry.path for entry in read_index(shell.cwd / "index", relative=True)] == [
        b".",
        absolute,
        absolute + b"/x",
        b"testdir",
        b"testdir/file",
        b"testdir/sub",
        b"testdir/sub/x",
    ]
    assert shell("index", ".", "-pipe", shell.cwd / "testdir/sub") == (0, b"", "")
    (shell.cwd / "testdir/sub/x").unlink()
    assert shell("index", ".", "-pipe", shell.cwd / "testdir/sub")[1] == b"d\t%b/x\nd\ttestdir/sub/x\n" % absolute


def test_paths_from_a_file_and_from_standard_input(shell: Shell) -> None:
    (shell.cwd / "list").write_text("# some\ntestdir -testdir/sub # more\n")
    assert shell("-i", "list", "-c", "index")[0] == 0
    assert shell("-i", "-", "-c", "second", text=b"testdir\n-testdir/sub\n")[0] == 0
    assert (shell.cwd / "index").read_bytes() == (shell.cwd / "second").read_bytes()
    assert [entry.path for entry in read_index(shell.cwd / "index", relative=True)] == [b"testdir", b"testdir/file"]


def test_version_1_where_it_can_say_all_and_version_2_where_it_cannot(shell: Shell) -> None:
    assert shell("-c", "index", "testdir")[0] == 0
    (shell.cwd / "testdir/by\\x2duuid").write_text("")
    assert shell("index", "testdir")[1].startswith(b"o\ttestdir/by\\x2duuid\t")
    (shell.cwd / "testdir/new\nline").write_text("")
    lines = shell("index", "testdir")[1].split(b"\n")
    assert [line.split(b"\t")[0] for line in lines] == [b"#tklbam 2", b"o", b"o", b""]
    assert lines[1].startswith(b"o\ttestdir/by\\\\x2duuid\t")
    assert lines[2].startswith(b"o\ttestdir/new\\nline\t")


def test_a_classic_index_is_compared(shell: Shell) -> None:
    status = (shell.cwd / "testdir/file").stat()
    row = b"testdir/file\t%x\t%x\t%x\t%x\t%x\n" % (
        status.st_mode,
        status.st_uid,
        status.st_gid,
        4,
        int(status.st_mtime),
    )
    (shell.cwd / "index").write_bytes(row + b"testdir/gone" + row[len("testdir/file") :])
    assert shell("index", "testdir", "-testdir/sub")[1].split(b"\n")[1:] == [b"d\ttestdir/gone", b""]


def test_digests_can_be_left_out_and_then_checksum_says_so(shell: Shell) -> None:
    assert shell("-c", "--no-hash", "index", "testdir")[0] == 0
    status, out, error = shell("--checksum", "index", "testdir")
    assert (status, out) == (0, b"")
    assert "no digest of 2 files" in error
    assert shell("-c", "index", "testdir")[0] == 0
    assert shell("--checksum", "index", "testdir") == (0, b"", "")


def test_a_root_is_the_system(shell: Shell) -> None:
    assert shell("--root", ".", "-c", "index", "/testdir")[0] == 0
    assert [entry.path for entry in read_index(shell.cwd / "index")][:2] == [b"/testdir", b"/testdir/file"]


def test_the_index_is_not_part_of_what_it_describes(shell: Shell) -> None:
    for _ in range(2):
        assert shell("-c", "testdir/index", "testdir")[0] == 0
        assert shell("testdir/index", "testdir") == (0, b"", "")


def test_a_link_as_index_stays_a_link(shell: Shell) -> None:
    (shell.cwd / "index").symlink_to("real")
    assert shell("-c", "index", "testdir")[0] == 0
    assert (shell.cwd / "index").is_symlink()
    assert shell("real", "testdir") == (0, b"", "")


@pytest.mark.parametrize(
    ("words", "status", "what"),
    [
        (["index"], 2, "no path"),
        (["index", "-testdir"], 2, "no path"),
        (["none", "testdir"], 2, "no index"),
        (["-c", "index", "../x"], 2, "absolute path"),
        (["-c", "index", ""], 2, "absolute path"),
        (["-c", "pipe", "testdir"], 2, "not a regular file"),
        (["-c", "none/index", "testdir"], 1, "can't write"),
        (["testdir/file", "testdir"], 1, "testdir/file:1: 1 columns"),
        (["-i", "none", "index"], 2, "none"),
    ],
)
def test_mistakes_are_told(words: list[str], status: int, what: str, shell: Shell) -> None:
    code, out, error = shell(*words)
    assert (code, out) == (status, b"")
    assert what in error
    assert "Traceback" not in error
