"""A target around another one: what it does not change is the inner one's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from ..api.errors import TklbamError
from ..api.models import EngineAddress, StoredFile
from ..api.storage import Target


class WrappedTarget(Target):
    """Passes every call on to `target`."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.address = target.address
        self.keeps_everything = target.keeps_everything
        self.parallel_writes = target.parallel_writes

    def engine(self) -> EngineAddress:
        return self.target.engine()

    def check(self, *, write: bool) -> None:
        self.target.check(write=write)
        self.keeps_everything = self.target.keeps_everything  # which a check may have found out

    def files(self) -> Iterator[StoredFile]:
        return self.target.files()

    def delete(self, names: Iterable[str]) -> None:
        self.target.delete(names)

    def read(self, name: str) -> BinaryIO:
        return self.target.read(name)

    def read_from(self, name: str, offset: int) -> BinaryIO:
        return self.target.read_from(name, offset)

    def write(self, name: str, content: BinaryIO) -> None:
        self.target.write(name, content)

    def free_bytes(self) -> int | None:
        return self.target.free_bytes()

    def clock(self) -> datetime | None:
        return self.target.clock()

    def local_path(self) -> Path | None:
        return self.target.local_path()

    def cautions(self) -> Sequence[str]:
        return self.target.cautions()

    def explain(self, said: str) -> TklbamError | None:
        return self.target.explain(said)
