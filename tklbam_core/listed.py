"""A target within one run, which alone changes it: what was listed is known until something is stored or deleted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO

from .api.models import EngineAddress, StoredFile
from .api.storage import Target
from .engine.wrapped import WrappedTarget


class ListedTarget(WrappedTarget):
    """Asks for the names and sizes there once, and again after it may have become others."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._listed: tuple[StoredFile, ...] | None = None

    def files(self) -> Iterator[StoredFile]:
        if self._listed is None:
            self._listed = tuple(self.target.files())
        yield from self._listed

    def engine(self) -> EngineAddress:
        self._listed = None  # duplicity writes and deletes behind our back
        return self.target.engine()

    def write(self, name: str, content: BinaryIO) -> None:
        self._listed = None
        self.target.write(name, content)

    def delete(self, names: Iterable[str]) -> None:
        self._listed = None
        self.target.delete(names)
