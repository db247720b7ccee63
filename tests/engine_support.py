"""What the engine's tests share: a small source tree, a target, and a look at both sides."""

from __future__ import annotations

import os
import random
import shutil
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tklbam_core.engine import workspace
from tklbam_core.engine.cache import Cache
from tklbam_core.engine.duplicity import DuplicityEngine
from tklbam_core.engine.interface import FetchRequest, WriteRequest, WriteResult
from tklbam_storage_local.target import LocalTarget

SECRET = "correct-horse-battery-staple-0123456789abcdef"


def noise(size: int, seed: int) -> bytes:
    """Bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def tree_state(root: Path) -> dict[bytes, tuple[Any, ...]]:
    """Everything a restore must give back, by relative path."""
    found: dict[bytes, tuple[Any, ...]] = {}
    base = os.fsencode(root)
    for place, directories, files in os.walk(base):
        for name in directories + files:
            path = os.path.join(place, name)
            status = os.lstat(path)
            content: Any = None
            if stat.S_ISREG(status.st_mode):
                content = Path(os.fsdecode(path)).read_bytes()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            mtime = None if stat.S_ISLNK(status.st_mode) else int(status.st_mtime)
            mode = None if stat.S_ISLNK(status.st_mode) else status.st_mode
            found[os.path.relpath(path, base)] = (mode, status.st_uid, status.st_gid, mtime, content)
    return found


@dataclass
class Lab:
    """A source with extras, a target directory, an engine with a cache and a temporary directory of its own.

    Without `native` duplicity writes and reads.
    """

    base: Path
    native: bool = True

    def __post_init__(self) -> None:
        for name in ("source/TKLBAM", "source/etc", "temp"):
            (self.base / name).mkdir(parents=True)
        (self.extras / "fsdelta").write_text("#tklbam 2\n")
        self.put("etc/hosts", b"127.0.0.1 localhost\n")

    def copy(self, base: Path) -> Lab:
        """The same, elsewhere; the cache is filed under the address, so it is renamed."""
        shutil.copytree(self.base, base, symlinks=True)
        other = _Existing(base, self.native)
        for path in other.cache.iterdir():
            old, new = Cache(other.cache, self.target.address), Cache(other.cache, other.target.address)
            path.rename(path.with_name(path.name.replace(old.name, new.name)))
        return other

    @property
    def source(self) -> Path:
        return self.base / "source"

    @property
    def extras(self) -> Path:
        return self.source / "TKLBAM"

    @property
    def store(self) -> Path:
        return self.base / "store"

    @property
    def target(self) -> LocalTarget:
        return LocalTarget(f"file://{self.store}", self.store)

    @property
    def cache(self) -> Path:
        return self.base / "cache"

    @property
    def engine(self) -> DuplicityEngine:
        return DuplicityEngine(self.cache, self.base / "temp", native=self.native)

    def put(self, path: str | bytes, content: bytes) -> None:
        place = os.path.join(os.fsencode(self.source), os.fsencode(path))
        os.makedirs(os.path.dirname(place), exist_ok=True)
        with open(place, "wb") as file:
            file.write(content)

    def listed(self) -> list[bytes]:
        """Everything below the source but the extras."""
        base = os.fsencode(self.source)
        paths = []
        for place, directories, files in os.walk(base):
            if place == base:
                directories.remove(b"TKLBAM")
            paths += [os.path.relpath(os.path.join(place, name), base) for name in directories + files]
        return sorted(paths)

    def request(self, paths: Iterable[bytes] | None = None, **changes: Any) -> WriteRequest:
        file_list = self.base / "list"
        file_list.write_bytes(b"".join(path + b"\0" for path in (self.listed() if paths is None else paths)))
        fields: dict[str, Any] = {
            "source": self.source,
            "extras": self.extras,
            "file_list": file_list,
            "full": False,
            "secret": SECRET,
            "volume_size": 1,
        }
        return WriteRequest(**{**fields, **changes})

    def prepare(self, secret: str = SECRET) -> list[str]:
        """What preparing says of this laboratory; what it clears in /tmp may be of other tests, killed halfway."""
        said = self.engine.prepare(self.target, secret)
        elsewhere = str(workspace.SHORT / workspace.PREFIX)
        return [line for line in said if elsewhere not in line]

    def backup(self, paths: Iterable[bytes] | None = None, **changes: Any) -> WriteResult:
        """As a run of `tklbam backup` does it."""
        self.target.check(write=True)
        self.prepare()
        return self.engine.write(self.target, self.request(paths, **changes))

    def restore(self, name: str = "restored", **changes: Any) -> Path:
        destination = self.base / name
        self.engine.fetch(self.target, FetchRequest(destination=destination, **{"secret": SECRET, **changes}))
        return destination

    def sessions(self) -> int:
        return sum(len(chain.sessions) for chain in self.engine.chains(self.target))

    def temporary_files(self) -> list[str]:
        return sorted(os.listdir(self.base / "temp"))


class _Existing(Lab):
    def __post_init__(self) -> None:
        """Everything is there already."""


@pytest.fixture(scope="module")
def two_sessions(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A full session and an increment of three volumes, to copy."""
    lab = Lab(tmp_path_factory.mktemp("two"))
    lab.put("srv/a", noise(500_000, 1))
    lab.backup(full=True)
    lab.put("srv/b", noise(2_500_000, 2))
    lab.backup()
    return lab
