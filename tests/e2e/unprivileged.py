"""Runs a command as a user who is not root, wherever this checkout and its Python lie."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

NOBODY = 65534
CHECKOUT = Path(__file__).resolve().parents[2]

# In a mount namespace of its own: what the command needs is kept at hand, directories that only root may enter are
# covered with ones that everybody may, and what is needed is put back into them.
SCRIPT = f"""
set -e
mount -t tmpfs -o mode=755 tmpfs /mnt
number=0
for place in $NEEDED; do
    number=$((number + 1)); mkdir /mnt/$number; mount --bind "$place" /mnt/$number
done
for place in $CLOSED; do mount -t tmpfs -o mode=755 tmpfs "$place"; done
number=0
for place in $NEEDED; do
    number=$((number + 1)); mkdir -p "$place"; mount --bind /mnt/$number "$place"
done
exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups --no-new-privs "$@"
"""


def as_nobody(words: Sequence[str], environment: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """The words and the environment that run `words` as nobody. Needs root."""
    needed = [Path(os.path.realpath(sys.base_prefix)), Path(os.path.realpath(sys.prefix)), CHECKOUT]
    closed = {first for place in needed if (first := _first_closed(place)) is not None}
    hidden = [place for place in dict.fromkeys(needed) if _first_closed(place) is not None]
    added = {"NEEDED": " ".join(map(str, hidden)), "CLOSED": " ".join(map(str, closed)), "HOME": "/nonexistent"}
    return ["unshare", "--mount", "sh", "-c", SCRIPT, "sh", *words], {**environment, **added}


def _first_closed(place: Path) -> Path | None:
    return next((each for each in [*reversed(place.parents), place] if not each.stat().st_mode & 0o001), None)
