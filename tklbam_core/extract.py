"""A backup as plain files in a directory (`backup --dump DIR`), from which `restore DIR` restores.

tar(1) does the copying: it keeps owners, modes, times, holes and every type of file.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from .api import process
from .api.errors import CommandError, TklbamError


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


def _copy(source: Path, what: Sequence[str], destination: Path) -> None:
    reader = ["tar", "--create", "--numeric-owner", "--sparse", "--directory", str(source), "--file=-", *what]
    writer = ["tar", "--extract", "--preserve-permissions", "--numeric-owner", "--directory", str(destination)]
    with process.start(reader, stdout=subprocess.PIPE) as reading:
        with process.start([*writer, "--file=-"], stdin=reading.stdout):
            reading.stdout.close()
