"""What a killed run was just writing into the system: files that had not taken their place yet."""

from __future__ import annotations

import re

from ..api.files import UNFINISHED
from ..host import Host
from .rooted import inside

PLACES = ("etc", "etc/apt", "etc/apt/preferences.d", "usr/sbin", "var/lib/apt")
"""Every directory of the system that something in this package writes whole files into."""

_NAME = re.compile(re.escape(UNFINISHED) + "[0-9a-f]{12}")


def clear_unfinished(host: Host) -> None:
    """Deletes them. The caller holds the lock of the root, so that nobody is writing them now."""
    for place in PLACES:
        directory = inside(host.root, place)
        for path in directory.glob(f"{UNFINISHED}*") if directory.is_dir() else ():
            if _NAME.fullmatch(path.name) and path.is_file():
                path.unlink()
