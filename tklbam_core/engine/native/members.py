"""From paths to members of a session's tar: content or delta, and the signature of what was stored.

A member is named `snapshot/PATH` (all of it) or `diff/PATH` (a delta); with 64 KiB of content or more it is cut into
`multivol_snapshot/PATH/1`, `/2`, … so that it can go on in another volume; `deleted/PATH` is empty. Signatures lie in a
tar of their own as `signature/PATH`; of what has no content `snapshot/PATH` there says all.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from . import deflate, librsync
from .opening import open_without_links
from .tarheader import FILE, PIECE, format_header, padding

READ = 1 << 20
_GONE = (errno.ENOENT, errno.ENOTDIR)


class Member(NamedTuple):
    """A path to be stored, or (`deleted`) to be stored as gone.

    `path` is as in the session; `place` is where its content lies; `seen` is the time noted with the signature, another
    one where the content may still change without the time's changing; `old` is the signature of the content it had.
    """

    path: bytes
    place: bytes = b""
    deleted: bool = False
    kind: bytes = FILE
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    seen: int = 0
    owner: bytes = b""
    group: bytes = b""
    link: bytes = b""
    major: int = 0
    minor: int = 0
    old: bytes | None = None


class Part(NamedTuple):
    """A piece of a session: `data` is deflated tar, of the paths `first` to `last` (None: nothing), with the plain tar
    of signatures that goes with it.

    `read` counts bytes of the source. `unread` and `gone` are paths that are not in it, the former with a reason.
    """

    data: bytes = b""
    first: bytes | None = None
    last: bytes | None = None
    signatures: bytes = b""
    read: int = 0
    unread: tuple[tuple[bytes, str], ...] = ()
    gone: tuple[bytes, ...] = ()


class Packer:
    """Turns members into parts, each of about `segment` bytes before compression."""

    def __init__(self, segment: int) -> None:
        self._segment = segment
        self._tar = bytearray()
        self._signatures = bytearray()
        self._first: bytes | None = None
        self._last: bytes | None = None
        self._read = 0
        self._unread: list[tuple[bytes, str]] = []
        self._gone: list[bytes] = []

    def pack(self, members: Iterable[Member]) -> Iterator[Part]:
        """The parts; at least one."""
        for member in members:
            if member.deleted:
                self._add(member, b"deleted/" + member.path, b"")
                self._signatures += _header(member, b"deleted/" + member.path, 0)
            elif member.kind != FILE:
                name = b"snapshot/" + (member.path or b"./")
                self._add(member, name, b"")
                self._signatures += _header(member, b"snapshot/" + member.path, 0, member.seen)
            else:
                try:
                    yield from self._file(member)
                except FileNotFoundError:
                    self._gone.append(member.path)
                except OSError as error:
                    self._failed(member, error)
            if len(self._tar) >= self._segment:
                yield self._part()
        yield self._part()

    def _file(self, member: Member) -> Iterator[Part]:
        with _Source(member) as source:
            member = source.member
            word = b"snapshot/" if member.old is None else b"diff/"
            content = source.blocks() if member.old is None else librsync.delta(member.old, source.blocks())
            pieces = _pieces(content)
            first = next(pieces)  # where nothing can be read, nothing is stored
            if len(first) < PIECE:
                self._add(member, word + member.path, first)
            else:
                self._add(member, b"multivol_" + word + member.path + b"/1", first)
                for number, piece in enumerate(pieces, 2):
                    self._add(member, b"multivol_%b%b/%d" % (word, member.path, number), piece)
                    if len(self._tar) >= self._segment:
                        self._read += source.just_read()
                        yield self._part()
        self._read += source.just_read()
        seen = member.seen
        if source.error is not None:
            # What was read is stored.
            self._failed(member, source.error)
            seen = another_time(member.mtime)
        signature = source.signature.value()
        self._signatures += _header(member, b"signature/" + member.path, len(signature), seen)
        self._signatures += signature + padding(len(signature))

    def _failed(self, member: Member, error: OSError) -> None:
        self._unread.append((member.path, error.strerror or str(error)))

    def _add(self, member: Member, name: bytes, data: bytes) -> None:
        self._tar += _header(member, name, len(data))
        self._tar += data
        self._tar += padding(len(data))
        if self._first is None:
            self._first = member.path
        self._last = member.path

    def _part(self) -> Part:
        part = Part(
            deflate.segment(self._tar) if self._tar else b"",
            self._first,
            self._last,
            bytes(self._signatures),
            self._read,
            tuple(self._unread),
            tuple(self._gone),
        )
        self._tar.clear()
        self._signatures.clear()
        self._first = self._last = None
        self._read = 0
        self._unread.clear()
        self._gone.clear()
        return part


class _Source:
    """A regular file being read, and signed as it is read. `member` says what was opened; `error` is why reading ended
    early."""

    def __init__(self, member: Member) -> None:
        self._descriptor = -1
        self.member = member
        self.signature = librsync.Signature(member.size)
        self._read = 0
        self._told = 0
        self.error: OSError | None = None

    def just_read(self) -> int:
        """Bytes read since this was last asked."""
        new, self._told = self._read - self._told, self._read
        return new

    def __enter__(self) -> _Source:
        """Raises OSError; FileNotFoundError where it is gone, or something else by now, which the next session has."""
        try:
            self._descriptor = open_without_links(self.member.place)
        except OSError as error:
            if error.errno in (*_GONE, errno.ELOOP, errno.ENXIO):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from error
            raise
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            self.__exit__()
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        self.member = _as_opened(self.member, status)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def blocks(self) -> Iterator[bytes]:
        """The content. Raises OSError only where not a byte could be read."""
        while True:
            try:
                data = os.read(self._descriptor, READ)
            except OSError as error:
                if not self._read:
                    raise
                self.error = error
                return
            if not data:
                return
            self._read += len(data)
            self.signature.update(data)
            yield data


def _as_opened(member: Member, status: os.stat_result) -> Member:
    """The owner and mode are those of the content, whatever lay under the name before."""
    mode, mtime = stat.S_IMODE(status.st_mode), whole_seconds(status)
    if (mode, status.st_uid, status.st_gid, mtime) == (member.mode, member.uid, member.gid, member.mtime):
        return member
    return member._replace(
        mode=mode,
        uid=status.st_uid,
        gid=status.st_gid,
        mtime=mtime,
        seen=another_time(mtime),
        owner=member.owner if status.st_uid == member.uid else b"",
        group=member.group if status.st_gid == member.gid else b"",
    )


def whole_seconds(status: os.stat_result) -> int:
    """The time of a file as sessions note it."""
    return max(0, int(status.st_mtime))


def another_time(mtime: int) -> int:
    """By this the next session sees that the content has to be read again."""
    return 0 if mtime else 1


def _pieces(content: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of 64 KiB, of which the last is shorter, maybe empty."""
    rest = b""
    for data in content:
        if rest:
            data = rest + data
        whole = len(data) - len(data) % PIECE
        for position in range(0, whole, PIECE):
            yield data[position : position + PIECE]
        rest = data[whole:]
    yield rest


def _header(member: Member, name: bytes, size: int, mtime: int | None = None) -> bytes:
    return format_header(
        name,
        member.kind,
        member.mode,
        member.uid,
        member.gid,
        size,
        member.mtime if mtime is None else mtime,
        owner=member.owner,
        group=member.group,
        link=member.link,
        major=member.major,
        minor=member.minor,
    )
