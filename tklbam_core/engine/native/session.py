"""One session in duplicity's format, written by ourselves: compare → pack → volumes → signatures → manifest.

The order in which files reach the target is duplicity's: volumes, signatures, manifest. In the cache, names that end in
`.part` stand for what is not finished, as duplicity's do, so that either tidies up after the other.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...api.progress import Progress, ProgressEvent
from ...api.storage import Target
from ..archive import FileSet, SessionKey, file_name
from ..cache import Cache
from ..interface import WriteRequest
from ..outcome import Outcome, shown
from ..program import STRONG_SECRET
from ..space import uploads_at_once
from . import librsync
from .compare import batches, changes
from .members import Member, Part
from .openpgp import STRONG, WEAK, encrypt
from .selection import select, sort_list
from .signatures import SignatureFile, read_chain
from .uploads import Uploads
from .volumes import Volumes, segment_size
from .workers import pack

OFTEN = 0.2
"""Seconds between two progress events."""


def available() -> bool:
    """Whether this writer can work here."""
    return librsync.load() is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeSession:
    """A session to be stored: `key` says when and on what, `chain` is what it builds on (empty: a full one), whose
    signatures are in the cache. Files are made in `scratch` before they go up."""

    target: Target
    request: WriteRequest
    cache: Cache
    scratch: Path
    key: SessionKey
    chain: Sequence[FileSet]

    @property
    def coded_count(self) -> int:
        return STRONG if len(self.request.secret) >= STRONG_SECRET else WEAK

    def write(self) -> Outcome:
        """Stores the session. Raises LockedError, TargetError, SpaceError (the target's), OSError (a disk's of this
        machine), EngineError, DamagedSignaturesError; what was sent until then stays on the target."""
        request, outcome = self.request, Outcome()
        told = _Told(request.progress, request.total_bytes, outcome)
        manifest_name, signatures_name = file_name(self.key, "manifest"), file_name(self.key, "signatures")
        with (
            self.cache.locked(),
            self.cache.unfinished_file(manifest_name) as manifest,
            self.cache.unfinished_file(signatures_name) as signatures_place,
            contextlib.closing(SignatureFile(signatures_place)) as signatures,
            Uploads(self.target, uploads_at_once(self.target, request)) as uploads,
        ):
            with (
                contextlib.closing(self._volumes(uploads)) as volumes,
                contextlib.closing(self._parts(outcome)) as parts,
            ):
                for part in parts:
                    volumes.add(part)
                    signatures.add(part.signatures)
                    told.take(part)
                volumes.finish()
            signatures.finish()
            encrypted = self.scratch / "signatures"
            with encrypted.open("wb") as out:
                signatures.encrypt(out, request.secret, self.coded_count)
            uploads.put(signatures_name, encrypted)
            uploads.wait()
            self.cache.finish_file(signatures_place)
            manifest.write_bytes(bytes(volumes.manifest))
            message = encrypt(bytes(volumes.manifest), request.secret, self.coded_count)
            self.target.write(manifest_name, io.BytesIO(message))
            self.cache.finish_file(manifest)
        told.end()
        outcome.sizes = {**uploads.sizes, manifest_name: len(message)}
        return outcome

    def _volumes(self, uploads: Uploads) -> Volumes:
        limit = self.request.volume_size << 20
        return Volumes(self.key, self.scratch, limit, self.request.secret, self.coded_count, uploads)

    def _parts(self, outcome: Outcome) -> Generator[Part]:
        members = batches(self._members(outcome))
        return pack(members, os.cpu_count() or 1, segment_size(self.request.volume_size))

    def _members(self, outcome: Outcome) -> Iterator[Member]:
        listed = sort_list(self.request.file_list, self.scratch)
        selected = select(self.request.source, listed, self.request.extras, outcome)
        chain = read_chain([self.cache.signatures_path(found.key) for found in self.chain])
        return changes(selected, chain, outcome)


class _Told:
    """Progress by bytes of the source, and what parts say of files that could not be stored."""

    def __init__(self, progress: Progress, total: int | None, outcome: Outcome) -> None:
        self._progress = progress
        self._total = total
        self._outcome = outcome
        self._read = 0
        self._last = 0.0

    def take(self, part: Part) -> None:
        for path, why in part.unread:
            self._outcome.add_unread(path, why)
        self._outcome.vanished += map(shown, part.gone)
        self._read += part.read
        if time.monotonic() - self._last >= OFTEN:
            self._last = time.monotonic()
            done = self._outcome.unchanged_size + self._read
            done = done if self._total is None else min(done, self._total)
            self._progress(ProgressEvent("upload", done, self._total, "bytes", os.fsdecode(part.last or b"")))

    def end(self) -> None:
        self._progress(ProgressEvent("upload", self._total or self._outcome.source_size, self._total, "bytes"))
