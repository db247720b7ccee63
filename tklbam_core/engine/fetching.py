"""Restoring from a target: the session wanted and what it builds on, checked first, behind walls."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from ..api.errors import ArchiveError, EngineError, SpaceError, UsageError
from ..api.models import StoredFile
from ..api.process import run
from ..api.progress import ProgressEvent
from ..api.redact import Redactor
from ..api.storage import Target
from . import failures
from .archive import FileSet, link
from .cache import Cache
from .decrypt import Unreadable, read_manifest
from .download import Wanted
from .feed import Feed
from .interface import FetchRequest
from .manifest import Manifest
from .native.restoring import NativeRestore, UnsupportedArchiveError
from .parts import Parts
from .patience import Patience
from .program import CommandLine, Program, launcher
from .restore_cache import CacheFullError, RestoreCache, Stage
from .runner import DownloadProgress, Job, run_duplicity
from .space import OverLimitError, over_limit
from .survey import Survey, survey
from .walls import writable_words
from .workspace import Workspace, remove_stale, workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetching:
    """One restore. `temp` is for the program's temporary files (None: the system's directory); `kept` is what earlier
    restores downloaded (None: nothing is kept); `program` finds duplicity; without `native` it reads everything."""

    target: Target
    request: FetchRequest
    cache: Cache
    temp: Path | None
    program: Callable[[], Program]
    native: bool
    patience: Patience
    redactor: Redactor
    kept: RestoreCache | None

    def fetch(self) -> None:
        """Restores into the destination, which is made (0700) where it does not exist and must be empty.

        The files needed are downloaded into the cache first, where there is room; else they come one by one. Raises
        ArchiveError, UnsafePathError, SpaceError, TargetError, EngineError.
        """
        if self.request.within is not None and not self.native:
            self._everything().fetch()
            return
        try:
            self._fetch()
        except UnsupportedArchiveError:
            self._everything().fetch()

    def _everything(self) -> Fetching:
        """duplicity can be asked for one path or for all. Raises SpaceError where that is more than is allowed."""
        room, whole = self.request.room, self.request.whole
        if room is not None and whole > room:
            raise over_limit(self.request.destination, f"needs {whole / 2**20:.1f} MB, for all must be fetched", room)
        return replace(self, request=replace(self.request, within=None, room=None))

    def _fetch(self) -> None:
        remove_stale(self.temp)
        destination = self.request.destination
        with workspace(self.temp) as place:
            # What is to be tested is what the target says of itself.
            known = Cache(place.path / "nothing", self.target.address) if self.request.fresh else self.cache
            found = survey(self.target.files(), known)
            chain = choose(self.target, found, self.request.time)
            destination.mkdir(mode=0o700, parents=True, exist_ok=True)
            if next(destination.iterdir(), None) is not None:
                raise UsageError(f"{destination} is not empty", "Choose an empty directory to restore to.")
            if self.kept is None or self.request.fresh or self.target.local_path() is not None:
                self._fetch_direct(found, chain, known, place)
            elif not self._fetch_staged(self.kept, chain, place):
                _empty(destination)
                self._fetch_direct(found, chain, known, place)

    def _fetch_staged(self, kept: RestoreCache, chain: list[FileSet], place: Workspace) -> bool:
        """Whether it could be done: False where there is no room to restore by way of the cache."""
        try:
            with kept.stage(self.target) as stage:
                if not stage.reserve(Wanted(each.manifest) for each in chain if each.manifest is not None):
                    return False
                archive = Cache(place.path / "staged", self.target.address)
                archive.create()
                archive.fill_for_restore(chain, [], self.cache)
                sessions = self._volumes(chain, archive, place, stage)
                wanted = [volume for session in sessions for volume in session]
                if not stage.reserve(wanted):
                    return False
                self._download(stage, wanted)
                # What is not needed must be seen to be there all the same.
                stage.stand_in(file.name for each in chain for file in each.files)
                try:
                    if not self._read(sessions, place, stage.path, proven=True):
                        self._run(chain, archive, place, stage.path)
                except ArchiveError:
                    unproven = [volume for volume in wanted if not volume.sha1]
                    for volume in unproven:
                        stage.drop(volume)
                    if not unproven:
                        raise
                    return False
        except CacheFullError:
            return False
        except OverLimitError:
            raise
        except SpaceError:
            # Without what was kept there may be enough.
            kept.clear()
            return False
        return True

    def _download(self, stage: Stage, wanted: list[Wanted]) -> None:
        total = sum(each.file.size for each in wanted)
        done = 0

        def tell(count: int) -> None:
            nonlocal done
            done += count
            self.request.progress(ProgressEvent("download", min(done, total), total, "bytes"))

        before = 0
        for each in wanted:
            stage.bring(each, tell)
            # What was here already was not told, and what had to come twice was told twice.
            before, done = before + each.file.size, before + each.file.size
            tell(0)

    def _fetch_direct(self, found: Survey, chain: list[FileSet], known: Cache, place: Workspace) -> None:
        sets = [*found.complete, *found.undecided]
        archive = Cache(place.path / "archive", self.target.address)
        archive.create()
        archive.fill_for_restore(sets, [each for each in found.sets.values() if each not in sets], known)
        sessions = self._volumes(chain, archive, place, None)
        local = self.target.local_path()
        if local is not None:
            done = self._read(sessions, place, local, proven=False)
        else:
            done = self._read_in_turn(sessions, place)
        if not done:
            self._run(chain, archive, place, None)

    def _read_in_turn(self, sessions: Sequence[Sequence[Wanted]], place: Workspace) -> bool:
        """Has our own reader ask for volumes; False where it can't, or where there is no room even for so few."""
        # Another workspace: what was proven there is out of the reader's reach.
        with workspace(self.temp) as apart:
            feed = Feed(self.target, apart.path / "volumes", sessions, self.request.progress)
            return feed.fits and self._read(sessions, place, feed.directory, proven=True, feed=feed)

    def _volumes(
        self, chain: list[FileSet], archive: Cache, place: Workspace, stage: Stage | None
    ) -> list[list[Wanted]]:
        """Of each session the volumes that may hold the path wanted. `archive` has the manifests afterwards."""
        sessions = []
        for each in chain:
            manifest = self._manifest(each, archive, place, stage)
            numbers = manifest.holding(Parts.of(self.request.path, self.request.within))
            sessions.append([Wanted(each.volumes[number], manifest.volumes[number]) for number in numbers])
        return sessions

    def _read(
        self,
        sessions: Sequence[Sequence[Wanted]],
        place: Workspace,
        directory: Path,
        *,
        proven: bool,
        feed: Feed | None = None,
    ) -> bool:
        """Restores by our own reader; False where it can't read this archive, and nothing is there of it."""
        if not self.native:
            return False
        restore = NativeRestore(
            target=self.target,
            directory=directory,
            sessions=sessions,
            path=self.request.path,
            within=self.request.within,
            room=self.request.room,
            destination=self.request.destination,
            secret=self.request.secret,
            place=place,
            proven=proven,
            phase="unpack" if proven and feed is None else "download",
            progress=self.request.progress,
            feed=feed,
        )
        try:
            restore.restore()
        except UnsupportedArchiveError:
            _empty(self.request.destination)
            if self.request.within is not None:
                raise
            return False
        return True

    def _run(self, chain: list[FileSet], archive: Cache, place: Workspace, stage: Path | None) -> None:
        largest = max(file.size for each in chain for file in each.volumes.values())
        destination, time = self.request.destination, int(chain[-1].key.end.timestamp())

        def build(line: CommandLine) -> list[str]:
            own = os.geteuid() == 0
            restore = line.restore(time=time, path=self.request.path, destination=destination, own=own)
            return launcher(writable_words(destination, *place.writable), restore)

        job = Job(
            program=self.program(),
            target=self.target,
            workspace=place,
            archive_dir=archive.root,
            name=archive.name,
            secret=self.request.secret,
            volume_size=max(1, -(-largest // (1 << 20))),
            patience=self.patience,
            redactor=self.redactor,
            destination=destination,
            stage=stage,
        )
        phase = "download" if stage is None else "unpack"
        account, failure = run_duplicity(job, build, DownloadProgress(self.request.progress, phase).take)
        if failure is not None:
            raise failures.reading(failure)
        if account.unread:
            count = len(account.unread) + account.more_unread
            raise failures.partly(self.target, destination, account.unread, count)

    def _manifest(self, found: FileSet, archive: Cache, place: Workspace, stage: Stage | None) -> Manifest:
        """A session's manifest, which `archive` has afterwards, once the target is seen to have all that it names."""
        manifest = archive.manifest(found.key)
        if manifest is None:
            assert found.manifest is not None
            manifest, text = self._read_manifest(found.manifest, place, stage)
            archive.put_manifest(found.manifest, text)
        problems = found.problems(manifest.count)
        if problems:
            raise failures.damaged(self.target, found.key, problems)
        return manifest

    def _read_manifest(self, file: StoredFile, place: Workspace, stage: Stage | None) -> tuple[Manifest, bytes]:
        """Raises ArchiveError where it can't be read."""
        why = Unreadable.DAMAGED
        # What is kept here may have been damaged here: then it is fetched again.
        for _ in range(2 if stage is not None else 1):
            with self._open(file, stage) as content:
                read = read_manifest(file.name, content, self.request.secret, place)
            if not isinstance(read, Unreadable):
                return read
            why = read
            if stage is not None:
                stage.drop(Wanted(file))
        raise failures.unreadable(self.target, file.name, why)

    def _open(self, file: StoredFile, stage: Stage | None) -> BinaryIO:
        if stage is None:
            return self.target.read(file.name)
        return open(stage.bring(Wanted(file), lambda _: None), "rb")


def _empty(directory: Path) -> None:
    """Removes what a first attempt left, however deep an archive made it."""
    run(["find", directory, "-mindepth", "1", "-delete"])


def choose(target: Target, found: Survey, when: datetime | None) -> list[FileSet]:
    """The chain up to the session that holds the state wanted."""
    candidates = [*(each.key for each in (*found.complete, *found.undecided)), *found.damaged]
    if not candidates:
        raise EngineError(f"there is no complete session at {target.address}", "Check the address.")
    wanted = [key for key in candidates if when is None or key.end <= when]
    if not wanted:
        known = ", ".join(f"{key.end:%Y-%m-%dT%H:%M:%SZ}" for key in sorted(candidates, key=lambda key: key.end))
        raise EngineError(f"no session at {target.address} is that old", f"There are: {known}.")
    key = max(wanted, key=lambda key: key.end)
    if key in found.damaged:
        raise failures.damaged(target, key, found.damaged[key])
    for chain in link([*found.complete, *found.undecided]):
        keys = [each.key for each in chain]
        if key in keys:
            return chain[: keys.index(key) + 1]
    raise failures.damaged(target, key, ["a session it builds on is missing or damaged"])
