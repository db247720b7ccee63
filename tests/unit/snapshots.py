"""A tree as a test compares it: every path with type, owner, mode, time, content, attributes, shared inodes."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path


def snapshot(root: Path, *, skip: tuple[bytes, ...] = (), times: bool = True) -> dict[bytes, tuple[object, ...]]:
    """Path below `root` → all that can be told about it. Link counts and inodes become the group of names."""
    found: dict[bytes, tuple[object, ...]] = {}
    names: dict[tuple[int, int], list[bytes]] = {}
    prefix = os.fsencode(root)
    paths = [b"/"]
    for directory, directories, files in os.walk(prefix):
        directories[:] = [name for name in directories if _below(prefix, directory, name) not in skip]
        paths += [_below(prefix, directory, name) for name in [*directories, *files]]
    for path in paths:
        status = os.lstat(prefix + path)
        if not stat.S_ISDIR(status.st_mode):
            names.setdefault((status.st_dev, status.st_ino), []).append(path)
        found[path] = _describe(prefix + path, status, times)
    for group in names.values():
        for path in group:
            found[path] += (tuple(sorted(group)),)
    return found


def _below(prefix: bytes, directory: bytes, name: bytes) -> bytes:
    return os.path.join(directory, name)[len(prefix) :]


def _describe(path: bytes, status: os.stat_result, times: bool) -> tuple[object, ...]:
    content: object = None
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            content = hashlib.sha256(file.read()).hexdigest()
    elif stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)
    elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        content = status.st_rdev
    attributes = {
        name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)
    }
    return (
        oct(status.st_mode),
        status.st_uid,
        status.st_gid,
        status.st_mtime_ns if times else None,
        content,
        tuple(sorted(attributes.items())),
    )


def differences(
    before: dict[bytes, tuple[object, ...]], after: dict[bytes, tuple[object, ...]]
) -> dict[bytes, tuple[object, object]]:
    return {
        path: (before.get(path), after.get(path))
        for path in before.keys() | after.keys()
        if before.get(path) != after.get(path)
    }
