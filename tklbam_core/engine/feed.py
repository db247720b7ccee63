"""The volumes of a restore, on this machine only while they are read: so a chain may be larger than the disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from ..api.progress import Progress, ProgressEvent
from ..api.storage import Target
from .download import Wanted, download
from .space import free_bytes, no_room

_SHARE = 2
"""A half of what is free where they lie may be taken: what is restored usually lies there, too."""


class Feed:
    """The volumes of `sessions`, each session's in the order in which they are read, below `directory` (made, 0700).

    Of every session the one that is read lies there, and the next ones of some as far as there is room.
    """

    def __init__(
        self, target: Target, directory: Path, sessions: Sequence[Sequence[Wanted]], progress: Progress
    ) -> None:
        directory.mkdir(mode=0o700)
        self.directory = directory
        self._target = target
        self._sessions = sessions
        self._progress = progress
        self._awaited = {
            str(directory / each.file.name): (session, number)
            for session, volumes in enumerate(sessions)
            for number, each in enumerate(volumes)
        }
        self._done, self._total = 0, sum(each.file.size for volumes in sessions for each in volumes)
        needed = sum(max((each.file.size for each in volumes), default=0) for volumes in sessions)
        self._spare = free_bytes(directory) // _SHARE - needed
        self._ahead: set[str] = set()
        self._last = (0, 0)

    @property
    def fits(self) -> bool:
        """Whether there is room for the volumes that must be there at once."""
        return self._spare >= 0

    def awaits(self, path: str) -> bool:
        """Whether this is the path of a volume that was not handed over yet."""
        return path in self._awaited

    def hand_over(self, path: str) -> None:
        """Has a volume at that path, until the next one of its session is asked for.

        Raises ArchiveError where it does not match its hash, TargetError, SpaceError.
        """
        session, number = self._last = self._awaited.pop(path)
        if number:
            self._place(session, number - 1).unlink()
        if path in self._ahead:
            self._ahead.remove(path)
            self._spare += self._sessions[session][number].file.size
        else:
            self._bring(session, number)

    def look_ahead(self) -> None:
        """Has the volume that follows the one handed over last, where there is room for it. Raises as `hand_over`."""
        session, number = self._last[0], self._last[1] + 1
        if number == len(self._sessions[session]):
            return
        size = self._sessions[session][number].file.size
        if size <= self._spare:
            self._spare -= size
            self._bring(session, number)
            self._ahead.add(str(self._place(session, number)))

    def _place(self, session: int, number: int) -> Path:
        return self.directory / self._sessions[session][number].file.name

    def _bring(self, session: int, number: int) -> None:
        wanted, came = self._sessions[session][number], 0

        def tell(count: int) -> None:
            nonlocal came
            came = min(came + count, wanted.file.size)
            self._progress(ProgressEvent("download", self._done + came, self._total, "bytes"))

        descriptor = os.open(self._place(session, number), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            download(self._target, wanted, descriptor, tell)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise no_room(self.directory, free_bytes(self.directory)) from error
            raise
        finally:
            os.close(descriptor)
        self._done += wanted.file.size
