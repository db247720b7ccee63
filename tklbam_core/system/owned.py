"""Which of some paths the package manager owns: what lies there comes with its packages, not from a backup."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from .dpkg import has_dpkg
from .dpkg_files import file_lists


def packages_below(root: Path, paths: Iterable[bytes]) -> dict[bytes, list[str]]:
    """Path → names of the packages that own something at it or below, for those of `paths` where there are any.

    Reads dpkg's file lists once, streaming. Directories that packages merely share (`/srv`) don't count.
    """
    prefixes = [(path, path.rstrip(b"/") + b"/") for path in paths]
    found: dict[bytes, dict[str, None]] = {}
    if not prefixes or not has_dpkg(root):
        return {}
    for package, owned in file_lists(root):
        for path, prefix in prefixes:
            if owned.startswith(prefix) or (owned == path and not os.path.isdir(os.fsencode(root) + path)):
                found.setdefault(path, {})[package] = None
    return {path: sorted(packages) for path, packages in found.items()}
