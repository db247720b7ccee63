"""A backup as plain files in a directory (`backup --dump DIR`), from which `restore DIR` restores.

tar(1) does the copying: it keeps owners, modes, times, holes and every type of file.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from .api import process
from .api.errors import CommandError, TklbamError
from .scratch import require_space

_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


def write_extract(root: Path, overlay: Path, extras: Path, destination: Path) -> None:
    """Copies the overlay (a NUL-separated list of paths relative to `root`) and the extras into `destination`.

    Raises TklbamError when the destination is not empty or can't be written.
    """
    destination.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(destination.iterdir()):
        raise TklbamError(f"{destination} is not empty", "Name a new or empty directory.")
    try:
        _copy(root, ["--null", "--no-recursion", "--verbatim-files-from", "--files-from", str(overlay)], destination)
        copy_tree(extras, destination / "TKLBAM")
    except (CommandError, OSError) as error:
        raise TklbamError(
            f"the extract in {destination} is not complete: {error}", "Make room there if it is full, and try again."
        ) from error


def copy_tree(source: Path, destination: Path, *, leave_out: str | None = None) -> None:
    """Copies a directory's content; `leave_out` is a name at its top that is not copied. Raises CommandError."""
    destination.mkdir(mode=0o700, exist_ok=True)
    excluded = [f"--exclude=./{leave_out}"] if leave_out else []
    _copy(source, ["--anchored", *excluded, "."], destination)


def copy_parts(source: Path, destination: Path, parts: Iterable[bytes], room: int | None = None) -> None:
    """Copies what is at or below the absolute paths `parts` of the tree `source`, and the directories on the way there,
    as themselves; what is not there is passed over. Raises CommandError, and SpaceError where it takes more than is
    free, or `room` bytes."""
    above: dict[bytes, None] = {}
    whole = []
    for part in parts:
        path = b"."
        for name in part.strip(b"/").split(b"/"):
            above[path] = None
            path += b"/" + name
            try:
                status = os.lstat(os.fsencode(source) + b"/" + path)
            except OSError as error:
                if error.errno not in _NOT_THERE:
                    raise
                break
            if not stat.S_ISDIR(status.st_mode):
                whole.append(path)  # what a link leads to is nothing of this tree
                break
        else:
            whole.append(path)
    destination.mkdir(mode=0o700, exist_ok=True)
    if whole:
        needed = sum(_size(os.fsencode(source) + b"/" + path) for path in whole)
        require_space(destination, needed, "copying what is asked for", room)
        _copy(source, ["--no-recursion", "--", *above], destination)
        _copy(source, ["--", *whole], destination)


def _size(top: bytes) -> int:
    """Bytes of disk that a path takes, with what is below it."""
    below = (os.path.join(place, name) for place, inner, names in os.walk(top) for name in [*inner, *names])
    return sum(os.lstat(path).st_blocks * 512 for path in itertools.chain([top], below))


def _copy(source: Path, what: Sequence[str | bytes], destination: Path) -> None:
    # Without --no-unquote a name's backslashes are taken for escapes.
    reader = ["tar", "--create", "--numeric-owner", "--sparse", "--no-unquote", "--directory", str(source), "--file=-"]
    writer = ["tar", "--extract", "--preserve-permissions", "--numeric-owner", "--directory", str(destination)]
    with process.start([*reader, *what], stdout=subprocess.PIPE) as reading:
        with process.start([*writer, "--file=-"], stdin=reading.stdout):
            reading.stdout.close()
