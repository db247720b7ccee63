"""rclone: a remote of its configuration."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import datetime

from tklbam_core.api import EngineAddress, TargetError

from ..bridge.faults import Entry, Store
from .base import Family, program

_NO_FOLDER, _NO_FILE = 3, 4
"""rclone's exit statuses."""


class Rclone(Family):
    limits_bandwidth = True

    def engine(self) -> EngineAddress:
        if ":" not in self.address.path:
            raise TargetError(f"{self.address.shown} names no remote", "Write it as rclone://REMOTE:folder.")
        return EngineAddress(url=self.address.url(), environment=self.environment)

    @property
    def environment(self) -> dict[str, str]:
        config = self.access.option("rclone-config") or os.environ.get("RCLONE_CONFIG") or self._default()
        limit = self.access.bandwidth
        return {
            "RCLONE_CONFIG": os.path.expanduser(config),
            "RCLONE_CONTIMEOUT": "30s",
            **({"RCLONE_BWLIMIT": f"{limit}K"} if limit else {}),
        }

    @staticmethod
    def _default() -> str:
        base = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        old = os.path.expanduser("~/.rclone.conf")
        return old if os.path.isfile(old) else f"{base}/rclone/rclone.conf"

    def store(self) -> Store:
        self.engine()
        return RcloneStore(self.address.path.lstrip("/"), self.environment)


class RcloneStore(Store):
    def __init__(self, place: str, environment: dict[str, str]) -> None:
        remote, _, folder = place.partition(":")
        # duplicity takes one slash after the colon away.
        folder = folder.removeprefix("/").rstrip("/")
        self._place = f"{remote}:{folder}"
        self._below = f"{self._place}/" if folder else self._place
        self._environment = environment

    def _run(self, *words: str, absent: str = "absent") -> bytes:
        argv = ["rclone", "--retries", "2", "--low-level-retries", "3", "--ask-password=false", *words]
        return program(argv, secrets=self._environment, missing={_NO_FOLDER: absent, _NO_FILE: absent})

    def entries(self) -> list[Entry]:
        found = json.loads(self._run("lsjson", "--files-only", "--no-mimetype", self._place, absent="missing"))
        return [
            Entry(each["Name"], each["Size"], datetime.fromisoformat(each["ModTime"]).timestamp()) for each in found
        ]

    def make(self) -> None:
        self._run("mkdir", self._place)

    def get(self, name: str, path: str) -> None:
        self._run("copyto", f"{self._below}{name}", path)

    def put(self, name: str, path: str) -> None:
        self._run("copyto", "--ignore-times", path, f"{self._below}{name}")

    def delete(self, names: Iterable[str]) -> None:
        there = {entry.name for entry in self.entries()}
        for name in names:
            if name in there:
                self._run("deletefile", f"{self._below}{name}")

    def free(self) -> int | None:
        try:
            free = json.loads(self._run("about", "--json", self._place)).get("free")
        except Exception:  # noqa: BLE001 - many kinds of remotes can't say
            return None
        return int(free) if isinstance(free, int) else None
