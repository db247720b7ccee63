"""What `confined` is told of its walls, and what it says when it can't put them up."""

from __future__ import annotations

from pathlib import Path

from ..api.errors import CommandError, UnsafePathError
from .confined import REFUSED


def writable_words(*directories: Path) -> list[str]:
    """Words for the launcher: the directories that are all a program may write to."""
    return [word for path in directories for word in ("--writable", str(path))]


def refused(error: CommandError) -> None:
    """Raises UnsafePathError where a program was not started because nothing would have kept it in its place."""
    if error.status == REFUSED and "confined:" in error.stderr:
        raise UnsafePathError(
            "this kernel lets nothing keep a restore inside its directory "
            f"({error.stderr.split('confined:')[-1].strip()})",
            "Restore as root, or where unprivileged user namespaces are allowed.",
        ) from error
