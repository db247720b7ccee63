"""Storing one session: an increment where one is possible, judged by a fresh listing when it is done."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..api.errors import EngineError, TklbamError
from ..api.redact import Redactor
from ..api.storage import Target
from . import events, failures
from .archive import FileSet, group
from .cache import Cache, sync_tree
from .filelist import count_listed, vanished, write_include_list, write_list
from .interface import WriteRequest, WriteResult
from .patience import Patience
from .program import CommandLine, Program, distinct_source, launcher
from .runner import Job, UploadProgress, run_duplicity
from .space import check_room
from .survey import Survey, survey
from .upkeep import clean, prepare
from .workspace import Workspace, temporary_directory, workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """One session to be stored. `temp` is where volumes are built (None: the system's temporary directory)."""

    target: Target
    request: WriteRequest
    cache: Cache
    temp: Path | None
    program: Program
    patience: Patience
    redactor: Redactor

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
        if found.undecided or (found.leftovers and (not target.keeps_everything or cache.unfinished())):
            warnings += prepare(target, request.secret, cache, self.temp)
            found = survey(target.files(), cache)
        # What can't be removed there must be hidden from duplicity, which would try to, or build on it.
        stuck = [*found.leftovers, *(found.sets[key] for key in found.damaged)] if target.keeps_everything else []
        blind = bool(stuck) and self.program.goes_by_its_cache
        full = request.full
        if not full and not self._can_extend(found, blind):
            full = True
            if found.sets:
                warnings.append("the last chain can't be extended, so this is a full session")
        now = _session_time(found, warnings)
        check_room(target, request, full, temporary_directory(self.temp))
        hidden = cache.shadows([] if blind else stuck)
        with workspace(self.temp) as place, _extras_in_place(request) as words, hidden:
            left_out = self._write_list(place, warnings)
            listed = count_listed(place.path / "list", request.source) if self.program.reads_lists else 0
            account, since = self._run(place, full=full, now=now, words=words, blind=blind)
        stored = self._stored(found, since)
        self._check_whole(stored, account, listed)
        local = target.local_path()
        if local is not None:
            sync_tree(local, [file.name for file in stored.files])
        here = {file.name for each in found.sets.values() for file in each.files}
        noted = {name: size for name, size in cache.sizes().items() if name in here}
        cache.note_sizes({**noted, **{file.name: file.size for file in stored.files}})
        unread = [f"{path}: its name can't be stored" for path in left_out] + account.unread
        gone = tuple(vanished(request.source, request.file_list))
        silent = max(0, int(account.statistics.get("Errors", 0)) - len(account.unread) - account.more_unread)
        if account.more_unread + silent:
            unread.append(f"{account.more_unread + silent} more files could not be read")
        number = account.statistics.get
        return WriteResult(
            session=stored.session(),
            source_files=int(number("SourceFiles", 0)),
            source_size=int(number("SourceFileSize", 0)),
            new_files=int(number("NewFiles", 0)),
            changed_files=int(number("ChangedFiles", 0)),
            deleted_files=int(number("DeletedFiles", 0)),
            seconds=time.monotonic() - started,
            warnings=(*warnings, *account.warnings),
            unread=tuple(unread),
            vanished=gone,
        )

    def _can_extend(self, found: Survey, blind: bool) -> bool:
        chain = found.extendable()
        return chain is not None and (self.cache.holds(chain) if blind else not found.misleading)

    def _check_whole(self, stored: FileSet, account: events.Account, listed: int) -> None:
        """Never believe a session that holds less than was asked for: duplicity says nothing of what it left out."""
        taken = int(account.statistics.get("SourceFiles", 0)) + int(account.statistics.get("Errors", 0))
        if taken >= listed:
            return
        if self.target.keeps_everything:
            # The next run sees by this that it was never good.
            self.cache.note_void(stored)
        else:
            self.target.delete([file.name for file in stored.files])
        raise EngineError(
            f"duplicity stored {taken} of {listed} files and said nothing about the others; the session "
            + ("stays on the target and counts for nothing here" if self.target.keeps_everything else "was removed"),
            "Run the backup again; if that does not help, report it with the version of duplicity.",
        )

    def _write_list(self, place: Workspace, warnings: list[str]) -> list[str]:
        with open(place.path / "list", "wb") as out:
            if self.program.reads_lists:
                return write_list(out, self.request.file_list, self.request.extras)
            warnings.append(
                f"duplicity {'.'.join(map(str, self.program.version))} can't read a list of files, so a long one "
                "takes it very long (minutes for thousands of files); install duplicity 2 or newer"
            )
            return write_include_list(out, self.request.source, self.request.file_list, self.request.extras)

    def _run(
        self, place: Workspace, *, full: bool, now: int | None, words: list[str], blind: bool
    ) -> tuple[events.Account, int]:
        target, request, cache = self.target, self.request, self.cache
        since = now if now is not None else int(time.time())
        upload = UploadProgress(request.progress, request.total_bytes)

        def build(line: CommandLine) -> list[str]:
            uploads = request.uploads if target.local_path() is None else 1
            return launcher(
                words,
                line.backup(
                    full=full, source=source, file_list=place.path / "list", now=now, uploads=uploads, blind=blind
                ),
            )

        source = distinct_source(request.source, place.path) if self.program.reads_lists else request.source
        job = Job(
            program=self.program,
            target=target,
            workspace=place,
            archive_dir=cache.root,
            name=cache.name,
            secret=request.secret,
            volume_size=request.volume_size,
            patience=self.patience,
            redactor=self.redactor,
        )
        account, failure = run_duplicity(job, build, upload.take)
        if failure is not None:
            error = failures.writing(failure)  # which looks at the target as it is now: full, say
            with contextlib.suppress(TklbamError, OSError):  # the failure itself is what must be told
                clean(target, survey(target.files(), cache), cache)
            raise error
        upload.end(account)
        return account, since

    def _stored(self, before: Survey, since: int) -> FileSet:
        """The session that has just been written, from a fresh listing."""
        after = group(self.target.files())
        new = [found for key, found in after.items() if key not in before.sets and key.end.timestamp() >= since]
        whole = [found for found in new if not found.problems()]
        if len(whole) != 1:
            raise EngineError(
                f"duplicity ended well, but {self.target.address} does not list the session it wrote",
                "Check the target; the next backup cleans up.",
            )
        return whole[0]


def _session_time(found: Survey, warnings: list[str]) -> int | None:
    """None: the clock's time serves. Sessions must come one after the other, whatever the clock says."""
    newest = found.newest
    if newest is None:
        return None
    last = int(newest.end.timestamp())
    behind = last + 1 - int(time.time())
    if behind <= 0:
        return None
    if behind <= 2:
        time.sleep(behind)
        return None
    warnings.append(
        f"the clock says {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, but the last session is of "
        f"{newest.end:%Y-%m-%d %H:%M:%S} UTC; this one is stored as one second later. Check the clock."
    )
    return last + 1


@contextlib.contextmanager
def _extras_in_place(request: WriteRequest) -> Iterator[list[str]]:
    """Words for the launcher that show the extras at SOURCE/TKLBAM, where they are not there anyway."""
    place = request.source / "TKLBAM"
    if request.extras is None or os.path.realpath(request.extras) == os.path.realpath(place):
        yield []
        return
    if os.geteuid() != 0:
        raise EngineError(
            f"only root can store extras from {request.extras} as {place}",
            "Run as root, or leave `extras-dir` at its default.",
        )
    made = not place.exists()
    if made:
        place.mkdir(mode=0o700)
    try:
        yield ["--bind", str(request.extras), str(place)]
    finally:
        if made:
            place.rmdir()
