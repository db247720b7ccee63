"""The manifest of a session: which volumes it has. Plain text in the local cache, encrypted on the target."""

from __future__ import annotations

import re
from dataclasses import dataclass

_VOLUME = re.compile(rb"^Volume (\d+):\n((?:    .*\n?)*)", re.MULTILINE)
_HASH = re.compile(rb"^    Hash SHA1 ([0-9a-f]{40})$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Manifest:
    """`volumes` maps each volume's number to the SHA-1 of its file ("" where none was noted)."""

    volumes: dict[int, str]

    @property
    def count(self) -> int:
        return len(self.volumes)


def parse_manifest(text: bytes) -> Manifest | None:
    """None where the text is not a whole manifest: it must name at least volume 1, with no gap.

    A run that was resumed writes volumes again; what stands after the last one named is void.
    """
    volumes: dict[int, str] = {}
    last = 0
    for match in _VOLUME.finditer(text):
        last = int(match[1])
        sha1 = _HASH.search(match[2])
        volumes[last] = sha1[1].decode() if sha1 else ""
    volumes = {number: sha1 for number, sha1 in volumes.items() if number <= last}
    if not volumes or sorted(volumes) != list(range(1, last + 1)):
        return None
    return Manifest(dict(sorted(volumes.items())))
