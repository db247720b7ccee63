"""The extras: `/TKLBAM`, a backup's metadata and dumps beside the changed files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .api.errors import FormatError, TklbamError
from .api.files import atomic_write
from .host import Host

CONF = "backup-conf"
KNOWN = {CONF, "fsdelta", "fsdelta-olist", "newpkgs", "etc", "myfs", "pgfs", "attributes", "hardlinks", "sparse"}
V1_ENGINES = {"myfs": "tklbam-mysql", "pgfs": "tklbam-postgres"}

ExtrasIndex = dict[str, tuple[str, int]]
"""Path within the extras → (SHA-256 of its content, mtime in whole seconds)."""

NEWEST = "."
"""In an index: with the latest mtime that any file was ever given, and no digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupConf:
    """`backup-conf`: what a backup was made of. `format` is 1 for classic backups.

    `databases` maps an engine's directory to the distribution whose plugin wrote it; `size` and `files` are the
    footprint of the overlay (bytes), 0 where not known.
    """

    profile_id: str
    overrides: tuple[str, ...] = ()
    skip_files: bool = False
    skip_packages: bool = False
    skip_database: bool = False
    format: int = 2
    version: str = ""
    host: Mapping[str, str] = field(default_factory=dict)
    databases: Mapping[str, str] = field(default_factory=dict)
    files: int = 0
    size: int = 0

    def write(self, extras: Path) -> None:
        content = {name: getattr(self, name) for name in self.__slots__}
        with atomic_write(extras / CONF) as file:
            file.write(json.dumps(content, indent=1, sort_keys=True, default=dict).encode() + b"\n")

    @classmethod
    def read(cls, extras: Path) -> BackupConf:
        """Raises FormatError when the file is not what a backup holds."""
        path = extras / CONF
        try:
            content: Any = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise FormatError(
                path,
                None,
                "this is not a TKLBAM backup: it has no TKLBAM/backup-conf",
                "Check the address or directory.",
            ) from None
        except ValueError as error:
            raise FormatError(path, None, f"not JSON: {error}") from error
        from pydantic import TypeAdapter, ValidationError

        if isinstance(content, dict):
            content = {name: value for name, value in content.items() if name in cls.__slots__ and value is not None}
            content.setdefault("format", 1)
        try:
            conf = TypeAdapter(cls).validate_python(content)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise FormatError(path, None, f"{place}: {first['msg']}") from error
        if conf.format > 2:
            raise FormatError(
                path,
                None,
                f"the backup has format {conf.format}, newer than this program reads",
                "Install a newer tklbam-core.",
            )
        return conf


@contextlib.contextmanager
def make_extras(host: Host, moved_to: Path | None, *, keep: bool) -> Iterator[Path]:
    """An empty extras directory, mode 0700; gone when the block ends, however it ends, unless `keep`.

    `moved_to` (the `extras-dir` option) is a directory with more room; the extras then lie in `moved_to`/TKLBAM.
    What a run that was killed left behind is removed first. Raises TklbamError when something else lies there.
    """
    place = (moved_to / "TKLBAM") if moved_to else host.extras_dir
    _clear(place)
    try:
        place.mkdir(mode=0o700, parents=moved_to is not None)
        if moved_to is not None and not host.extras_dir.exists():
            host.extras_dir.mkdir(mode=0o700)
    except OSError as error:
        raise TklbamError(
            f"can't create {error.filename}: {error.strerror}",
            "Run as root, or name a directory with `extras-dir` in the configuration.",
        ) from error
    try:
        yield place
    finally:
        if not keep:
            shutil.rmtree(place, ignore_errors=True)
            if moved_to is not None:
                with contextlib.suppress(OSError):
                    host.extras_dir.rmdir()


def _clear(place: Path) -> None:
    try:
        names = set(os.listdir(place))
    except FileNotFoundError:
        return
    except NotADirectoryError:
        names = {place.name}
    # A run that was killed at once leaves nothing, or the beginnings of a first file under a name of ours.
    ours = bool(names & KNOWN) or all(name.startswith(".") for name in names)
    if place.is_symlink() or not place.is_dir() or not ours:
        raise TklbamError(f"{place} exists and is not a leftover of a backup", "Move it away, then try again.")
    shutil.rmtree(place)


def settle_times(extras: Path, known: ExtrasIndex) -> ExtrasIndex:
    """Gives every file of the extras whose content is as it was the mtime it had, so that its delta is nothing.

    A file with other content gets a later mtime than it ever had, even when the clock stands still or runs backwards:
    size and mtime are all that the archive engine looks at, and a target that missed some sessions compares with an
    older one. So the index, which is returned, is to be remembered before any target gets these files, and keeps under
    `NEWEST` the latest time that was given to any file. Directories get a fixed time: they hold nothing that changes.
    """
    settled: ExtrasIndex = {}
    newest = max((mtime for _, mtime in known.values()), default=0)
    given = newest
    for path in sorted(extras.rglob("*"), reverse=True):
        name = os.fsencode(path.relative_to(extras)).decode("utf-8", "surrogateescape")
        if path.is_symlink():
            continue
        if path.is_dir():
            os.utime(path, (0, 0))
            continue
        if not path.is_file():
            continue
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        old_digest, old_mtime = known.get(name, ("", 0))
        mtime = old_mtime if old_digest == digest else max(int(path.stat().st_mtime), newest + 1)
        os.utime(path, (mtime, mtime))
        settled[name] = (digest, mtime)
        given = max(given, mtime)
    os.utime(extras, (0, 0))
    settled[NEWEST] = ("0" * 64, given)
    return settled


def extras_digest(index: ExtrasIndex) -> str:
    """What a session record keeps of the extras' content (docs/formats/session-record.md): SHA-256, hexadecimal."""
    whole = hashlib.sha256()
    for name in sorted(set(index) - {NEWEST}):
        plain = name.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
        whole.update(f"{index[name][0]}\t{plain}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


def content_of(extras: Path) -> ExtrasIndex:
    """The index of extras as they lie there, with the times they have."""
    index: ExtrasIndex = {}
    for path in extras.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            name = os.fsencode(path.relative_to(extras)).decode("utf-8", "surrogateescape")
            index[name] = (digest, int(path.stat().st_mtime))
    return index


def footprint(extras: Path) -> tuple[int, int]:
    """(files, bytes) of the extras."""
    files = size = 0
    for path in extras.rglob("*"):
        if path.is_file() and not path.is_symlink():
            files += 1
            size += path.stat().st_size
    return files, size


def unowned_dumps(extras: Path, conf: BackupConf, installed: Collection[str]) -> list[tuple[str, str]]:
    """(directory, distribution) of the database dumps for which none of the `installed` distributions is there."""
    owners = {**V1_ENGINES, **conf.databases}
    return [
        (directory, distribution)
        for directory, distribution in sorted(owners.items())
        if (extras / directory).is_dir() and distribution not in installed
    ]
