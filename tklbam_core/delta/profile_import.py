"""Profiles that come from elsewhere, a directory or an archive: checked, brought into version 2, taken over whole."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from ..api.errors import FormatError, ProfileError, UnsafePathError
from ..api.files import atomic_write
from ..system.packages import read_package_list
from .attributes import ProfileAttributes
from .dirindex import import_index
from .profile import ATTRIBUTES, CONF, HOOKS, INDEX, PACKAGES, STAMP, stamped, write_identity, write_packages
from .rules import PathRules

MOST_MEMBERS = 10_000
MOST_BYTES = 2 << 30
MOST_HEADERS = 1 << 20
"""Bytes of extended headers in an archive, together."""
_REMEDY = "Name a directory or an archive that holds a profile."
_FILES = frozenset({CONF, INDEX, PACKAGES, ATTRIBUTES, "profile_id", STAMP})


def adopt_profile(source: Path, destination: Path, profile_id: str, *, timestamp: datetime | None = None) -> datetime:
    """Copies the profile in `source` into the existing directory `destination`, as `profile_id`; returns its time.

    The time is `timestamp`, else that of the stamp, else that of the index or the packages. An index of either version
    is read through and written in version 2. Raises ProfileError that names the file and what is wrong with it.
    """
    has_files, has_packages = (source / CONF).is_file(), (source / PACKAGES).is_file()
    if not has_files and not has_packages:
        raise ProfileError(f"{source} is no profile: it has neither {CONF} nor {PACKAGES}", _REMEDY)
    if has_files and not (source / INDEX).is_file():
        raise ProfileError(f"{source} is no profile: it has no {INDEX}", _REMEDY)
    try:
        if has_files:
            _adopt_index(source, destination)
        if has_packages:
            write_packages(destination, read_package_list(source / PACKAGES))
    except (FormatError, UnsafePathError) as error:
        raise ProfileError(f"the profile can't be used: {error.what}", error.remedy) from error
    _copy_hooks(source / HOOKS, destination / HOOKS)
    if timestamp is None:
        timestamp = stamped(source) if (source / STAMP).exists() else _mtime(source)
    write_identity(destination, profile_id, timestamp)
    return timestamp.replace(microsecond=0)


def _adopt_index(source: Path, destination: Path) -> None:
    if not PathRules.from_file(source / CONF).has_includes:
        raise ProfileError(f"{source / CONF} names no path to scan", "Write the paths to scan into it, one a line.")
    import_index(source / INDEX, destination / INDEX)
    _copy(source / CONF, destination / CONF, 0o600)
    if (source / ATTRIBUTES).exists():
        ProfileAttributes(source / ATTRIBUTES, Path("/"))  # reads it through
        _copy(source / ATTRIBUTES, destination / ATTRIBUTES, 0o600)


def adopt_archive(
    archive: BinaryIO, name: str, destination: Path, profile_id: str, *, timestamp: datetime | None = None
) -> datetime:
    """Unpacks a profile archive (.tar.gz) and takes the profile over, as `adopt_profile` does; `name` is for messages.

    Nothing is written outside `destination` whatever the archive says. Raises ProfileError for an archive that is
    damaged, that is too large, or that holds what no profile holds.
    """
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=destination) as scratch:
        unpacked = Path(scratch)
        try:
            for member, content in _members(archive):
                _unpack(member, content, unpacked)
        except _Refused as error:
            raise ProfileError(
                f"{name} is not taken as a profile archive: {error}", "Get the archive again from a source you trust."
            ) from error
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, RecursionError, ValueError) as error:
            raise ProfileError(f"{name} is damaged: {error}", "Get the archive again.") from error
        try:
            return adopt_profile(unpacked, destination, profile_id, timestamp=timestamp)
        except ProfileError as error:
            raise ProfileError(f"{name}: {error.what.replace(f'{unpacked}/', '')}", error.remedy) from error


class _Refused(Exception):
    """An archive holds what no profile archive may hold."""


class _Bounded(io.RawIOBase):
    """A stream that refuses to give more than a number of bytes, so that a small archive can't fill the disk."""

    def __init__(self, stream: BinaryIO | gzip.GzipFile, most: int) -> None:
        self._stream = stream
        self._left = most

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(min(size, self._left + 1) if size >= 0 else self._left + 1)
        self._left -= len(data)
        if self._left < 0:
            raise _Refused(f"unpacked it has more than {MOST_BYTES >> 30} GiB")
        return data


class _Member(tarfile.TarInfo):
    """A member that refuses headers which `tarfile` would read into memory whole, however long they say they are."""

    _LONG = frozenset(
        {
            tarfile.XHDTYPE,
            tarfile.XGLTYPE,
            tarfile.SOLARIS_XHDTYPE,
            tarfile.GNUTYPE_LONGNAME,
            tarfile.GNUTYPE_LONGLINK,
            tarfile.GNUTYPE_SPARSE,
        }
    )

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        # The documented place to override how a kind of member is read (see the comment in tarfile's source).
        if self.type in self._LONG:
            read = getattr(tar, "extended_headers", 0) + self.size
            if read > MOST_HEADERS:
                raise _Refused("it has more than 1 MiB of extended headers")
            setattr(tar, "extended_headers", read)  # noqa: B010 - a type has no room for what only we count
        return super()._proc_member(tar)  # type: ignore[misc,no-any-return]


def _members(archive: BinaryIO) -> Iterator[tuple[tarfile.TarInfo, BinaryIO]]:
    seen = set()
    with gzip.GzipFile(fileobj=archive) as plain:
        with tarfile.open(fileobj=_Bounded(plain, MOST_BYTES), mode="r|", tarinfo=_Member) as tar:
            for count, member in enumerate(tar, 1):
                if count > MOST_MEMBERS:
                    raise _Refused(f"it has more than {MOST_MEMBERS} members")
                member.name = _checked_name(member.name)
                if not member.isfile() and not member.isdir():
                    raise _Refused(f"{member.name!r} is neither a file nor a directory")
                if member.isfile():
                    if member.name in seen:
                        raise _Refused(f"{member.name!r} occurs twice")
                    seen.add(member.name)
                    content = tar.extractfile(member)
                    assert content is not None, "it is a regular file"
                    yield member, content  # type: ignore[misc]


def _checked_name(name: str) -> str:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise _Refused(f"the name {name!r} leads out of it")
    return "/".join(parts)


def _unpack(member: tarfile.TarInfo, content: BinaryIO, directory: Path) -> None:
    place = directory / member.name
    if member.name not in _FILES:
        if place.parent != directory / HOOKS:
            return
        place.parent.mkdir(exist_ok=True)
    with open(place, "xb") as file:
        shutil.copyfileobj(content, file)
    place.chmod(0o700 if member.mode & 0o100 else 0o600)
    os.utime(place, (member.mtime, member.mtime))


def _copy(source: Path, destination: Path, mode: int) -> None:
    with open(source, "rb") as content, atomic_write(destination, mode) as file:
        shutil.copyfileobj(content, file)


def _copy_hooks(source: Path, destination: Path) -> None:
    if not source.is_dir():
        return
    destination.mkdir(mode=0o700)
    for path in sorted(source.iterdir()):
        if path.is_file():
            _copy(path, destination / path.name, 0o700 if path.stat().st_mode & 0o100 else 0o600)


def _mtime(source: Path) -> datetime:
    file = source / (INDEX if (source / INDEX).exists() else PACKAGES)
    return datetime.fromtimestamp(int(file.stat().st_mtime), UTC)
