"""Copies of files, special files and whole directories between places, holes kept; removal; sync a file system once."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import stat

from ..api.errors import TklbamError
from .metadata import Metadata, apply_metadata, out_of_space
from .safepath import Directory, Place, is_below, show

BLOCK = 1 << 20
"""Bytes read at a time."""

HOLE = 4096
"""Runs of zeros are made holes in steps of this many bytes, the block size of nearly every file system."""


def copy_content(source: int, target: int, *, dig: bool = False) -> int:
    """Copies a regular file between descriptors and returns its size. Holes stay holes.

    With `dig`, zeros become holes, too. The target must be empty. Raises OSError.
    """
    size = os.fstat(source).st_size
    position = 0
    while True:
        try:
            start = os.lseek(source, position, os.SEEK_DATA)
        except OSError as error:
            # ENXIO: only a hole is left; EINVAL: the file system knows no holes, all is data.
            if error.errno == errno.ENXIO:
                break
            if error.errno != errno.EINVAL:
                raise
            position = _copy_range(source, target, position, None, dig)
            break
        end = os.lseek(source, start, os.SEEK_HOLE)
        position = _copy_range(source, target, start, end, dig)
        if position < end:
            break  # it shrank meanwhile
    size = max(min(size, os.fstat(source).st_size), position)
    os.ftruncate(target, size)
    return size


def _copy_range(source: int, target: int, start: int, end: int | None, dig: bool) -> int:
    position = start
    while end is None or position < end:
        wanted = BLOCK if end is None else min(BLOCK, end - position)
        block = os.pread(source, wanted, position)
        if not block:
            break
        if dig:
            _write_dug(target, block, position)
        else:
            _write_all(target, block, position)
        position += len(block)
    return position


def _write_dug(target: int, block: bytes, position: int) -> None:
    view = memoryview(block)
    zeros = bytes(HOLE)
    start = 0
    while start < len(block):
        # Pieces end at multiples of HOLE in the file, wherever the block began.
        end = min(len(block), start + HOLE - (position + start) % HOLE)
        if view[start:end] != zeros[: end - start]:
            _write_all(target, view[start:end], position + start)
        start = end


def _write_all(target: int, block: bytes | memoryview, position: int) -> None:
    view = memoryview(block)
    while view:
        written = os.pwrite(target, view, position)
        view = view[written:]
        position += written


def clone(source: Place, target: Place, status: os.stat_result, *, dig: bool = False) -> None:
    """Makes at `target`, where nothing may be, a file like `source`, of any type but a directory: content alone.

    A regular file is readable by its owner alone until it gets its metadata. Raises OSError; a target begun is removed.
    """
    if stat.S_ISREG(status.st_mode):
        reader = source.open_file()
        try:
            write_new(reader, target, dig=dig)
        finally:
            os.close(reader)
    elif stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(source.name, dir_fd=source.fd), target.name, dir_fd=target.fd)
    else:
        make_node(target, status.st_mode, status.st_rdev)


def write_new(reader: int, target: Place, *, dig: bool = False) -> None:
    """Makes a new regular file at `target` with what the descriptor `reader` has."""
    writer = target.open_file(os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        copy_content(reader, writer, dig=dig)
    except BaseException:
        os.unlink(target.name, dir_fd=target.fd)
        raise
    finally:
        os.close(writer)


def make_node(target: Place, mode: int, device: int) -> None:
    """A fifo, socket or device node with no permissions yet. Raises OSError."""
    os.mknod(target.name, stat.S_IFMT(mode), device, dir_fd=target.fd)


def clone_tree(source: Place, target: Place) -> None:
    """Makes at `target` a copy of a directory and all below it: contents, metadata, hard links. Raises OSError."""
    _clone_directory(source, target, {})


def _clone_directory(source: Place, target: Place, links: dict[tuple[int, int], Place]) -> None:
    status = os.lstat(source.name, dir_fd=source.fd)
    os.mkdir(target.name, 0o700, dir_fd=target.fd)
    reader, writer = source.inside(), target.inside()
    for name in reader.names():
        old, new = source.below(reader, name), target.below(writer, name)
        entry = os.lstat(name, dir_fd=reader.fd)
        if stat.S_ISDIR(entry.st_mode):
            _clone_directory(old, new, links)
            continue
        first = links.get((entry.st_dev, entry.st_ino))
        if first is not None:
            os.link(first.name, new.name, src_dir_fd=first.fd, dst_dir_fd=new.fd, follow_symlinks=False)
            continue
        clone(old, new, entry)
        apply_metadata(new, Metadata.read(old, entry))
        if entry.st_nlink > 1:
            links[(entry.st_dev, entry.st_ino)] = new
    apply_metadata(target, Metadata.read(source, status))


class MountedError(OSError):
    """Another file system is in the way."""

    def __init__(self, path: bytes) -> None:
        super().__init__(errno.EBUSY, "another file system is mounted there", os.fsdecode(path))


def refuse_mounts(place: Place) -> None:
    """Raises MountedError where another file system is mounted at the directory `place`, or below it.

    Such a directory must not make room: it would take that file system along, and perhaps be removed with it.
    """
    inside = place.inside()
    path = os.readlink(b"/proc/self/fd/%d" % inside.fd)
    with open("/proc/self/mountinfo", "rb") as mounts:
        for line in mounts:
            # Field 5 is the mount point; space, tab, newline and backslash are octal in it.
            point = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), line.split(b" ")[4])
            if point == path or is_below(point, path):
                raise MountedError(place.path)


def remove(place: Place) -> None:
    """Removes what is at `place`, a directory with all that is below it; nothing there is fine.

    Never goes into another file system. Raises OSError.
    """
    status = place.lstat()
    if status is None:
        return
    if not stat.S_ISDIR(status.st_mode):
        os.unlink(place.name, dir_fd=place.fd)
        return
    inside = place.inside()
    if status.st_dev != place.directory.status().st_dev:
        raise MountedError(place.path)
    for name in inside.names():
        remove(place.below(inside, name))
    os.rmdir(place.name, dir_fd=place.fd)


def sync_file_system(directory: Directory) -> None:
    """Makes all that was written to the file system of `directory` durable, in one call.

    One syncfs(2) for thousands of files takes about as long as an fsync of a few of them: each fsync
    commits the journal of its own. Raises SpaceError where it turns out to be full, TklbamError where it can't be
    written.
    """
    try:
        fd = directory.readable()
    except PermissionError:
        os.sync()
        return
    try:
        syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
        if syncfs is None:
            os.sync()
        elif syncfs(fd) != 0:
            number = ctypes.get_errno()
            path = os.readlink(b"/proc/self/fd/%d" % fd)
            raise out_of_space(OSError(number, ""), path) or TklbamError(
                f"the file system of {show(path)} can't be written: {os.strerror(number)}",
                "Check it and the disk it is on (dmesg).",
            )
    finally:
        os.close(fd)
