"""Ownership, modes, attributes and deletions of a delta, applied below a root; or printed as shell lines instead.

What each kind of line means is in docs/formats/fsdelta.md; the placing of files is `place.py`'s.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .carry import CarryReader
from .coherent import USER_DATABASES, coherent, makes
from .metadata import IdMaps, Metadata, apply_metadata
from .model import Change
from .putback import everything
from .report import ApplyReport
from .safepath import Place, SafeRoot, components

_MISSING = (FileNotFoundError, NotADirectoryError)


def fix_stats(
    delta: Iterable[Change],
    root: Path,
    *,
    maps: IdMaps | None = None,
    takes: Callable[[bytes], bool] = everything,
    carry: CarryReader | None = None,
) -> ApplyReport:
    """Gives the `s` and `o` paths of `delta` that `takes` wants their owners, and the `s` paths their modes.

    A missing directory is made; one that is a link to a directory here stays so. A path that is not here, or is of
    another type here, is skipped. Attributes follow where `carry` has them; for the `a` paths they alone do.
    Raises SpaceError, UnsafePathError.
    """
    ids = maps or IdMaps()
    report = ApplyReport()
    with SafeRoot(root) as target:
        for change in coherent(delta):
            if change.kind == "d" or not takes(change.path) or change.path in USER_DATABASES:
                continue
            try:
                found = _find(target, change)
                if found is None or found.make:
                    place = _make_directory(target, change.path, report) if found is not None else None
                else:
                    place = found.place
                if place is None:
                    report.skipped += 1
                    continue
                wanted = _wanted(change, place, ids, carry)
                report.add_problems(change.path, apply_metadata(place, wanted, insist=False))
                report.done += 1
            except OSError as error:
                report.failed(change.path, error)
    return report


def delete(delta: Iterable[Change], root: Path, *, takes: Callable[[bytes], bool] = everything) -> ApplyReport:
    """Removes the `d` paths of `delta` that `takes` wants; directories last, and only those that are then empty.

    What is gone already is skipped, and so is a directory that holds something else. The user databases stay.
    Raises UnsafePathError.
    """
    report = ApplyReport()
    directories: list[bytes] = []
    with SafeRoot(root) as target:
        for change in coherent(delta):
            if change.kind != "d" or not takes(change.path) or change.path in USER_DATABASES:
                continue
            try:
                place = target.at(change.path)
                status = place.lstat()
                if status is None:
                    report.skipped += 1
                elif stat.S_ISDIR(status.st_mode):
                    directories.append(change.path)
                else:
                    os.unlink(place.name, dir_fd=place.fd)
                    report.done += 1
                    if stat.S_ISLNK(status.st_mode):
                        target.forget()
            except _MISSING:
                report.skipped += 1
            except OSError as error:
                report.failed(change.path, error)
        for path in reversed(directories):
            _delete_directory(target, path, report)
    return report


def _delete_directory(target: SafeRoot, path: bytes, report: ApplyReport) -> None:
    target.forget()
    try:
        place = target.at(path)
        if place.inside().names():
            report.skipped += 1
            return
        os.rmdir(place.name, dir_fd=place.fd)
        report.done += 1
    except OSError as error:
        report.failed(path, error)


def simulate_fix_stats(
    delta: Iterable[Change],
    root: Path,
    *,
    maps: IdMaps | None = None,
    takes: Callable[[bytes], bool] = everything,
    shown: Callable[[bytes], bytes] | None = None,
) -> Iterator[str]:
    """What `fix_stats` would do, as shell lines, only where something would change.

    Names of users and groups are those of the root's own passwd and group. Paths have the root in front, so that the
    lines could be run, or are as `shown` says.
    """
    ids = maps or IdMaps()
    users, groups = (_names(root / "etc" / name) for name in ("passwd", "group"))
    with SafeRoot(root) as target:
        for change in coherent(delta):
            if change.kind not in ("s", "o") or not takes(change.path) or change.path in USER_DATABASES:
                continue
            found = _find(target, change)
            if found is None:
                continue
            word = quote((shown or target.host_path)(change.path))
            uid, gid = ids.uid(change.uid), ids.gid(change.gid)
            if found.make:
                yield f"mkdir -p {word}"
            status = None if found.make else found.place.lstat()
            if status is None or (status.st_uid, status.st_gid) != (uid, gid):
                yield f"chown -h {users.get(uid, uid)}:{groups.get(gid, gid)} {word}"
            if change.kind == "s" and (status is None or _mode_differs(change, status)):
                yield f"chmod {stat.S_IMODE(change.mode):04o} {word}"


def simulate_delete(
    delta: Iterable[Change],
    root: Path,
    *,
    takes: Callable[[bytes], bool] = everything,
    shown: Callable[[bytes], bytes] | None = None,
) -> Iterator[str]:
    """What `delete` would do, as shell lines; a directory's line does nothing where it isn't empty by then."""
    directories = []
    with SafeRoot(root) as target:
        for change in coherent(delta):
            if change.kind != "d" or not takes(change.path) or change.path in USER_DATABASES:
                continue
            try:
                status = target.at(change.path).lstat()
            except _MISSING:
                continue
            if status is not None and stat.S_ISDIR(status.st_mode):
                directories.append(change.path)
            elif status is not None:
                yield f"rm {quote((shown or target.host_path)(change.path))}"
        for path in reversed(directories):
            yield f"rmdir --ignore-fail-on-non-empty {quote((shown or target.host_path)(path))}"


def quote(path: bytes) -> str:
    """A path as a word of a POSIX shell; bytes that are not UTF-8, and control characters, as bash's $'…'."""
    try:
        text = path.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if text.isprintable() and text:
        return shlex.quote(text)
    printable = range(0x20, 0x7F)
    return (
        "$'" + "".join(f"\\{byte:03o}" if byte not in printable or byte in b"\\'" else chr(byte) for byte in path) + "'"
    )


@dataclass(frozen=True, slots=True)
class _Found:
    """Where a change applies; with `make`, a directory is to be made there."""

    place: Place
    make: bool


def _find(root: SafeRoot, change: Change) -> _Found | None:
    """None: the change is none of this system's business, as its path is not here or is something else here."""
    makes_directory = change.kind == "s" and makes(change)
    try:
        place = root.at(change.path)
        status = place.lstat()
    except _MISSING:
        place, status = Place(root.directory(b"/"), b".", change.path), None
    if status is None:
        return _Found(place, make=True) if makes_directory else None
    if change.kind == "o" and stat.S_ISDIR(status.st_mode):
        return None
    if change.kind != "s" or stat.S_IFMT(change.mode) in (0, stat.S_IFMT(status.st_mode)):
        return _Found(place, make=False)
    if makes_directory and not root.leads_to_directory(change.path):
        return _Found(place, make=True)
    return None


def _make_directory(root: SafeRoot, path: bytes, report: ApplyReport) -> Place:
    """Makes a directory, private for now, and those above it; what is in the way goes (it has been saved)."""
    directory = b""
    for name in components(path):
        directory += b"/" + name
        if root.leads_to_directory(directory):
            continue
        place = root.at(directory)
        if place.lstat() is not None:
            os.unlink(place.name, dir_fd=place.fd)
            report.displaced.append(directory)
        os.mkdir(place.name, 0o700 if directory == path else 0o755, dir_fd=place.fd)
        root.forget()
    return root.at(path)


def _wanted(change: Change, place: Place, ids: IdMaps, carry: CarryReader | None) -> Metadata:
    status = os.lstat(place.name, dir_fd=place.fd)
    carried = carry.attributes.get(change.path) if carry is not None else None
    attributes = None if carried is None else ids.attributes(carried)
    if change.kind == "a":
        return Metadata(status.st_mode, status.st_uid, status.st_gid, None, attributes)
    mode = change.mode if change.kind == "s" else status.st_mode
    return Metadata(mode, ids.uid(change.uid), ids.gid(change.gid), None, attributes)


def _mode_differs(change: Change, status: os.stat_result) -> bool:
    return not stat.S_ISLNK(status.st_mode) and stat.S_IMODE(status.st_mode) != stat.S_IMODE(change.mode)


def _names(database: Path) -> Mapping[int, str]:
    """Ids → names, the first of each, of a passwd or group file; none where there is no such file."""
    names: dict[int, str] = {}
    try:
        lines = database.read_bytes().split(b"\n")
    except OSError:
        return names
    for line in lines:
        fields = line.split(b":")
        if len(fields) > 2 and fields[2].isdigit():
            names.setdefault(int(fields[2]), fields[0].decode("utf-8", "replace"))
    return names
