"""The profile of a Debian or Ubuntu system, derived from its package manager: read it from `derive_profile` down."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tklbam_core.api import Progress, atomic_write, silent
from tklbam_core.api.profiles import (
    ATTRIBUTES,
    CONF,
    INDEX,
    Entry,
    IndexWriter,
    PathRules,
    ProfileAttributesWriter,
    ScanReport,
    Told,
    Walk,
    entry_of,
    open_regular,
    sort_key,
    write_packages,
)

from .alternatives import alternative_links, choice_paths
from .base import base_packages
from .certificates import certificate_files
from .enabled import apache_links, nginx_links, php_links
from .expected import Expectations, Expected
from .made import apparmor_places, login_shells, made_files, table, ucf_files, ucf_sums
from .packaged import overridden, read_packaged
from .pam import pam_files
from .services import rc_links, unit_links
from .system import System

_CHUNK = 1 << 18
_GLOB = re.compile(rb"[*?[]")
DIGEST_BYTES = 16  # as an index has them (docs/formats/dirindex.md)


@dataclass(slots=True)
class Derived:
    """What was derived: `packages` installed, `base` of them listed as the system's own, `entries` in the index,
    `absent` of them not on disk; `unclean` lines of packages' checksums that could not be used."""

    packages: int = 0
    base: int = 0
    entries: int = 0
    absent: int = 0
    unclean: int = 0
    report: ScanReport = field(default_factory=ScanReport)


def derive_profile(root: Path, conf: bytes, out: Path, progress: Progress = silent) -> Derived:
    """Writes dirindex.conf, dirindex, attributes and packages of the system under `root` into the directory `out`.

    Raises FormatError where dpkg's status is damaged.
    """
    derived = Derived()
    rules = PathRules.from_text(conf, CONF).resolve(root)
    expected, set_apart = expectations(root, rules, derived), overridden(root)
    walk = Walk(root, rules, skip=(), report=derived.report)
    told = Told(progress)
    with IndexWriter(out / INDEX) as index, ProfileAttributesWriter(out / ATTRIBUTES, root) as attributes:
        for entry in _with_absent(_pristine(walk, expected, set_apart), _absent(walk, expected)):
            index.add(entry)
            if entry.ctime is None:
                derived.absent += 1
            else:
                attributes.add(entry.path)
            told(derived.report.entries, entry.path)
        derived.entries = index.entries
    with atomic_write(out / CONF) as file:
        file.write(conf)
    base = base_packages(root)
    write_packages(out, base)
    derived.base = len(base)
    return derived


def expectations(root: Path, rules: PathRules, derived: Derived) -> Expectations:
    """What every path below the scanned ones would be if nobody had changed it."""
    rows = table()
    bare = System(root)
    ucf = ucf_sums(bare)
    packaged = read_packaged(
        root,
        _covered(rules),
        templates=[row.template for row in rows if row.template],
        sums=ucf.values(),
        choices=choice_paths(bare),
    )
    derived.packages, derived.unclean = packaged.packages, packaged.unclean
    system = packaged.system(root)
    expected = Expectations()
    expected.add(packaged.states)
    expected.add(made_files(system, rows))
    expected.add(ucf_files(ucf, frozenset(packaged.sums)))
    for recognise in (
        alternative_links,
        unit_links,
        rc_links,
        apache_links,
        nginx_links,
        php_links,
        pam_files,
        certificate_files,
        login_shells,
        apparmor_places,
    ):
        expected.add(recognise(system))
    return expected


def _covered(rules: PathRules) -> Callable[[bytes], bool]:
    """Most packaged paths are outside of all scanned ones: those are told by their beginnings, which is faster."""
    beginnings = tuple(_GLOB.split(rule.path)[0] for rule in rules.rules if rule.include)

    def covered(path: bytes) -> bool:
        return path.startswith(beginnings) and rules.includes(path)

    return covered


def _pristine(walk: Walk, expected: Expectations, set_apart: frozenset[bytes]) -> Iterator[Entry]:
    """The entries of the walk that are what they would be."""
    for path, status, _ in walk:
        states = expected.of(path)
        if not states:
            continue
        try:
            entry = _judged(walk.place(path), path, status, states)
        except FileNotFoundError:
            walk.report.vanished += 1
            continue
        except OSError as error:
            walk.report.problem(path, error)
            continue
        if entry is not None:
            yield _without_override(entry) if path in set_apart else entry


def _judged(place: bytes, path: bytes, status: os.stat_result, states: tuple[Expected, ...]) -> Entry | None:
    """The entry of a path that is in one of its pristine states, else None. Raises OSError."""
    if stat.S_ISDIR(status.st_mode):
        return entry_of(path, status, None) if any(state.kind == "directory" for state in states) else None
    if stat.S_ISLNK(status.st_mode):
        target = os.readlink(place)
        known = any(state.kind == "link" and state.value == target for state in states)
        return entry_of(path, status, target) if known else None
    if stat.S_ISREG(status.st_mode) and any(state.kind == "file" for state in states):
        status, md5, digest = _read(place)
        if any(state.kind == "file" and state.value == md5 for state in states):
            return entry_of(path, status, None)._replace(digest=digest)
    return None


def _read(place: bytes) -> tuple[os.stat_result, bytes, str]:
    """A regular file's status, and its MD5 and digest from one read. Raises OSError."""
    md5, digest = hashlib.md5(usedforsecurity=False), hashlib.blake2b(digest_size=DIGEST_BYTES)
    with open(open_regular(place), "rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        while chunk := file.read(_CHUNK):
            md5.update(chunk)
            digest.update(chunk)
    return status, md5.hexdigest().encode(), digest.hexdigest()


def _without_override(entry: Entry) -> Entry:
    """The entry with the owner and mode that packages give: so what was set with dpkg-statoverride is stored, for by
    whom it was set dpkg does not say."""
    executable = stat.S_ISDIR(entry.mode) or entry.mode & 0o111
    return entry._replace(mode=stat.S_IFMT(entry.mode) | (0o755 if executable else 0o644), uid=0, gid=0)


def _absent(walk: Walk, expected: Expectations) -> list[Entry]:
    """What should be there and is not, in the index's order; what lies behind a link is not this path's matter."""
    gone = []
    for state in expected.required():
        missing = walk.covers(state.path) and not os.path.lexists(walk.place(state.path))
        if missing and _parents_are_real(walk, state.path):
            kind = stat.S_IFLNK | 0o777 if state.kind == "link" else stat.S_IFREG | 0o644
            gone.append(Entry(state.path, kind, 0, 0, 0, 0, target=state.value if state.kind == "link" else None))
    return sorted(gone, key=lambda entry: sort_key(entry.path))


def _parents_are_real(walk: Walk, path: bytes) -> bool:
    while (path := os.path.dirname(path)) != b"/":
        try:
            if not stat.S_ISDIR(os.lstat(walk.place(path)).st_mode):
                return False
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def _with_absent(entries: Iterator[Entry], absent: list[Entry]) -> Iterator[Entry]:
    """Merges what is gone into what is there, in the index's order."""
    pending = iter(absent)
    missing = next(pending, None)
    for entry in entries:
        while missing is not None and sort_key(missing.path) < sort_key(entry.path):
            yield missing
            missing = next(pending, None)
        if missing is None or missing.path != entry.path:
            yield entry
        else:  # it appeared in this moment
            missing = next(pending, None)
            yield entry
    while missing is not None:
        yield missing
        missing = next(pending, None)
