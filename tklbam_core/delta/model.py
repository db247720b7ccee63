"""The two records the delta works on: an entry (what a path is) and a change (what became of it)."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["o", "s", "d", "a"]


class Entry(NamedTuple):
    """A path as an index or a scan knows it.

    `path` is absolute within the root, in bytes; `mode` is the whole st_mode; `mtime` whole seconds; `ctime`
    nanoseconds, None where the index does not say; `digest` the content hash of a regular file, None where unknown;
    `target` that of a symbolic link, else None.
    """

    path: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    ctime: int | None = None
    digest: str | None = None
    target: bytes | None = None


class Change(NamedTuple):
    """What became of a path since the profile.

    `o`: its content is in the overlay; `s`: owner or mode (or a new directory); `d`: it is gone; `a`: only extended
    attributes differ, which a delta file does not hold but the extras do. `mode` is the whole st_mode, 0 where not
    known (`d`, and `o` when read from a file); `size` is bytes, 0 where not known; `links` is the link count and
    `inode` (device, inode) of the path as scanned, None when read from a file.
    """

    kind: Kind
    path: bytes
    uid: int = 0
    gid: int = 0
    mode: int = 0
    size: int = 0
    links: int = 1
    inode: tuple[int, int] | None = None
