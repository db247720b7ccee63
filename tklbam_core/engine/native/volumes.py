"""The volumes of a session: parts laid one after the other, encrypted, cut where a volume is full, and sent."""

from __future__ import annotations

from pathlib import Path

from ..archive import SessionKey, file_name
from ..manifest import format_volume
from . import deflate
from .members import Part
from .openpgp import LITERAL, Encryptor
from .tarheader import END
from .uploads import Uploads

_BEGIN = deflate.segment(LITERAL)
_FINISH = deflate.last_segment(END)
_AROUND = 4096
"""Bytes of a volume that are no part's, at most."""


def segment_size(volume_size: int) -> int:
    """Bytes that are compressed as one, for volumes of so many megabytes: a volume ends between two of them."""
    return max(1 << 16, min(1 << 19, volume_size << 16))


class Volumes:
    """Writes volumes of at most `limit` bytes (more only where a single part is larger) into `directory`.

    `manifest` grows by an entry for each that is finished. `passphrase` and `coded_count` are the encryption's.
    """

    def __init__(
        self, key: SessionKey, directory: Path, limit: int, passphrase: str, coded_count: int, uploads: Uploads
    ) -> None:
        self._key = key
        self._directory = directory
        self._limit = limit
        self._passphrase = passphrase
        self._coded_count = coded_count
        self._uploads = uploads
        self.manifest = bytearray()
        self._number = 0
        self._first: bytes | None = None
        self._last: bytes | None = None
        self._begin()

    def _begin(self) -> None:
        self._number += 1
        self._path = self._directory / f"volume-{self._number}"
        self._file = self._path.open("wb")
        self._encryptor = Encryptor(self._file, self._passphrase, self._coded_count)
        self._encryptor.update(_BEGIN)
        self._used = 0

    def add(self, part: Part) -> None:
        """Takes a part, into the next volume where this one would become too large."""
        if not part.data:
            return
        if self._used and self._used + len(part.data) + _AROUND > self._limit:
            self.finish()
            self._begin()
        self._encryptor.update(part.data)
        self._used += len(part.data)
        if self._first is None:
            self._first = part.first
        self._last = part.last

    def finish(self) -> None:
        """Ends the volume at hand; a session has one even if there is nothing in it."""
        self._encryptor.update(_FINISH)
        self._encryptor.finish()
        self._file.close()
        self.manifest += format_volume(self._number, self._first or b"", self._last or b"", self._encryptor.sha1)
        self._first = None
        self._uploads.put(file_name(self._key, "volume", self._number), self._path)

    def close(self) -> None:
        """Lets go of a volume that will not be finished."""
        self._file.close()
