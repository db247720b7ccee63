"""What `confined` says when it can't put up its walls."""

from __future__ import annotations

from ..api.errors import CommandError, UnsafePathError
from .confined import REFUSED


def refused(error: CommandError) -> None:
    """Raises UnsafePathError where a program was not started because nothing would have kept it in its place."""
    if error.status == REFUSED and "confined:" in error.stderr:
        raise UnsafePathError(
            "this kernel lets nothing keep a restore inside its directory "
            f"({error.stderr.split('confined:')[-1].strip()})",
            "Restore as root, or where unprivileged user namespaces are allowed.",
        ) from error
