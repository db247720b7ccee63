"""Places that the default conf leaves out, or does not know, and that seem to hold the administrator's data."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from tklbam_core.api.profiles import PathRules

STANDARD = re.compile(
    r"bin|boot|dev|etc|home|lib(x?32|64)?|lost\+found|media|mnt|opt|proc|root|run|s?bin|snap|srv|swap|sys|tmp|usr|var|TKLBAM"
)
CONTAINERS = (
    "var/lib/docker/volumes",
    "var/lib/containers/storage/volumes",
    "var/lib/lxc",
    "var/lib/lxd/storage-pools",
    "var/lib/incus/storage-pools",
    "var/lib/libvirt/images",
    "var/lib/machines",
    "var/lib/vz",
)


def data_left_out(root: Path, rules: PathRules) -> Iterator[str]:
    """A warning for each place with something in it that is not scanned, and that nothing else would save either."""
    try:
        tops = sorted(entry.name for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return
    for name in tops:
        if not STANDARD.fullmatch(name) and not name.startswith("."):
            yield from _warning(root, name, rules)
    for name in CONTAINERS:
        yield from _warning(root, name, rules)


def _warning(root: Path, name: str, rules: PathRules) -> Iterator[str]:
    if not rules.includes(os.fsencode("/" + name)) and _holds_something(root / name):
        yield f"/{name} is not backed up; to include it, put a line `/{name}` into /etc/tklbam/overrides"


def _holds_something(directory: Path) -> bool:
    try:
        with os.scandir(directory) as entries:
            return any(entry.name != "lost+found" for entry in entries)
    except OSError:
        return False
