"""The system under a root as the recognisers see it: small files read whole, and what its packages own."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tklbam_core.api.profiles import inside

BIGGEST = 4 << 20
"""Bytes; no file that a recogniser reads is larger on any real system."""


def md5_of(data: bytes) -> bytes:
    """The MD5 of `data` in hex, as dpkg records it."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest().encode()


@dataclass(frozen=True, slots=True)
class System:
    """`shipped`: path → MD5 (hex) of the packaged files that recognisers ask about; `owned`: the paths, below the
    scanned ones and in the places recognisers look at, that packages own."""

    root: Path
    shipped: Mapping[bytes, bytes] = field(default_factory=dict)
    owned: frozenset[bytes] = frozenset()

    def read(self, path: bytes) -> bytes | None:
        """The content of a regular file, None where there is none (or it is larger than 4 MiB)."""
        place = inside(self.root, os.fsdecode(path))
        try:
            if not place.is_file() or place.stat().st_size > BIGGEST:
                return None
            return place.read_bytes()
        except FileNotFoundError:
            return None

    def shipped_content(self, path: bytes) -> bytes | None:
        """The content of a packaged file, None where it is not what the package shipped."""
        data = self.read(path)
        return data if data is not None and self.shipped.get(path) == md5_of(data) else None

    def exists(self, path: bytes) -> bool:
        parent = inside(self.root, os.fsdecode(os.path.dirname(path)))
        return os.path.lexists(os.path.join(os.fsencode(parent), os.path.basename(path)))

    def names(self, directory: bytes) -> list[bytes]:
        """The names in a directory, sorted; none where there is no such directory."""
        try:
            return sorted(os.listdir(os.fsencode(inside(self.root, os.fsdecode(directory)))))
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return []

    def link_target(self, path: bytes) -> bytes | None:
        """The target of a symbolic link, None where there is none."""
        parent = inside(self.root, os.fsdecode(os.path.dirname(path)))
        try:
            return os.readlink(os.path.join(os.fsencode(parent), os.path.basename(path)))
        except OSError:
            return None

    def walk(self, directory: bytes) -> list[bytes]:
        """The regular files below a directory, as paths relative to it."""
        top = os.fsencode(inside(self.root, os.fsdecode(directory)))
        return sorted(
            os.path.relpath(os.path.join(base, name), top) for base, _, names in os.walk(top) for name in names
        )
