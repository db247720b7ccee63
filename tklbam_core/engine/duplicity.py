"""The engine: duplicity as a program, made to survive interruptions, full disks, odd clocks and hostile archives."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ..api.errors import EngineError, TklbamError, UsageError
from ..api.storage import Target
from . import events, failures
from .archive import FileSet, SessionKey, as_chain, group, link
from .cache import Cache, sync_tree
from .decrypt import Unreadable, read_file
from .filelist import count_listed, vanished, write_include_list, write_list
from .interface import Chain, Engine, FetchRequest, Session, Verification, WriteRequest, WriteResult
from .manifest import Manifest, parse_manifest
from .program import CommandLine, Program, distinct_source, find_program, launcher
from .runner import DownloadProgress, Job, UploadProgress, run_duplicity
from .space import check_room
from .survey import Survey, read_manifests, survey
from .workspace import Workspace, remove_stale, temporary_directory, workspace


class DuplicityEngine(Engine):
    """Sessions in duplicity's format.

    `cache` holds duplicity's archive directories, one an address (made 0700); `temp` is where volumes are built
    before they go up (the system's temporary directory unless given): about 2.3 volumes must fit there. `program`
    names a duplicity other than the installed one.
    """

    def __init__(self, cache: Path, temp: Path | None = None, program: Path | None = None) -> None:
        self._cache_root = cache
        self._temp = temp
        self._given_program = program
        self._found_program: Program | None = None

    @property
    def program(self) -> Program:
        """The duplicity in use. Raises EngineError where there is none that works."""
        if self._found_program is None:
            self._found_program = find_program(self._given_program)
        return self._found_program

    def _cache(self, target: Target) -> Cache:
        return Cache(self._cache_root, target.address)

    # --- prepare -----------------------------------------------------------------------------------------------------

    def prepare(self, target: Target, secret: str) -> Sequence[str]:
        """Removes what interrupted runs left on the target, in the cache and in the temporary directory.

        Of sessions that had been complete nothing is removed, nor any file that is not duplicity's. Reads the
        manifests of the newest chain where the cache does not have them. Raises LockedError while another run is at
        work on the same target.
        """
        said = remove_stale(self._temp)
        cache = self._cache(target)
        cache.create()
        cache.check_unused()
        found = survey(target.files(), cache)
        with workspace(self._temp) as place:
            said += read_manifests(target, found, cache, secret, place)
        said += self._clean(target, found, cache)
        for key, reasons in found.damaged.items():
            said.append(f"the {key.kind} session of {key.end:%Y-%m-%d %H:%M:%S} UTC is damaged: {'; '.join(reasons)}")
        return said

    def _clean(self, target: Target, found: Survey, cache: Cache) -> list[str]:
        said = []
        for each in found.leftovers:
            # The manifest goes first: without it nobody takes the rest for a session, however this ends.
            target.delete([file.name for file in reversed(each.files)])
            said.append(
                f"removed an interrupted {each.key.kind} session of {each.key.end:%Y-%m-%d %H:%M:%S} UTC: "
                f"{len(each.files)} files, {sum(file.size for file in each.files)} bytes"
            )
            del found.sets[each.key]
        found.leftovers = []
        removed = cache.keep_only(found.sets.values())
        if removed:
            said.append(f"removed from the local cache what the target does not have: {len(removed)} files")
        return said

    # --- chains ------------------------------------------------------------------------------------------------------

    def chains(self, target: Target) -> Sequence[Chain]:
        """The complete chains on the target, oldest first. A chain ends before its first session that is not whole."""
        return [as_chain(sets) for sets in survey(target.files(), self._cache(target)).chains]

    # --- write -------------------------------------------------------------------------------------------------------

    def write(self, target: Target, request: WriteRequest) -> WriteResult:
        """Stores one session. A full one is made, with a warning, where no increment is possible.

        Nothing of a session that fails counts, and what it left on the target is removed at once where possible, else
        by the next `prepare`. Raises SpaceError, TargetError, LockedError, EngineError.
        """
        started = time.monotonic()
        cache = self._cache(target)
        cache.create()
        cache.check_unused()
        warnings: list[str] = []
        found = survey(target.files(), cache)
        if found.leftovers or found.undecided:
            warnings += self.prepare(target, request.secret)
            found = survey(target.files(), cache)
        full = request.full
        if not full and found.extendable() is None:
            full = True
            if found.sets:
                warnings.append("the last chain can't be extended, so this is a full session")
        now = self._session_time(found, warnings)
        check_room(target, request, full, temporary_directory(self._temp))
        with workspace(self._temp) as place, self._extras_in_place(request) as words:
            left_out = self._write_list(place, request, warnings)
            listed = count_listed(place.path / "list", request.source) if self.program.reads_lists else 0
            account, since = self._run_backup(target, request, place, cache, full=full, now=now, words=words)
        stored = self._stored(target, found, since)
        self._check_whole(target, stored, account, listed)
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

    def _check_whole(self, target: Target, stored: FileSet, account: events.Account, listed: int) -> None:
        """Never believe a session that holds less than was asked for: duplicity says nothing of what it left out."""
        taken = int(account.statistics.get("SourceFiles", 0)) + int(account.statistics.get("Errors", 0))
        if taken >= listed:
            return
        target.delete([file.name for file in stored.files])
        raise EngineError(
            f"duplicity stored {taken} of {listed} files and said nothing about the others; the session was removed",
            "Run the backup again; if that does not help, report it with the version of duplicity.",
        )

    def _session_time(self, found: Survey, warnings: list[str]) -> int | None:
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
    def _extras_in_place(self, request: WriteRequest) -> Iterator[list[str]]:
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

    def _write_list(self, place: Workspace, request: WriteRequest, warnings: list[str]) -> list[str]:
        with open(place.path / "list", "wb") as out:
            if self.program.reads_lists:
                return write_list(out, request.file_list, request.extras)
            warnings.append(
                f"duplicity {'.'.join(map(str, self.program.version))} can't read a list of files, so a long one "
                "takes it very long (minutes for thousands of files); install duplicity 2 or newer"
            )
            return write_include_list(out, request.source, request.file_list, request.extras)

    def _run_backup(
        self,
        target: Target,
        request: WriteRequest,
        place: Workspace,
        cache: Cache,
        *,
        full: bool,
        now: int | None,
        words: list[str],
    ) -> tuple[events.Account, int]:
        since = now if now is not None else int(time.time())
        upload = UploadProgress(request.progress, request.total_bytes)

        def build(line: CommandLine) -> list[str]:
            uploads = request.uploads if target.local_path() is None else 1
            return launcher(
                words,
                line.backup(full=full, source=source, file_list=place.path / "list", now=now, uploads=uploads),
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
        )
        account, failure = run_duplicity(job, build, upload.take)
        if failure is not None:
            with contextlib.suppress(TklbamError, OSError):  # the failure itself is what must be told
                self._clean(target, survey(target.files(), cache), cache)
            raise failures.writing(failure)
        upload.end(account)
        return account, since

    def _stored(self, target: Target, before: Survey, since: int) -> FileSet:
        """The session that has just been written, from a fresh listing."""
        after = group(target.files())
        new = [found for key, found in after.items() if key not in before.sets and key.end.timestamp() >= since]
        whole = [found for found in new if not found.problems()]
        if len(whole) != 1:
            raise EngineError(
                f"duplicity ended well, but {target.address} does not list the session it wrote",
                "Check the target; the next backup cleans up.",
            )
        return whole[0]

    # --- verify ------------------------------------------------------------------------------------------------------

    def verify(self, target: Target, session: Session, secret: str) -> Verification:
        """Compares a fresh listing with the manifest and with the sizes noted when the session was stored."""
        cache = self._cache(target)
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
            text = read_file(found.manifest.name, content, secret, place)
        if isinstance(text, bytes):
            manifest = parse_manifest(text)
            if manifest is not None:
                return manifest
            text = Unreadable.DAMAGED
        problems.append(f"{found.manifest.name} can't be read: {text.value}")
        return None

    # --- fetch -------------------------------------------------------------------------------------------------------

    def fetch(self, target: Target, request: FetchRequest) -> None:
        """Restores into `destination`, which is made (0700) where it does not exist and must be empty.

        The root of what is fetched gives `destination` its mode and owner. Owners stay the numbers they were; only
        root restores them. Raises ArchiveError, UnsafePathError, SpaceError, TargetError, EngineError; whatever was
        restored before it went wrong stays in `destination`.
        """
        cache = self._cache(target)
        sets, chain = self._choose(target, cache, request.time)
        key = chain[-1].key
        destination = request.destination
        destination.mkdir(mode=0o700, parents=True, exist_ok=True)
        if next(destination.iterdir(), None) is not None:
            raise UsageError(f"{destination} is not empty", "Choose an empty directory to restore to.")
        largest = max(file.size for each in chain for file in each.volumes.values())
        volume_size = max(1, -(-largest // (1 << 20)))
        with workspace(self._temp) as place:
            archive = Cache(place.path / "archive", target.address)
            archive.create()
            archive.fill_for_restore(sets, cache)
            for each in chain:
                self._have_manifest(target, each, archive, request.secret, place)

            def build(line: CommandLine) -> list[str]:
                restore = line.restore(
                    time=int(key.end.timestamp()), path=request.path, destination=destination, own=os.geteuid() == 0
                )
                writable = [destination, *place.writable]
                return launcher([word for path in writable for word in ("--writable", str(path))], restore)

            job = Job(
                program=self.program,
                target=target,
                workspace=place,
                archive_dir=archive.root,
                name=archive.name,
                secret=request.secret,
                volume_size=volume_size,
                destination=destination,
            )
            account, failure = run_duplicity(job, build, DownloadProgress(request.progress).take)
        if failure is not None:
            raise failures.reading(failure)
        if account.unread:
            count = len(account.unread) + account.more_unread
            raise failures.partly(target, destination, account.unread, count)

    def _choose(self, target: Target, cache: Cache, when: datetime | None) -> tuple[list[FileSet], list[FileSet]]:
        """All complete sessions, and the chain up to the one that holds the state wanted."""
        found = survey(target.files(), cache)
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
        sets = [*found.complete, *found.undecided]
        for chain in link(sets):
            keys = [each.key for each in chain]
            if key in keys:
                return sets, chain[: keys.index(key) + 1]
        raise failures.damaged(target, key, ["a session it builds on is missing or damaged"])

    def _have_manifest(self, target: Target, found: FileSet, cache: Cache, secret: str, place: Workspace) -> None:
        """Sees to it that the cache has a session's manifest, and that the target has all that it names."""
        assert found.manifest is not None
        manifest = cache.manifest(found.key)
        if manifest is None:
            with target.read(found.manifest.name) as content:
                text = read_file(found.manifest.name, content, secret, place)
            manifest = parse_manifest(text) if isinstance(text, bytes) else None
            if manifest is None or not isinstance(text, bytes):
                why = text if isinstance(text, Unreadable) else Unreadable.DAMAGED
                raise failures.unreadable(target, found.manifest.name, why)
            cache.put_manifest(found.manifest, text)
        problems = found.problems(manifest.count)
        if problems:
            raise failures.damaged(target, found.key, problems)

    # --- prune -------------------------------------------------------------------------------------------------------

    def prune(self, target: Target, keep_full: int) -> Sequence[Session]:
        """Deletes whole chains, oldest first, until `keep_full` (1 or more) are left."""
        if keep_full < 1:
            raise UsageError(f"keep-full {keep_full} would delete every backup", "Keep 1 or more.")
        cache = self._cache(target)
        cache.create()
        cache.check_unused()
        found = survey(target.files(), cache)
        gone = [each for chain in found.chains[:-keep_full] for each in chain]
        for each in gone:
            target.delete([file.name for file in reversed(each.files)])
            del found.sets[each.key]
        if gone:
            cache.keep_only(found.sets.values())
            kept = {file.name for each in found.sets.values() for file in each.files}
            cache.note_sizes({name: size for name, size in cache.sizes().items() if name in kept})
        return [each.session() for each in gone]


def _is(key: SessionKey, session: Session) -> bool:
    return key.kind == session.kind and key.end == session.time
