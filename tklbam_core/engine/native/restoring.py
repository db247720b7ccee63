"""A restore by our own reader: the program `extract`, started behind walls and listened to."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...api.errors import CommandError, EngineError, TargetError, TklbamError
from ...api.process import start
from ...api.progress import Progress, ProgressEvent
from ...api.storage import Target
from .. import failures
from ..archive import FileSet
from ..decrypt import Unreadable
from ..interface import NotInArchiveError
from ..manifest import Manifest
from ..outcome import LIMIT
from ..program import launcher, own_program
from ..space import free_bytes, fullest, no_room
from ..walls import refused, writable_words
from ..workspace import Workspace
from .extract import Order

_PROGRAM = "from tklbam_core.engine.native.extract import main; main()"


class UnsupportedArchiveError(EngineError):
    """An archive that duplicity and gpg may be able to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeRestore:
    """The state that `chain` led to, from the files in `directory`, into `destination`, an empty directory.

    Of each session the volumes that `manifests` say may hold `path` (None: all) are read; what is `proven` to have the
    right hash is not hashed again. `phase` is the progress events'.
    """

    target: Target
    directory: Path
    chain: Sequence[FileSet]
    manifests: Sequence[Manifest]
    path: str | None
    destination: Path
    secret: str
    place: Workspace
    proven: bool
    phase: str
    progress: Progress

    def restore(self) -> None:
        """Raises ArchiveError, UnsafePathError, SpaceError, NotInArchiveError, EngineError; UnsupportedArchiveError
        where nothing speaks against trying duplicity, for which the destination has to be emptied."""
        sessions = [self._volumes(*each) for each in zip(self.chain, self.manifests, strict=True)]
        if any(not path.endswith(".gpg") for session in sessions for path, _ in session):
            raise UnsupportedArchiveError("not all of it is encrypted")
        order = Order(
            sessions=sessions,
            path=self.path or "",
            destination=str(self.destination),
            scratch=str(self.place.scratch),
            own=os.geteuid() == 0,
            secret=self.secret,
        )
        total = sum(os.path.getsize(path) for session in sessions for path, _ in session)
        unread, more, end = self._run(order, total)
        if "failed" in end:
            raise self._error(end)
        if unread:
            raise failures.partly(self.target, self.destination, unread, len(unread) + more)

    def _volumes(self, found: FileSet, manifest: Manifest) -> list[tuple[str, str]]:
        return [
            (str(self.directory / found.volumes[number].name), "" if self.proven else manifest.volumes[number])
            for number in manifest.holding(self.path)
        ]

    def _run(self, order: Order, total: int) -> tuple[list[str], int, dict[str, Any]]:
        """The first of the paths that could not be made, how many more there are, and the last record."""
        words = writable_words(self.destination, *self.place.writable)
        program, path = own_program(_PROGRAM)
        unread, more = list[str](), 0
        end: dict[str, Any] = {}
        try:
            with start(
                launcher(words, program),
                env={**self.place.environment, **path},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=(self.place.lock,),
            ) as process:
                with contextlib.suppress(BrokenPipeError):  # it was never started, and says why
                    process.stdin.write(json.dumps(asdict(order)).encode())
                    process.stdin.close()
                # Whatever an archive made of that program, it fills no memory here.
                for line in iter(lambda: process.stdout.readline(1 << 16), b""):
                    record = json.loads(line)
                    if "at" in record:
                        self.progress(ProgressEvent(self.phase, min(record["at"], total), total, "bytes"))
                    elif "unread" not in record:
                        end = record
                    elif len(unread) < LIMIT:
                        unread.append(": ".join(record["unread"]))
                    else:
                        more += 1
        except CommandError as error:
            refused(error)
            raise self._ended(error.stderr) from error
        except ValueError as error:
            raise self._ended("it said nothing sensible") from error
        if not end:
            raise self._ended("it said nothing")
        self.progress(ProgressEvent(self.phase, total, total, "bytes"))
        return unread, more, end

    def _ended(self, said: str) -> EngineError:
        why = said.splitlines()[-1:] or ["it was ended"]
        return EngineError(
            f"the program that restores ended early: {why[0]}",
            "Check that there is memory left; else the archive may be damaged: try an earlier state with --time.",
        )

    def _error(self, record: dict[str, Any]) -> TklbamError:
        kind, name, what = record["failed"], record["name"], record["what"]
        if kind == "unsupported":
            return UnsupportedArchiveError(f"{name}: {what}")
        if kind == "wrong-secret":
            return failures.unreadable(self.target, name, Unreadable.WRONG_SECRET)
        if kind == "altered":
            return failures.altered(self.target, name)
        if kind == "unreadable":
            return TargetError(f"{self.directory / name} can't be read: {what}", "Check its disk and its permissions.")
        if kind == "unsafe":
            return failures.unsafe(self.target, what)
        if kind == "missing":
            return NotInArchiveError(f"the archive does not hold that path: {what}", "Check the path and the time.")
        if kind == "file":
            return EngineError(f"{what} is no directory in the archive", "Ask for the directory in which it lies.")
        if kind == "full":
            place = fullest(self.destination, self.place.path)
            return no_room(place, free_bytes(place))
        if kind == "disk":
            return EngineError(f"{self.destination} can't be written: {what}", "Check its disk.")
        return failures.damaged_file(self.target, name or "a session", what)
