"""The local cache of one address: duplicity's archive directory, and the sizes noted when sessions were stored.

Nothing in it is precious: all of it can be had again from the target.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ..api.errors import LockedError
from ..api.files import atomic_write
from ..api.models import StoredFile
from .archive import FileSet, SessionKey, file_name, parse_name
from .manifest import Manifest, parse_manifest

LOCK = "lockfile"
_PART = ".part"
VOID = 0
"""Noted as the size of a manifest whose session was never good."""


class Cache:
    """What is known here about the target at `address`. `root` holds the caches of all addresses."""

    def __init__(self, root: Path, address: str) -> None:
        self.root = root
        self.name = hashlib.sha256(address.rstrip("/").encode()).hexdigest()[:32]
        self.directory = root / self.name
        self._sizes = root / f"{self.name}.sizes.json"

    def create(self) -> None:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory.mkdir(mode=0o700, exist_ok=True)
        os.chmod(self.directory, 0o700)

    def check_unused(self) -> None:
        """Raises LockedError where a living duplicity holds the lock; the kernel drops the lock of a dead one."""
        try:
            descriptor = os.open(self.directory / LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise self._in_use() from error
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds duplicity's lock for the block. Raises LockedError where another run has it."""
        descriptor = os.open(self.directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise self._in_use() from error
            yield
        finally:
            os.close(descriptor)

    def _in_use(self) -> LockedError:
        return LockedError(
            f"another run is using the same target and the cache {self.directory}", "Wait until it has ended."
        )

    @contextlib.contextmanager
    def unfinished_file(self, name: str) -> Iterator[Path]:
        """An empty file for what will be the cached form of the target's file `name`, under a name that says that it
        is not finished. It is removed at the end of the block unless `finish_file` was called."""
        path = self.directory / _unfinished(_local_name(name))
        path.touch(mode=0o600)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def finish_file(self, path: Path) -> None:
        """Gives a file of `unfinished_file` its name."""
        path.rename(path.with_name(path.name.replace(_PART, "")))

    def signatures_path(self, key: SessionKey) -> Path:
        """Where the signatures of a session are, if they are here."""
        return self.directory / _local_name(file_name(key, "signatures"))

    def _names(self) -> list[str]:
        try:
            return sorted(os.listdir(self.directory))
        except FileNotFoundError:
            return []

    def manifest(self, key: SessionKey) -> Manifest | None:
        """The cached manifest of a session, None where there is none that is whole."""
        found = self._manifest(key)
        return found[2] if found is not None else None

    def manifest_text(self, key: SessionKey) -> tuple[str, bytes] | None:
        """The name and text of a session's cached manifest, where it is whole."""
        found = self._manifest(key)
        return found[:2] if found is not None else None

    def _manifest(self, key: SessionKey) -> tuple[str, bytes, Manifest] | None:
        name = _local_name(file_name(key, "manifest"))
        try:
            text = (self.directory / name).read_bytes()
        except FileNotFoundError:
            return None
        manifest = parse_manifest(text)
        return (name, text, manifest) if manifest is not None else None

    def unfinished(self) -> set[SessionKey]:
        """Sessions of which duplicity's working files are still here: it did not come to the end of them."""
        parsed = [parse_name(name) for name in self._names()]
        return {name.key for name in parsed if name is not None and name.partial}

    def put_manifest(self, file: StoredFile, text: bytes) -> None:
        """Keeps a manifest fetched from the target under the name duplicity looks for."""
        with atomic_write(self.directory / _local_name(file.name)) as out:
            out.write(text)

    def keep_only(self, sets: Iterable[FileSet]) -> list[str]:
        """Removes all that is not the finished manifest or signatures of one of these sessions; returns the names."""
        by_key = {found.key: found for found in sets}
        removed = []
        for name in self._names():
            parsed = parse_name(name)
            if name == LOCK:
                continue
            if parsed and parsed.key in by_key and not parsed.partial:
                if parsed.role == "manifest" and _is_plain(name) and self.manifest_text(parsed.key):
                    continue
                if parsed.role == "signatures" and name.endswith(".gz") and by_key[parsed.key].signatures:
                    continue
            path = self.directory / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
            removed.append(name)
        return removed

    def sizes(self) -> dict[str, int]:
        """Bytes of each file as noted right after it was stored. Empty where nothing was noted."""
        try:
            noted = json.loads(self._sizes.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        if not isinstance(noted, dict):
            return {}
        return {str(name): size for name, size in noted.items() if isinstance(size, int)}

    def note_sizes(self, sizes: Mapping[str, int]) -> None:
        """Replaces what was noted."""
        with atomic_write(self._sizes) as out:
            out.write(json.dumps(dict(sorted(sizes.items())), indent=0).encode())

    def note_void(self, found: FileSet) -> None:
        """Notes that a session was never good: for a target from which nothing can be removed."""
        if found.manifest is not None:
            self.note_sizes({**self.sizes(), found.manifest.name: VOID})

    def holds(self, sets: Iterable[FileSet]) -> bool:
        """Whether manifest and signatures of all these sessions are here, so that an increment needs none fetched."""
        names = set(self._names())
        return all(
            found.signatures is not None
            and _local_name(found.signatures.name) in names
            and self.manifest(found.key) is not None
            for found in sets
        )

    @contextlib.contextmanager
    def shadows(self, sets: Iterable[FileSet]) -> Iterator[None]:
        """For the block, an empty file stands for each manifest and signature of these sessions that is not here, so
        that duplicity does not try to fetch and decrypt what may be half a file."""
        made = []
        for file in (file for found in sets for file in (found.manifest, found.signatures) if file is not None):
            place = self.directory / _local_name(file.name)
            if not place.exists():
                place.write_bytes(b"")
                made.append(place)
        try:
            yield
        finally:
            for place in made:
                place.unlink(missing_ok=True)

    def fill_for_restore(self, sets: Iterable[FileSet], others: Iterable[FileSet], known: Cache) -> None:
        """Fills this cache, a new one, for a restore: the manifests that `known` has, and an empty file for each of
        the signatures, which a restore needs by name only, so that they are not downloaded. Of the `others`, which
        are not whole, nothing is needed."""
        for file in (file for each in others for file in (each.manifest, each.signatures) if file is not None):
            (self.directory / _local_name(file.name)).write_bytes(b"")
        for found in sets:
            text = known.manifest_text(found.key)
            if text is not None:
                (self.directory / text[0]).write_bytes(text[1])
            if found.signatures is not None:
                (self.directory / _local_name(found.signatures.name)).write_bytes(b"")


def _local_name(name: str) -> str:
    """The name that a manifest or signature file of the target has in duplicity's cache."""
    stem = name.removesuffix(".gpg").removesuffix(".gz")
    return f"{stem}.gz" if stem.endswith(".sigtar") else stem


def _unfinished(name: str) -> str:
    stem = name.removesuffix(".gz")
    return f"{stem}{_PART}{name[len(stem) :]}"


def _is_plain(name: str) -> bool:
    return not name.endswith((".gpg", ".gz"))


def sync_tree(directory: Path, names: Iterable[str]) -> None:
    """Makes these files of a directory, and their names, survive a loss of power."""
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(directory / name, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
