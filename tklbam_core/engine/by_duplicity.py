"""A session stored by the installed duplicity: the way there is where our own writer can't work."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from ..api.errors import EngineError
from ..api.redact import Redactor
from ..api.storage import Target
from . import events, failures
from .cache import Cache
from .filelist import count_listed, vanished, write_include_list, write_list
from .interface import WriteRequest
from .outcome import Outcome
from .patience import Patience
from .program import CommandLine, Program, distinct_source, launcher
from .runner import Job, UploadProgress, run_duplicity
from .workspace import Workspace


class IncompleteSessionError(EngineError):
    """duplicity ended well and has not stored all that was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicitySession:
    """A session to be stored. `now` is its time in seconds since 1970 where the clock won't do; `blind`: by the cache
    alone, for what lies on the target would mislead."""

    target: Target
    request: WriteRequest
    cache: Cache
    place: Workspace
    program: Program
    patience: Patience
    redactor: Redactor
    full: bool
    now: int | None
    blind: bool

    def write(self) -> Outcome:
        """Stores it. Raises the error behind duplicity's, IncompleteSessionError."""
        request, warnings = self.request, list[str]()
        with _extras_in_place(request) as words:
            left_out = self._write_list(warnings)
            listed = count_listed(self.place.path / "list", request.source) if self.program.reads_lists else 0
            account = self._run(words)
        outcome = _outcome(account)
        outcome.warnings[:0] = warnings
        outcome.unread[:0] = [f"{path}: its name can't be stored" for path in left_out]
        outcome.vanished += vanished(request.source, request.file_list)
        taken = outcome.source_files + int(account.statistics.get("Errors", 0))
        if taken < listed:
            raise IncompleteSessionError(
                f"duplicity stored {taken} of {listed} files and said nothing about the others",
                "Run the backup again; if that does not help, report it with the version of duplicity.",
            )
        return outcome

    def _write_list(self, warnings: list[str]) -> list[str]:
        with open(self.place.path / "list", "wb") as out:
            if self.program.reads_lists:
                return write_list(out, self.request.file_list, self.request.extras)
            warnings.append(
                f"duplicity {'.'.join(map(str, self.program.version))} can't read a list of files, so a long one "
                "takes it very long (minutes for thousands of files); install duplicity 2 or newer"
            )
            return write_include_list(out, self.request.source, self.request.file_list, self.request.extras)

    def _run(self, words: list[str]) -> events.Account:
        request, place = self.request, self.place
        upload = UploadProgress(request.progress, request.total_bytes)

        def build(line: CommandLine) -> list[str]:
            uploads = request.uploads if self.target.local_path() is None else 1
            command = line.backup(
                full=self.full,
                source=source,
                file_list=place.path / "list",
                now=self.now,
                uploads=uploads,
                blind=self.blind,
            )
            return launcher(words, command)

        source = distinct_source(request.source, place.path) if self.program.reads_lists else request.source
        job = Job(
            program=self.program,
            target=self.target,
            workspace=place,
            archive_dir=self.cache.root,
            name=self.cache.name,
            secret=request.secret,
            volume_size=request.volume_size,
            patience=self.patience,
            redactor=self.redactor,
        )
        account, failure = run_duplicity(job, build, upload.take)
        if failure is not None:
            raise failures.writing(failure)  # which looks at the target as it is now: full, say
        upload.end(account)
        return account


def _outcome(account: events.Account) -> Outcome:
    number = account.statistics.get
    silent = max(0, int(number("Errors", 0)) - len(account.unread) - account.more_unread)
    return Outcome(
        source_files=int(number("SourceFiles", 0)),
        source_size=int(number("SourceFileSize", 0)),
        new_files=int(number("NewFiles", 0)),
        changed_files=int(number("ChangedFiles", 0)),
        deleted_files=int(number("DeletedFiles", 0)),
        unread=list(account.unread),
        more_unread=account.more_unread + silent,
        warnings=list(account.warnings),
    )


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
