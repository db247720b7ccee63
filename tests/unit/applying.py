"""A system, a staged overlay and a delta to apply, as tests make them by hand."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.unit.small_disks import tmpfs
from tklbam_core.delta.apply import delete, fix_stats
from tklbam_core.delta.carry import CarryReader, CarryWriter
from tklbam_core.delta.escape import sort_key
from tklbam_core.delta.metadata import IdMaps
from tklbam_core.delta.model import Change
from tklbam_core.delta.place import Overlay, place_overlay
from tklbam_core.delta.report import ApplyReport
from tklbam_core.delta.saved import SavedFiles

OLD_TIME = 1_000_000_000_123_456_789


def everything(path: bytes) -> bool:
    return True


def in_full(*paths: bytes) -> list[Change]:
    """Changes for which everything about these paths is saved."""
    return [Change("o", path) for path in paths]


@dataclass
class Bench:
    """`old` is the system backed up, of which `staging` and `extras` are made; `root` the one restored onto."""

    base: Path
    changes: list[Change] = field(default_factory=list)
    maps: IdMaps = field(default_factory=IdMaps)
    takes: Callable[[bytes], bool] = everything

    def __post_init__(self) -> None:
        for directory in (self.old, self.root, self.staging, self.extras):
            directory.mkdir(parents=True, exist_ok=True)

    @property
    def old(self) -> Path:
        return self.base / "old"

    @property
    def root(self) -> Path:
        return self.base / "root"

    @property
    def staging(self) -> Path:
        return self.base / "staging"

    @property
    def extras(self) -> Path:
        return self.base / "extras"

    @property
    def area(self) -> Path:
        return self.base / "area"

    def put(self, path: str | bytes, content: bytes = b"new", mode: int = 0o644, uid: int = 0, gid: int = 0) -> Path:
        """A file of the overlay, with parents."""
        full = self._parents(path)
        with open(full, "wb") as file:
            file.write(content)
        os.chown(full, uid, gid)
        os.chmod(full, mode)
        os.utime(full, ns=(OLD_TIME, OLD_TIME))
        self.note(path)
        return Path(os.fsdecode(full))

    def link(self, path: str | bytes, target: str | bytes) -> None:
        full = self._parents(path)
        os.symlink(os.fsencode(target), full)
        self.note(path)

    def note(self, path: str | bytes) -> None:
        """Into the overlay, as it is in `old`."""
        name = os.fsencode(path)
        status = os.lstat(os.fsencode(self.old) + name)
        self.changes.append(Change("o", name, status.st_uid, status.st_gid, status.st_mode))

    def stat(self, path: str | bytes, mode: int, uid: int = 0, gid: int = 0) -> None:
        self.changes.append(Change("s", os.fsencode(path), uid, gid, mode))

    def gone(self, path: str | bytes) -> None:
        self.changes.append(Change("d", os.fsencode(path)))

    def _parents(self, path: str | bytes) -> bytes:
        full = os.fsencode(self.old) + os.fsencode(path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        return full

    def delta(self) -> list[Change]:
        return sorted(self.changes, key=lambda change: sort_key(change.path))

    def ship(self) -> None:
        """What the archive does: carries into the extras, and stages what it can, without what it can't."""
        with CarryWriter(self.extras, self.old) as writer:
            listed = [change.path for change in self.delta() if not writer.add(change) and change.kind == "o"]
        assert writer.problems == []
        for path in listed:
            self._stage(path)

    def _stage(self, path: bytes) -> None:
        source, target = os.fsencode(self.old) + path, os.fsencode(self.staging) + path
        if not os.path.lexists(source):
            return
        self._stage_parents(path)
        status = os.lstat(source)
        if stat.S_ISREG(status.st_mode):
            with open(source, "rb") as reader, open(target, "wb") as writer:
                writer.write(reader.read())
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(source), target)
        else:
            os.mknod(target, status.st_mode, status.st_rdev)
        os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            os.chmod(target, stat.S_IMODE(status.st_mode))
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)

    def _stage_parents(self, path: bytes) -> None:
        parent = os.path.dirname(path)
        if parent == b"/" or os.path.lexists(os.fsencode(self.staging) + parent):
            return
        self._stage_parents(parent)
        status = os.lstat(os.fsencode(self.old) + parent)
        target = os.fsencode(self.staging) + parent
        os.mkdir(target)
        os.chown(target, status.st_uid, status.st_gid)
        os.chmod(target, stat.S_IMODE(status.st_mode))

    def save(self, area: Path | None = None) -> SavedFiles:
        saved = SavedFiles(area or self.area, self.root)
        saved.save(change for change in self.delta() if self.takes(change.path))
        return saved

    def place(self, saved: SavedFiles | None = None, *, owned: bool = True) -> ApplyReport:
        return place_overlay(
            Overlay(staging=self.staging, carry=CarryReader(self.extras), owned=owned),
            self.root,
            self.delta(),
            maps=self.maps,
            takes=self.takes,
            saved=saved,
        )

    def apply(self, saved: SavedFiles | None = None, *, owned: bool = True) -> list[ApplyReport]:
        """All that a restore does with files."""
        carry = CarryReader(self.extras)
        return [
            self.place(saved, owned=owned),
            fix_stats(self.delta(), self.root, maps=self.maps, takes=self.takes, carry=carry),
            delete(self.delta(), self.root, takes=self.takes),
        ]


@pytest.fixture(params=["same file system", "another"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """The root beside staging tree and rollback area, and on another file system: renames and links, and copies."""
    if request.param == "same file system":
        yield Bench(tmp_path)
        return
    with tmpfs(tmp_path / "root", "64m"):
        yield Bench(tmp_path)
