"""The manifest of a session: which volumes it has. Plain text in the local cache, encrypted on the target."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from .parts import Parts

Index = tuple[bytes, ...]
"""A path as its components; () is the source itself."""

_VOLUME = re.compile(rb"^Volume (\d+):\n((?:    .*\n?)*)", re.MULTILINE)
_HASH = re.compile(rb"^    Hash SHA1 ([0-9a-f]{40})$", re.MULTILINE)
_SPAN = re.compile(rb"^    (Starting|Ending)Path +(\S+)", re.MULTILINE)
_SPECIAL = re.compile(rb"[\s\\\"']")
_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class Manifest:
    """`volumes` maps each volume's number to the SHA-1 of its file ("" where none was noted); `spans` to the first and
    the last path that it holds, where noted."""

    volumes: dict[int, str]
    spans: Mapping[int, tuple[Index, Index]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(self.volumes)

    def holding(self, parts: Parts) -> list[int]:
        """The volumes that may hold something of `parts`."""
        if parts.below is None:
            return list(self.volumes)
        below = [_components(path) for path in parts.below]
        above = [_components(path) for path in parts.above]

        def may_hold(number: int) -> bool:
            if number not in self.spans:
                return True
            first, last = self.spans[number]
            # What duplicity itself goes by (VolumeInfo.contains): one it looks for must not be missing.
            return any(first[: len(index)] <= index <= last for index in below) or any(
                first <= index <= last for index in above
            )

        return [number for number in self.volumes if may_hold(number)]


def parse_manifest(text: bytes) -> Manifest | None:
    """None where the text is not a whole manifest: it must name at least volume 1, with no gap.

    A run that was resumed writes volumes again; what stands after the last one named is void.
    """
    volumes: dict[int, str] = {}
    spans: dict[int, tuple[Index, Index]] = {}
    last = 0
    for match in _VOLUME.finditer(text):
        last = int(match[1])
        sha1 = _HASH.search(match[2])
        volumes[last] = sha1[1].decode() if sha1 else ""
        ends = {span[1]: _index(span[2]) for span in _SPAN.finditer(match[2])}
        spans.pop(last, None)
        if len(ends) == 2:
            spans[last] = ends[b"Starting"], ends[b"Ending"]
    volumes = {number: sha1 for number, sha1 in volumes.items() if number <= last}
    if not volumes or sorted(volumes) != list(range(1, last + 1)):
        return None
    return Manifest(dict(sorted(volumes.items())), spans)


def format_volume(number: int, first: bytes, last: bytes, sha1: str) -> bytes:
    """The entry of a volume that holds the paths `first` to `last`, relative to the source (b"": the source itself)."""
    return b"Volume %d:\n    StartingPath   %b  \n    EndingPath     %b  \n    Hash SHA1 %b\n" % (
        number,
        _quoted(first),
        _quoted(last),
        sha1.encode(),
    )


def _quoted(path: bytes) -> bytes:
    if not _SPECIAL.search(path):
        return path or b"."
    return b'"' + _SPECIAL.sub(lambda match: b"\\x%02x" % match[0][0], path) + b'"'


def _index(word: bytes) -> Index:
    if word.startswith(b'"'):
        word = _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), word[1:-1])
    return () if word == b"." else _components(word)


def _components(path: bytes) -> Index:
    return tuple(path.split(b"/")) if path else ()
