"""Paths of a system under a root, resolved as that system itself would, and never out of the root."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from ..api.errors import UnsafePathError

_MOST_LINKS = 40


def inside(root: Path, path: str | Path) -> Path:
    """The real place, under `root`, of a path of the system there: symlinks are followed as in a chroot.

    An absolute link starts again at the root, and `..` stops there, so a foreign root can't lead us to files of the
    machine we run on. The last component need not exist. Raises UnsafePathError for a loop of links.
    """
    pending = [part for part in str(path).split("/") if part not in ("", ".")][::-1]
    done: list[str] = []
    links = 0
    while pending:
        part = pending.pop()
        if part in ("", "."):
            continue
        if part == "..":
            del done[-1:]
            continue
        try:
            target = os.readlink(root.joinpath(*done, part))
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                raise
            done.append(part)
            continue
        links += 1
        if links > _MOST_LINKS:
            raise UnsafePathError(f"{path}: too many symbolic links under {root}", "Look for links in a circle there.")
        if target.startswith("/"):
            done.clear()
        pending.extend(target.split("/")[::-1])
    return root.joinpath(*done)
