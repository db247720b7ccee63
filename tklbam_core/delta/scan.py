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
_KEPT_OPEN = 100
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

    `path` ends with a slash; `listed`: the names are what was there, not what rules name; `plain`: no path in it needs
    escapes; `nodes`: the rules that lead here; `taken`: their verdict; `device`: where to stay; `descriptor`: the open
    directory, None deep down, where paths are looked up from the root.
    """

    names: Iterator[bytes]
    path: bytes
    listed: bool
    plain: bool
    nodes: Nodes
    taken: bool
    device: int
    descriptor: int | None

    def close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)


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
        stack = [self._open(b"/", status, nodes, verdict.taken, status.st_dev, keep=True)]
        try:
            yield from self._walk(stack)
        finally:
            for directory in stack:
                directory.close()

    def _walk(self, stack: list[_Directory]) -> Iterator[Found]:
        stat_ = os.stat
        while stack:
            directory = stack[-1]
            # What follows runs once a file: what holds for the whole directory is in local names.
            prefix, nodes, device, plain = directory.path, directory.nodes, directory.device, directory.plain
            taken, named, below = directory.taken, False, nodes
            descriptor, count = directory.descriptor, 0
            for name in directory.names:
                path = prefix + name
                if nodes:
                    below = step(nodes, name)
                    taken, named, mount = self._tree.judge(below, directory.taken)
                    if self._passed_over(path, below, taken, mount):
                        continue
                try:
                    if descriptor is None:
                        status = stat_(self.base + path, follow_symlinks=False)
                    else:  # faster than by path
                        status = stat_(name, dir_fd=descriptor, follow_symlinks=False)
                except OSError as error:
                    if self._lost(directory, path, error):
                        stack.pop().close()
                        break
                    continue
                kind = status[0] & 0o170000
                if kind == 0o040000:
                    if named:
                        status = _mounted(self.base + path, status)
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
                        keep = len(stack) < _KEPT_OPEN
                        stack.append(self._open(path + b"/", status, below, taken, device_inside, keep=keep))
                        break
                    taken = directory.taken
                elif taken and kind != 0o140000:
                    count += 1
                    yield path, status, path if plain else escape(path)
            else:
                stack.pop().close()
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

    def _open(
        self, path: bytes, status: os.stat_result, nodes: Nodes, taken: bool, device: int, *, keep: bool
    ) -> _Directory:
        place = self.base + path
        names = None if taken else names_to_visit(nodes)
        listed = names is None
        descriptor = None
        try:
            if names is None:
                names = os.listdir(place)
                names.sort()
            descriptor = self._descriptor(place, status)
        except OSError as error:
            names = []
            if error.errno in _GONE:
                self.report.vanished += 1
            else:
                self.blind(path[:-1] or b"/", error)
        if descriptor is not None and not keep:
            os.close(descriptor)
            descriptor = None
        plain = not _SPECIAL.search(path) and not _SPECIAL.search(b"/".join(names))
        return _Directory(iter(names), path, listed, plain, nodes, taken, device, descriptor)

    def _descriptor(self, place: bytes, status: os.stat_result) -> int:
        """Opens a directory. Raises FileNotFoundError where it is not the one that had `status`, but a link, say."""
        descriptor = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if os.path.samestat(status, os.fstat(descriptor)):
            return descriptor
        os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


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
