"""What packages own, as dpkg recorded it: files with their sums, directories, links; with diversions followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from tklbam_core.api.profiles import (
    Diversion,
    conffiles,
    diversions,
    file_lists,
    inside,
    installed,
    md5sums,
    stat_overrides,
)

from .expected import Expected, directory, file, link
from .system import System

# Recognisers ask about packaged files in these places, which are not scanned themselves.
ASKED = (
    b"/usr/share/ca-certificates/",
    b"/usr/share/debianutils/",
    b"/usr/share/nginx/modules-available/",
    b"/usr/share/pam/",
    b"/usr/share/pam-configs/",
)
MERGED = (b"/usr/bin/", b"/usr/sbin/", b"/usr/lib/")
UNKNOWN = b"unknown"
"""In place of the MD5 of a file whose content dpkg does not know; nothing matches it."""


@dataclass(slots=True)
class Packaged:
    """What a pass over dpkg's records found. `sums` are the MD5s, of those asked about, that some package ships."""

    packages: int = 0
    states: list[Expected] = field(default_factory=list)
    shipped: dict[bytes, bytes] = field(default_factory=dict)
    owned: set[bytes] = field(default_factory=set)
    sums: set[bytes] = field(default_factory=set)
    unclean: int = 0

    def system(self, root: Path) -> System:
        return System(root, self.shipped, frozenset(self.owned))


def read_packaged(
    root: Path,
    covers: Callable[[bytes], bool],
    *,
    templates: Iterable[bytes],
    sums: Iterable[bytes],
    choices: Iterable[bytes],
) -> Packaged:
    """Reads dpkg's records for the paths that `covers` takes, and the few others that recognisers ask about: content of
    `templates`, owners of files with these `sums` (MD5), and of `choices`.

    Memory follows the number of packaged files below the scanned paths (a few thousand), not of all files.
    Raises FormatError for a damaged status file.
    """
    found = Packaged()
    versions = installed(root)
    found.packages = len(versions)
    wanted_paths, wanted_sums = frozenset(templates), frozenset(sums)
    asked = {canonical(path): path for path in choices}
    moved = _Moved(diversions(root))
    left_out = _LeftOut(root)
    files: set[bytes] = set()

    def note(package: str, path: bytes, md5: str | None, required: bool) -> None:
        path = moved.place(package, path)
        value = md5.encode() if md5 else UNKNOWN
        if value in wanted_sums:
            found.sums.add(value)
        if path in wanted_paths or path.startswith(ASKED):
            found.shipped[path] = value
        if covers(path):
            files.add(path)
            found.states.append(file(path, value, required=required and not left_out(path)))

    def unclean(_: Exception) -> None:
        found.unclean += 1

    for package, path, md5 in md5sums(root, unclean):
        note(package, path, md5, required=package in versions)
    for conffile in conffiles(root):
        note(
            conffile.package,
            conffile.path,
            conffile.md5,
            required=conffile.package in versions and not conffile.obsolete,
        )
    others: list[tuple[str, bytes]] = []
    for package, path in file_lists(root):
        path = moved.place(package, path)
        covered = covers(path)
        if covered or path.startswith(ASKED):
            found.owned.add(path)
        if (choice := asked.get(canonical(path))) is not None:
            found.owned.add(choice)
        if covered and path not in files:
            others.append((package, path))
    found.states += _directories_and_links(root, others)
    return found


def _directories_and_links(root: Path, others: list[tuple[str, bytes]]) -> Iterator[Expected]:
    """dpkg records no more than the names of these: what is there tells what they are.

    A link was shipped as it is only if it is no younger than the files it came with: dpkg gives links the time they
    have in the package. So a packaged directory or link that the administrator replaced by a link shows.
    """
    base = os.fsencode(root).rstrip(b"/")
    links: list[tuple[str, bytes, int]] = []
    for package, path in others:
        try:
            status = os.lstat(base + path)
        except OSError:  # a missing one is no change: it may have been a directory
            continue
        if stat.S_ISDIR(status.st_mode):
            yield directory(path)
        elif stat.S_ISLNK(status.st_mode):
            links.append((package, path, int(status.st_mtime)))
    newest = _newest(root, {package for package, _, _ in links}) if links else {}
    for package, path, mtime in links:
        if mtime <= newest.get(package, 0):
            yield link(path, os.readlink(base + path))


def _newest(root: Path, packages: set[str]) -> dict[str, int]:
    """Package → the newest mtime of its files below /usr, where there is nothing an administrator would edit."""
    base = os.fsencode(root).rstrip(b"/")
    newest: dict[str, int] = {}
    for package, path in file_lists(root):
        if package in packages and path.startswith(b"/usr/"):
            try:
                status = os.lstat(base + path)
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode):
                newest[package] = max(newest.get(package, 0), int(status.st_mtime))
    return newest


class _Moved:
    """Where a package's file lies, diversions heeded."""

    def __init__(self, known: Iterable[Diversion]) -> None:
        self._known = {diversion.original: diversion for diversion in known}

    def place(self, package: str, path: bytes) -> bytes:
        diversion = self._known.get(path)
        if diversion is None or diversion.package == package.partition(":")[0]:
            return path
        return diversion.moved_to


class _LeftOut:
    """What dpkg was told not to unpack (`path-exclude`, `path-include`), as minimal images do with documentation.

    The last pattern that matches wins, and `*` covers `/` (source: dpkg(1)).
    """

    def __init__(self, root: Path) -> None:
        self._rules: list[tuple[bool, str]] = []
        configuration = inside(root, "etc/dpkg")
        for path in [configuration / "dpkg.cfg", *sorted(configuration.glob("dpkg.cfg.d/*"))]:
            if path.is_file():
                for line in path.read_text("utf-8", "surrogateescape").split("\n"):
                    name, _, pattern = line.strip().replace("=", " ", 1).partition(" ")
                    if name in ("path-exclude", "path-include"):
                        self._rules.append((name == "path-exclude", pattern.strip().strip("'\"")))

    def __call__(self, path: bytes) -> bool:
        verdict = False
        if self._rules:
            name = os.fsdecode(path)
            for excluded, pattern in self._rules:
                if fnmatchcase(name, pattern):
                    verdict = excluded
        return verdict


def overridden(root: Path) -> frozenset[bytes]:
    """The paths whose owner and mode were set with dpkg-statoverride."""
    return frozenset(override.path for override in stat_overrides(root))


def canonical(path: bytes) -> bytes:
    """One name for `/bin/x` and `/usr/bin/x`, which are the same since /usr was merged."""
    return path.removeprefix(b"/usr") if path.startswith(MERGED) else path
