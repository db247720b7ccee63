"""Any back end of duplicity's, by what all of them can: list, size, get, put, delete."""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from typing import Any

from .faults import Entry, Fault, Store
from .stock import duplicity


class OtherStore(Store):
    """Setting: `url`. Back ends make their folder by themselves when they are opened or first written to."""

    def __init__(self, settings: dict[str, Any], options: list[str], timeout: int) -> None:
        package = duplicity(options, timeout)
        package.backend.import_backends()
        self._path = importlib.import_module("duplicity.path").Path
        self._stock = package.backend.get_backend(settings["url"])
        if self._stock is None:
            raise Fault("duplicity has no such back end")

    def entries(self) -> list[Entry]:
        names: list[bytes] = self._stock.list()
        sizes = self._stock.query_info(names)
        entries = []
        for name in names:
            size = sizes[name]["size"]
            if size is None:
                raise Fault("duplicity's back end does not tell the sizes of files")
            if size >= 0:
                entries.append(Entry(os.fsdecode(name), size))
        return entries

    def make(self) -> None:
        self._stock.list()

    def get(self, name: str, path: str) -> None:
        if os.fsencode(name) not in self._stock.list():
            raise Fault(f"no such file: {name}", "absent")
        self._stock.get(os.fsencode(name), self._path(os.fsencode(path)))

    def put(self, name: str, path: str) -> None:
        # Some back ends take the file away.
        with tempfile.TemporaryDirectory() as place:
            copy = os.path.join(place, "file")
            shutil.copyfile(path, copy)
            self._stock.put(self._path(os.fsencode(copy)), os.fsencode(name))

    def delete(self, names: Iterable[str]) -> None:
        there = set(self._stock.list())
        wanted = [os.fsencode(name) for name in names if os.fsencode(name) in there]
        if wanted:
            self._stock.delete(wanted)

    def close(self) -> None:
        self._stock.close()
