"""The walk over a live file system: what the path rules name, in the order of an index, in memory that stays flat."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from .content import link_target
from .escape import escape
from .model import Entry
from .rules import PathRules, resolve_inside
from .tree import Nodes, components, names_to_visit, step

_MOUNTS = "/proc/self/mountinfo"
_OCTAL = re.compile(rb"\\([0-7]{3})")
_KEPT_PROBLEMS = 100
_SPECIAL = re.compile(rb"[\t\n\r\\]")
_GONE = (errno.ENOENT, errno.ENOTDIR)


class Problem(NamedTuple):
    """A path that could not be read, and why, in a few words."""

    path: bytes
    reason: str


@dataclass(slots=True)
class ScanReport:
    """What a scan met. Anything in `problem_count` makes a backup incomplete.

    `entries`: paths taken. `problems`: the first of the paths that could not be read, `problem_count` all of them.
    `vanished`: paths that went away while they were looked at, which is normal. `skipped_mounts`: other file systems
    that no rule names. `unchecked`: regular files that `checksum` could not compare, for the index has no digest.
    """

    entries: int = 0
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0
    vanished: int = 0
    skipped_mounts: list[bytes] = field(default_factory=list)
    unchecked: int = 0

    def problem(self, path: bytes, error: OSError) -> None:
        self.problem_count += 1
        if len(self.problems) < _KEPT_PROBLEMS:
            self.problems.append(Problem(path, error.strerror or str(error)))


class _Directory(NamedTuple):
    """A directory being walked: the names still to come, and what holds for all of them.

    `prefix` is its place on disk, with a slash; `listed`: the names are what was there, not what rules name; `plain`:
    no path in it needs escapes; `nodes`: the rules that lead here; `taken`: their verdict; `device`: where to stay.
    """

    names: Iterator[bytes]
    prefix: bytes
    listed: bool
    plain: bool
    nodes: Nodes
    taken: bool
    device: int


Found = tuple[bytes, os.stat_result, bytes]


class Walk:
    """One walk over the system under `root`. Symbolic links are never followed, sockets are passed over.

    It stays on the file systems of the named includes: mounts and subvolumes below are left out unless a rule names
    them. `skip` are absolute paths of the system that are never scanned. Links among the parents of named paths must
    be resolved before (`PathRules.resolve`).
    """

    def __init__(self, root: Path, rules: PathRules, *, skip: Collection[bytes], report: ScanReport) -> None:
        self.base = os.fsencode(root).rstrip(b"/")
        self.report = report
        self._has_includes = rules.has_includes
        self._tree = rules.tree()
        self._blind: set[bytes] = set()
        for path in _with_real_paths(self.base, skip):
            self._tree.bar(path)
        for path in _mounts_below(self.base):
            self._tree.mount(path)

    def covers(self, path: bytes) -> bool:
        """Whether this walk, so far, would have met `path` if it were there."""
        if not self._has_includes or not self._tree.covers(path):
            return False
        if self._blind:
            while path != b"/":
                if path in self._blind:
                    return False
                path = path[: path.rindex(b"/")] or b"/"
            return b"/" not in self._blind
        return True

    def blind(self, path: bytes, error: OSError) -> None:
        """Notes that nothing can be said about a path and what lies below it."""
        self.report.problem(path, error)
        self._blind.add(path)

    def place(self, path: bytes) -> bytes:
        """Where an absolute path of the system lies on this machine."""
        return self.base + path

    def __iter__(self) -> Iterator[Found]:
        """Yields (path, its lstat, the path as an index writes it) in the order of an index."""
        if not self._has_includes:
            return
        nodes, verdict = self._tree.start()
        try:
            status = os.stat(self.base or b"/")
        except OSError as error:
            self.blind(b"/", error)
            return
        if verdict.taken:
            self.report.entries += 1
            yield b"/", status, b"/"
        stack = [self._open(self.base, status, nodes, verdict.taken, status.st_dev)]
        lstat, cut = os.lstat, len(self.base)
        while stack:
            directory = stack[-1]
            # What follows runs once a file: what holds for the whole directory is in local names.
            prefix, nodes, device, plain = directory.prefix, directory.nodes, directory.device, directory.plain
            taken, named, below = directory.taken, False, nodes
            count = 0
            for name in directory.names:
                if nodes:
                    below = step(nodes, name)
                    taken, named, mount = self._tree.judge(below, directory.taken)
                    if self._passed_over(prefix[cut:] + name, below, taken, mount):
                        continue
                place = prefix + name
                try:
                    status = lstat(place)
                except OSError as error:
                    if self._lost(directory, place[cut:], error):
                        stack.pop()
                        break
                    continue
                kind = status[0] & 0o170000
                if kind == 0o040000:
                    path = place[cut:]
                    if named:
                        status = _mounted(place, status)
                        device_inside = status[2]
                    elif taken and status[2] != device:
                        taken = False
                        device_inside = status[2]
                        self._tree.mount(path)
                        self.report.skipped_mounts.append(path)
                    else:
                        device_inside = device
                    if taken:
                        count += 1
                        yield path, status, path if plain else escape(path)
                    if taken or any(node.leads for node in below):
                        stack.append(self._open(place, status, below, taken, device_inside))
                        break
                    taken = directory.taken
                elif taken and kind != 0o140000:
                    count += 1
                    path = place[cut:] if cut else place
                    yield path, status, path if plain else escape(path)
            else:
                stack.pop()
            self.report.entries += count

    def _passed_over(self, path: bytes, nodes: Nodes, taken: bool, mount: bool) -> bool:
        """Whether the rules alone say that nothing at a path or below it matters, so that it isn't even looked at."""
        if any(node.barred for node in nodes):
            return True
        if mount:
            self.report.skipped_mounts.append(path)
        return not taken and not any(node.leads for node in nodes)

    def _lost(self, directory: _Directory, path: bytes, error: OSError) -> bool:
        """Takes note of a path that could not be looked at; true where that goes for its whole directory."""
        if error.errno in _GONE:
            self.report.vanished += directory.listed
            return False
        if error.errno == errno.EACCES:
            self.blind(path[: path.rindex(b"/")] or b"/", error)
            return True
        self.blind(path, error)
        return False

    def _open(self, place: bytes, status: os.stat_result, nodes: Nodes, taken: bool, device: int) -> _Directory:
        names = None if taken else names_to_visit(nodes)
        listed = names is None
        if names is None:
            try:
                names = os.listdir(place or b"/")
                # A link put here since `status` was taken would have been followed.
                if not os.path.samestat(status, os.stat(place or b"/", follow_symlinks=place == self.base)):
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            except OSError as error:
                names = []
                if error.errno in _GONE:
                    self.report.vanished += 1
                else:
                    self.blind(place[len(self.base) :] or b"/", error)
            names.sort()
        plain = not _SPECIAL.search(place[len(self.base) :]) and not _SPECIAL.search(b"/".join(names))
        return _Directory(iter(names), place + b"/", listed, plain, nodes, taken, device)


def scan(
    root: Path, rules: PathRules, *, skip: Collection[bytes] = (), report: ScanReport | None = None
) -> Iterator[Entry]:
    """What the rules name below `root`, in the order of an index; `report` is filled while this runs."""
    walk = Walk(root, rules.resolve(root), skip=skip, report=ScanReport() if report is None else report)
    for path, status, _ in walk:
        target = None
        if stat.S_ISLNK(status.st_mode):
            try:
                target = link_target(walk.place(path))
            except FileNotFoundError:
                walk.report.vanished += 1
                continue
            except OSError as error:
                walk.report.problem(path, error)
        yield entry_of(path, status, target)


def entry_of(path: bytes, status: os.stat_result, target: bytes | None) -> Entry:
    return Entry(
        path,
        status.st_mode,
        status.st_uid,
        status.st_gid,
        status.st_size,
        int(status[stat.ST_MTIME]),
        status.st_ctime_ns,
        None,
        target,
    )


def _with_real_paths(base: bytes, skip: Collection[bytes]) -> Iterator[bytes]:
    for path in skip:
        names = components(path)
        yield b"/" + b"/".join(names)
        real = resolve_inside(base, names)
        if real is not None:
            yield b"/" + b"/".join(real)


def _mounted(place: bytes, status: os.stat_result) -> os.stat_result:
    """A named directory's status once an automounter, which lstat does not wake, has put there what belongs there."""
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return status
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _mounts_below(base: bytes) -> Iterator[bytes]:
    """The mount points below a directory. Where the kernel's list can't be read, device numbers must do."""
    top = os.path.realpath(base or b"/").rstrip(b"/") + b"/"
    try:
        with open(_MOUNTS, "rb") as file:
            for line in file:
                point = _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), line.split(b" ")[4])
                if point.startswith(top) and point != top:
                    yield point[len(top) - 1 :]
    except OSError:
        return
