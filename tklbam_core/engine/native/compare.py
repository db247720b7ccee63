"""The source against the chain's latest state: what is new, changed or gone, as batches of members to be packed."""

from __future__ import annotations

import functools
import grp
import os
import pwd
import stat
import time
from collections.abc import Iterable, Iterator

from ..filelist import EXTRAS
from ..outcome import Outcome, shown
from .members import Member, another_time, whole_seconds
from .selection import Selected
from .signatures import Known
from .tarheader import CHARACTER, DEVICE, DIRECTORY, FIFO, FILE, SYMLINK, Header

BATCH_SIZE, BATCH_COUNT = 1 << 20, 200
"""Bytes and members of a batch, at most, unless a single member is larger."""
FRESH = 2
"""Seconds: a file changed so lately may change again without its time's changing, as sessions note it."""
_KINDS = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFIFO: FIFO,
    stat.S_IFCHR: CHARACTER,
    stat.S_IFBLK: DEVICE,
}


def changes(selected: Iterable[Selected], chain: Iterator[Known], outcome: Outcome) -> Iterator[Member]:
    """The members of an increment on `chain`; of a full session where that is empty. Both are sorted."""
    known = next(chain, None)
    for each in selected:
        while known is not None and known.order < each.order:
            yield from _deleted(known, outcome)
            known = next(chain, None)
        before = known if known is not None and known.order == each.order else None
        try:
            status = os.lstat(each.place)
            member = _member(each, status)
        except (FileNotFoundError, NotADirectoryError):
            outcome.vanished.append(shown(each.path))
            member = None
        except OSError as error:
            # Nothing can be said of it, so what the chain knows stays as it is.
            outcome.add_unread(each.path, error.strerror or str(error))
            if before is not None:
                known = next(chain, None)
            continue
        if member is None:
            continue  # gone, or a socket: if the chain knows it, it is deleted when the next path comes
        outcome.source_files += 1
        outcome.source_size += status.st_size
        if before is None:
            outcome.new_files += 1
            yield member
        else:
            if _differs(member, before):
                # That something came or went in a directory is no change of its own.
                outcome.changed_files += member.kind != DIRECTORY or _attributes(member) != _attributes(before.header)
                yield _with_old(member, before)
            else:
                outcome.unchanged_size += status.st_size
            known = next(chain, None)
    while known is not None:
        yield from _deleted(known, outcome)
        known = next(chain, None)


def batches(members: Iterable[Member]) -> Iterator[list[Member]]:
    """Lists that are worth a worker's while."""
    batch: list[Member] = []
    size = 0
    for member in members:
        batch.append(member)
        size += member.size + len(member.old or b"")
        if size >= BATCH_SIZE or len(batch) >= BATCH_COUNT:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _deleted(known: Known, outcome: Outcome) -> Iterator[Member]:
    if known.path:  # the source itself is never deleted
        outcome.deleted_files += 1
        yield Member(known.path, deleted=True)


def _member(each: Selected, status: os.stat_result) -> Member | None:
    """None for a socket, which no archive holds. Raises OSError."""
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        return None
    mtime = whole_seconds(status)
    device = status.st_rdev if kind in (CHARACTER, DEVICE) else 0
    return Member(
        path=each.path,
        place=each.place,
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size if kind == FILE else 0,
        mtime=mtime,
        seen=another_time(mtime) if kind == FILE and _may_change_unseen(each.path, mtime) else mtime,
        owner=_owner(status.st_uid),
        group=_group(status.st_gid),
        link=os.readlink(each.place) if kind == SYMLINK else b"",
        major=os.major(device),
        minor=os.minor(device),
    )


def _may_change_unseen(path: bytes, mtime: int) -> bool:
    # The extras are finished when a session begins.
    return abs(time.time() - mtime) < FRESH and not path.startswith(EXTRAS + b"/")


def _differs(member: Member, before: Known) -> bool:
    """As duplicity compares: sizes are not known, and of links and devices the time does not count. It does not see the
    new owner of a link, though."""
    header = before.header
    if member.kind != header.kind:
        return True
    if member.kind == SYMLINK:
        return (member.link, member.uid, member.gid) != (header.link, header.uid, header.gid)
    if _attributes(member) != _attributes(header):
        return True
    if member.kind in (CHARACTER, DEVICE):
        return (member.major, member.minor) != (header.major, header.minor)
    return member.mtime != max(0, header.mtime)


def _attributes(noted: Member | Header) -> tuple[bytes, int, int, int]:
    return noted.kind, noted.mode & 0o7777, noted.uid, noted.gid


def _with_old(member: Member, before: Known) -> Member:
    if member.kind != FILE or before.header.kind != FILE:
        return member
    return member._replace(old=before.signature())


@functools.cache
def _owner(uid: int) -> bytes:
    try:
        return os.fsencode(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return b""


@functools.cache
def _group(gid: int) -> bytes:
    try:
        return os.fsencode(grp.getgrgid(gid).gr_name)
    except KeyError:
        return b""
