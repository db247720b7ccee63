"""Storing one session: an increment where one is possible, judged by a fresh listing when it is done.

Two can write it: `native`, which is fast, and the installed duplicity, where that can't work or where the signatures an
increment needs are not in the cache.
"""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..api.errors import EngineError, LockedError, TklbamError
from ..api.redact import Redactor
from ..api.storage import Target
from .archive import FileSet, SessionKey, group
from .by_duplicity import DuplicitySession, IncompleteSessionError
from .cache import Cache, sync_tree
from .interface import WriteRequest, WriteResult
from .native.session import NativeSession, available
from .native.signatures import DamagedSignaturesError
from .outcome import Outcome
from .patience import Patience
from .program import Program
from .space import check_room, free_bytes, fullest, no_room
from .survey import Survey, survey
from .upkeep import clean, prepare
from .workspace import temporary_directory, workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """One session to be stored. `temp` is where volumes are built (None: the system's temporary directory); `program`
    finds duplicity; without `native` it writes everything."""

    target: Target
    request: WriteRequest
    cache: Cache
    temp: Path | None
    program: Callable[[], Program]
    patience: Patience
    redactor: Redactor
    native: bool = True

    def write(self) -> WriteResult:
        """Stores one session. A full one is made, with a warning, where no increment is possible.

        Nothing of a session that fails counts, and what it left on the target is removed at once where possible, else
        by the next `prepare`. Raises SpaceError, TargetError, LockedError, EngineError.
        """
        started = time.monotonic()
        target, request, cache = self.target, self.request, self.cache
        cache.create()
        cache.check_unused()
        warnings: list[str] = []
        found = survey(target.files(), cache)
        if found.undecided or cache.unfinished() or (found.leftovers and not target.keeps_everything):
            warnings += prepare(target, request.secret, cache, self.temp)
            found = survey(target.files(), cache)
        now, late = _session_time(found)
        warnings += late
        chain, ours = self._chain(found, warnings)
        check_room(target, request, chain is None, temporary_directory(self.temp))
        self.redactor.add(request.secret)
        outcome = self._store(found, chain, ours, now, warnings)
        stored = self._stored(found, now, outcome)
        local = target.local_path()
        if local is not None:
            sync_tree(local, [file.name for file in stored.files])
        here = {file.name for each in found.sets.values() for file in each.files}
        noted = {name: size for name, size in cache.sizes().items() if name in here}
        try:
            cache.note_sizes({**noted, **{file.name: file.size for file in stored.files}})
        except OSError as error:  # the session is stored
            warnings.append(f"sizes could not be noted in {cache.root}: {error.strerror}")
        unread = outcome.unread
        if outcome.more_unread:
            unread = [*unread, f"{outcome.more_unread} more files could not be read"]
        return WriteResult(
            session=stored.session(),
            source_files=outcome.source_files,
            source_size=outcome.source_size,
            new_files=outcome.new_files,
            changed_files=outcome.changed_files,
            deleted_files=outcome.deleted_files,
            seconds=time.monotonic() - started,
            warnings=(*warnings, *outcome.warnings),
            unread=tuple(unread),
            vanished=tuple(outcome.vanished),
        )

    def _chain(self, found: Survey, warnings: list[str]) -> tuple[list[FileSet] | None, bool]:
        """What to build on, None for a full session; and whether it can be written by ourselves."""
        able = self.native and available()
        if self.request.full:
            return None, able
        chain = found.extendable()
        ours = able and self.cache.holds(chain or [])
        if chain is not None and not ours and not self._extends(found, chain):
            chain, ours = None, able
        if chain is None and found.sets:
            warnings.append("the last chain can't be extended, so this is a full session")
        return chain, ours

    def _extends(self, found: Survey, chain: Sequence[FileSet]) -> bool:
        """Whether duplicity can put an increment on the chain."""
        return self.cache.holds(chain) if self._blind(found) else not found.misleading

    def _stuck(self, found: Survey) -> list[FileSet]:
        """What can't be removed there must be hidden from duplicity, which would try to, or build on it."""
        if not self.target.keeps_everything:
            return []
        return [*found.leftovers, *(found.sets[key] for key in found.damaged)]

    def _blind(self, found: Survey) -> bool:
        return bool(self._stuck(found)) and self.program().goes_by_its_cache

    def _store(self, found: Survey, chain: list[FileSet] | None, ours: bool, now: int, warnings: list[str]) -> Outcome:
        """Has it written; whatever a failed one left is removed."""
        try:
            if ours:
                try:
                    return self._by_ourselves(chain or [], now)
                except DamagedSignaturesError as error:
                    warnings.append(f"{error.what}; they are fetched again")
                    clean(self.target, survey(self.target.files(), self.cache), self.cache)
                    error.path.unlink()
                    # What was sent may have to stay there.
                    found = survey(self.target.files(), self.cache)
                    now, _ = _session_time(found)
                    chain, _ = self._chain(found, warnings)
            return self._by_duplicity(found, chain, now)
        except LockedError:
            raise  # what lies there is the other run's
        except (TklbamError, OSError):
            with contextlib.suppress(TklbamError, OSError):  # the failure itself is what must be told
                clean(self.target, survey(self.target.files(), self.cache), self.cache)
            raise

    def _by_ourselves(self, chain: Sequence[FileSet], now: int) -> Outcome:
        start = chain[-1].key.end if chain else None
        with workspace(self.temp) as place:
            session = NativeSession(
                target=self.target,
                request=self.request,
                cache=self.cache,
                scratch=place.scratch,
                key=SessionKey(datetime.fromtimestamp(now, UTC), start),
                chain=chain,
            )
            try:
                return session.write()
            except OSError as error:
                raise self._on_this_machine(error) from error

    def _on_this_machine(self, error: OSError) -> TklbamError:
        """The target's errors are its own, so this one is of the temporary directory or the cache."""
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return EngineError(
                f"the session could not be stored: {error}", "Nothing of it counts; run the backup again."
            )
        place = fullest(temporary_directory(self.temp), self.cache.root)
        return no_room(place, free_bytes(place))

    def _by_duplicity(self, found: Survey, chain: list[FileSet] | None, now: int) -> Outcome:
        target, cache, blind = self.target, self.cache, self._blind(found)
        with workspace(self.temp) as place, cache.shadows([] if blind else self._stuck(found)):
            session = DuplicitySession(
                target=target,
                request=self.request,
                cache=cache,
                place=place,
                program=self.program(),
                patience=self.patience,
                redactor=self.redactor,
                full=chain is None,
                now=now,
                blind=blind,
            )
            try:
                return session.write()
            except IncompleteSessionError as error:
                self._drop(self._stored(found, now, Outcome()))
                raise EngineError(f"{error.what}; the session counts for nothing", error.remedy) from error

    def _drop(self, stored: FileSet) -> None:
        if self.target.keeps_everything:
            # The next run sees by this that it was never good.
            self.cache.note_void(stored)
        else:
            self.target.delete([file.name for file in reversed(stored.files)])

    def _stored(self, before: Survey, since: int, outcome: Outcome) -> FileSet:
        """The session that has just been written, from a fresh listing."""
        after = group(self.target.files())
        new = [found for key, found in after.items() if key not in before.sets and key.end.timestamp() >= since]
        whole = [found for found in new if not found.problems(sizes=outcome.sizes)]
        if len(whole) != 1:
            wrong = [line for found in new for line in found.problems(sizes=outcome.sizes)]
            raise EngineError(
                f"all was sent, but {self.target.address} does not list the session: {'; '.join(wrong) or 'no file'}",
                "Check the target; the next backup cleans up.",
            )
        return whole[0]


def _session_time(found: Survey) -> tuple[int, list[str]]:
    """Seconds since 1970, and what to warn of: sessions must come one after the other, whatever the clock says."""
    newest = found.newest
    if newest is None:
        return int(time.time()), []
    last = int(newest.end.timestamp())
    behind = last + 1 - int(time.time())
    if behind <= 0:
        return int(time.time()), []
    if behind <= 2:
        while int(time.time()) <= last:
            time.sleep(0.05)
        return int(time.time()), []
    return last + 1, [
        f"the clock says {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, but the last session is of "
        f"{newest.end:%Y-%m-%d %H:%M:%S} UTC; this one is stored as one second later. Check the clock."
    ]
