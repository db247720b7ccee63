"""Another machine than the one that stored the sessions, which reaches them by a network that can be made to break."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine_support import SECRET, Lab, noise, tree_state
from tests.http_target import HttpTarget, http_target
from tklbam_core.engine.duplicity import DuplicityEngine
from tklbam_core.engine.interface import FetchRequest
from tklbam_core.engine.patience import Patience
from tklbam_core.engine.restore_cache import RestoreCache


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A full session of several volumes and an increment, written to a directory."""
    lab = Lab(tmp_path_factory.mktemp("stored"))
    lab.put("srv/a", noise(3_500_000, 1))
    (lab.extras / "newpkgs").write_text("nano\n")
    lab.backup(full=True)
    lab.put("srv/b", noise(300_000, 2))
    lab.backup()
    return lab


class Away:
    """Another machine, which knows nothing of the sessions but the secret; `slept` is how long its runs waited."""

    def __init__(self, base: Path, target: HttpTarget, source: Path) -> None:
        self.base = base
        self.target = target
        self.source = source
        self.slept: list[float] = []
        self.share = 100
        self.kept_at = base / "kept"
        (base / "temp").mkdir()

    @property
    def kept(self) -> Path:
        return self.kept_at

    @property
    def patience(self) -> Patience:
        return Patience(retries=3, sleep=self.slept.append)

    @property
    def engine(self) -> DuplicityEngine:
        kept = RestoreCache(self.kept, lambda free: free * self.share // 100)
        return DuplicityEngine(self.base / "cache", self.base / "temp", kept=kept, patience=self.patience)

    def restore(self, name: str = "restored", path: str | None = None, **changes: object) -> Path:
        destination = self.base / name
        shutil.rmtree(destination, ignore_errors=True)
        request = FetchRequest(destination=destination, path=path, secret=SECRET, **changes)  # type: ignore[arg-type]
        self.engine.fetch(self.target, request)
        return destination

    def volumes_sent(self) -> int:
        """Bytes of volumes that went over the network."""
        return sum(count for name, count in self.target.trouble.sent.items() if ".difftar." in name)

    def kept_files(self) -> list[Path]:
        return sorted(path for path in self.kept.glob("*/*") if path.is_file())

    def whole(self) -> bool:
        return tree_state(self.restore()) == tree_state(self.source)


@pytest.fixture
def away(tmp_path: Path, stored: Lab) -> Iterator[Away]:
    shutil.copytree(stored.store, tmp_path / "store")
    with http_target(tmp_path / "store") as target:
        yield Away(tmp_path, target, stored.source)


def size_of(away: Away, kind: str = ".difftar.") -> int:
    return sum(path.stat().st_size for path in away.target.directory.iterdir() if kind in path.name)
