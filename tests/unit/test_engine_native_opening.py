"""What swaps a directory for a link while a session is written gets nobody else's content stored as its own."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import zlib
from pathlib import Path

import pytest

from tklbam_core.engine.native import opening
from tklbam_core.engine.native.members import Member, Packer, Part


def seen(place: Path) -> Member:
    """A regular file, as it was when it was looked at."""
    status = os.lstat(place)
    assert stat.S_ISREG(status.st_mode)
    names = {"path": os.fsencode(place.name), "place": os.fsencode(place)}
    return Member(**names, size=status.st_size, mtime=int(status.st_mtime), mode=0o644)  # type: ignore[arg-type]


def packed(member: Member) -> Part:
    (part,) = Packer(1 << 20).pack([member])
    return part


def test_a_signal_is_no_reason_to_leave_a_file_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File systems that another program answers for may say that a call was interrupted."""
    call, asked = opening._call(), list[object]()

    def interrupted(*words: object) -> int:
        asked.append(words)
        if len(asked) > 1:
            return int(call(*words))
        ctypes.set_errno(errno.EINTR)
        return -1

    monkeypatch.setattr(opening, "_call", lambda: interrupted)
    (tmp_path / "notes").write_text("mine")
    assert b"mine" in zlib.decompressobj(-15).decompress(packed(seen(tmp_path / "notes")).data)


@pytest.mark.parametrize("kernel", [0, errno.ENOSYS, errno.EPERM], ids=["as it is", "older", "that forbids it"])
def test_no_link_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: int) -> None:
    if kernel:

        def refuse(*_: object) -> int:
            ctypes.set_errno(kernel)
            return -1

        monkeypatch.setattr(opening, "_call", lambda: refuse)
    home, private = tmp_path / "home", tmp_path / "private"
    (home / "notes").mkdir(parents=True)
    private.mkdir()
    (home / "notes/shadow").write_text("mine")
    (private / "shadow").write_text("secret")
    mine = seen(home / "notes/shadow")
    assert b"mine" in zlib.decompressobj(-15).decompress(packed(mine).data)

    (home / "notes").rename(home / "old")
    (home / "notes").symlink_to(private)
    part = packed(mine)
    assert (part.gone, part.data) == ((mine.path,), b"")

    (home / "notes").unlink()
    (home / "notes").mkdir()
    (home / "notes/shadow").symlink_to(private / "shadow")
    assert packed(mine).gone == (mine.path,)
    (home / "notes/shadow").unlink()
    os.mkfifo(home / "notes/shadow")
    assert packed(mine).gone == (mine.path,)
