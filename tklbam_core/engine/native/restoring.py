"""A restore by our own reader: the program `extract`, started behind walls and listened to."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from ...api.errors import CommandError, EngineError, TargetError, TklbamError
from ...api.process import Process, start
from ...api.progress import Progress, ProgressEvent
from ...api.storage import Target
from .. import failures
from ..decrypt import Unreadable
from ..download import Wanted
from ..feed import Feed
from ..interface import NotInArchiveError
from ..outcome import LIMIT
from ..program import launcher, own_program
from ..space import free_bytes, fullest, no_room, over_limit
from ..walls import refused, writable_words
from ..workspace import Workspace
from .extract import Order

_PROGRAM = "from tklbam_core.engine.native.extract import main; main()"


class UnsupportedArchiveError(EngineError):
    """An archive that duplicity and gpg may be able to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeRestore:
    """The state that `sessions` led to, from the volumes in `directory`, in `destination`, an empty directory: that of
    `path` alone, or what lies `within` these paths, unless they are None.

    Of each session, oldest first, the volumes that may hold something of it are named. What is `proven` to have the
    right hash is not hashed again. Content may take `room` bytes (None: any number). `phase` is the progress events'.
    With a `feed` the volumes are those that it brings into its directory, which it proves and tells of.
    """

    target: Target
    directory: Path
    sessions: Sequence[Sequence[Wanted]]
    path: str | None
    within: Sequence[str] | None
    destination: Path
    secret: str
    place: Workspace
    proven: bool
    phase: str
    progress: Progress
    feed: Feed | None = None
    room: int | None = None

    def restore(self) -> None:
        """Raises ArchiveError, UnsafePathError, SpaceError, NotInArchiveError, EngineError; UnsupportedArchiveError
        where nothing speaks against trying duplicity, for which the destination has to be emptied."""
        volumes = [volume for session in self.sessions for volume in session]
        if any(not volume.file.name.endswith(".gpg") for volume in volumes):
            raise UnsupportedArchiveError("not all of it is encrypted")
        order = Order(
            sessions=[[self._listed(volume) for volume in session] for session in self.sessions],
            path=self.path or "",
            within=self.within,
            room=self.room,
            destination=str(self.destination),
            scratch=str(self.place.scratch),
            own=os.geteuid() == 0,
            secret=self.secret,
            asking=self.feed is not None,
        )
        unread, more, end = self._run(order, sum(volume.file.size for volume in volumes))
        if "failed" in end:
            raise self._error(end)
        if unread:
            raise failures.partly(self.target, self.destination, unread, len(unread) + more)

    def _listed(self, volume: Wanted) -> tuple[str, str]:
        return str(self.directory / volume.file.name), "" if self.proven else volume.sha1

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
                _say(process, json.dumps(asdict(order)).encode())
                for record in self._records(process.stdout):
                    if "want" in record:
                        self._bring(record["want"], process)
                    elif "at" in record:
                        if self.feed is None:
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
        if not end:
            raise self._ended("it said nothing")
        self.progress(ProgressEvent(self.phase, total, total, "bytes"))
        return unread, more, end

    def _records(self, stdout: IO[bytes]) -> Iterator[dict[str, Any]]:
        # Whatever an archive made of that program, it fills no memory here.
        for line in iter(lambda: stdout.readline(1 << 16), b""):
            try:
                record = json.loads(line)
            except ValueError as error:
                raise self._ended("it said nothing sensible") from error
            yield record

    def _bring(self, path: str, process: Process) -> None:
        if self.feed is None or not self.feed.awaits(path):
            raise self._ended("it asked for what there is not")
        self.feed.hand_over(path)
        _say(process, b"")
        self.feed.look_ahead()

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
        if kind == "room":
            return over_limit(self.destination, "needs more", self.room or 0)
        if kind == "full":
            place = fullest(self.destination, self.place.path)
            return no_room(place, free_bytes(place))
        if kind == "disk":
            return EngineError(f"{self.destination} can't be written: {what}", "Check its disk.")
        return failures.damaged_file(self.target, name or "a session", what)


def _say(process: Process, line: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):  # it was never started, or ended, and says why
        process.stdin.write(line + b"\n")
        process.stdin.flush()
