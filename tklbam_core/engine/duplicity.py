"""The engine: duplicity as a program, made to survive interruptions, full disks, odd clocks and hostile archives."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from ..api.redact import Redactor
from ..api.storage import Target
from . import fetching, upkeep
from .archive import FileSet, SessionKey, as_chain, group
from .cache import Cache
from .decrypt import Unreadable, read_manifest
from .interface import Chain, Engine, FetchRequest, Inventory, Session, Verification, WriteRequest, WriteResult
from .inventory import take_inventory
from .manifest import Manifest
from .patience import Patience, patient
from .program import Program, find_program
from .restore_cache import RestoreCache
from .survey import survey
from .workspace import workspace
from .writing import Writing


class DuplicityEngine(Engine):
    """Sessions in duplicity's format.

    `cache` holds duplicity's archive directories, one an address (made 0700); `temp` is where volumes are built
    before they go up (the system's temporary directory unless given): about 2.3 volumes must fit there. `program`
    names a duplicity other than the installed one; then, and without `native`, it writes the sessions. `kept` is what
    restores downloaded; `patience` is for targets behind a network; `redactor` learns what secrets the engine is given.
    """

    def __init__(
        self,
        cache: Path,
        temp: Path | None = None,
        program: Path | None = None,
        *,
        kept: RestoreCache | None = None,
        patience: Patience | None = None,
        redactor: Redactor | None = None,
        native: bool = True,
    ) -> None:
        self._cache_root = cache
        self._temp = temp
        self._kept = kept
        self._patience = patience or Patience()
        self._redactor = redactor or Redactor()
        self._given_program = program
        self._native = native and program is None
        self._found_program: Program | None = None

    @property
    def program(self) -> Program:
        """The duplicity in use. Raises EngineError where there is none that works."""
        if self._found_program is None:
            self._found_program = find_program(self._given_program)
        return self._found_program

    def _cache(self, target: Target) -> Cache:
        return Cache(self._cache_root, target.address)

    def prepare(self, target: Target, secret: str) -> Sequence[str]:
        """Removes what interrupted runs left on the target, in the cache and in the temporary directory.

        Of sessions that had been complete nothing is removed, nor any file that is not duplicity's, nor anything at
        all where the target keeps everything. Reads the manifests of the newest chain where the cache does not have
        them. Raises LockedError while another run is at work on the same target.
        """
        return upkeep.prepare(patient(target, self._patience), secret, self._cache(target), self._temp)

    def chains(self, target: Target) -> Sequence[Chain]:
        """The complete chains on the target, oldest first. A chain ends before its first session that is not whole."""
        return [as_chain(sets) for sets in survey(patient(target, self._patience).files(), self._cache(target)).chains]

    def inventory(self, target: Target) -> Inventory:
        """Sessions that are whole, those that were once, and files that belong to none."""
        return take_inventory(patient(target, self._patience), self._cache(target))

    def session_at(self, target: Target, when: datetime | None) -> Session:
        """Raises EngineError where there is none that old, ArchiveError where it is damaged."""
        target = patient(target, self._patience)
        return fetching.choose(target, survey(target.files(), self._cache(target)), when)[-1].session()

    def write(self, target: Target, request: WriteRequest) -> WriteResult:
        """Stores one session. A full one is made, with a warning, where no increment is possible.

        Nothing of a session that fails counts, and what it left on the target is removed at once where possible, else
        by the next `prepare`. Raises SpaceError, TargetError, LockedError, EngineError.
        """
        writing = Writing(
            target=patient(target, self._patience),
            request=request,
            cache=self._cache(target),
            temp=self._temp,
            program=lambda: self.program,
            patience=self._patience,
            redactor=self._redactor,
            native=self._native,
        )
        return writing.write()

    def verify(self, target: Target, session: Session, secret: str) -> Verification:
        """Compares a listing, not older than the session, with its manifest and the sizes noted when it was stored."""
        target, cache = patient(target, self._patience), self._cache(target)
        found = next((each for each in group(target.files()).values() if _is(each.key, session)), None)
        if found is None:
            return Verification(ok=False, volumes=0, problems=("none of its files is on the target",))
        problems: list[str] = []
        manifest = cache.manifest(found.key)
        if manifest is None and found.manifest is not None:
            manifest = self._read_manifest(target, found, secret, problems)
        problems = found.problems(manifest.count if manifest else None, cache.sizes()) + problems
        if found.signatures is None:
            problems.append("the signatures are missing, so no increment can follow")
        elif found.signatures.size == 0:
            problems.append(f"{found.signatures.name} is empty")
        return Verification(ok=not problems, volumes=len(found.volumes), problems=tuple(problems))

    def _read_manifest(self, target: Target, found: FileSet, secret: str, problems: list[str]) -> Manifest | None:
        assert found.manifest is not None
        with workspace(self._temp) as place, target.read(found.manifest.name) as content:
            read = read_manifest(found.manifest.name, content, secret, place)
        if isinstance(read, Unreadable):
            problems.append(f"{found.manifest.name} can't be read: {read.value}")
            return None
        return read[0]

    def fetch(self, target: Target, request: FetchRequest) -> None:
        """Restores into `destination`, which is made (0700) where it does not exist and must be empty.

        The root of what is fetched gives `destination` its mode and owner. Owners stay the numbers they were; only
        root restores them. Raises ArchiveError, UnsafePathError, SpaceError, TargetError, EngineError; whatever was
        restored before it went wrong stays in `destination`.
        """
        run = fetching.Fetching(
            target=patient(target, self._patience),
            request=request,
            cache=self._cache(target),
            temp=self._temp,
            program=lambda: self.program,
            native=self._native,
            patience=self._patience,
            redactor=self._redactor,
            kept=self._kept,
        )
        run.fetch()

    def prune(self, target: Target, keep_full: int) -> Sequence[Session]:
        """Deletes whole chains, oldest first, until `keep_full` (1 or more) are left; none where the target keeps
        everything."""
        return upkeep.prune(patient(target, self._patience), keep_full, self._cache(target))


def _is(key: SessionKey, session: Session) -> bool:
    return key.kind == session.kind and key.end == session.time
