"""Where things lie on the system that is backed up or restored: every path of ours, under a given root."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Host:
    """The system under `root`: `/` for the machine this runs on, else a container's or image's file system.

    `TKLBAM_CONF`, `TKLBAM_REGISTRY` and `TKLBAM_HOOKS` (read by `from_environment`) move the configuration, the
    registry and the hooks, whatever the root.
    """

    root: Path
    conf_dir: Path
    registry_dir: Path
    hooks_dir: Path

    @classmethod
    def from_environment(cls, root: Path | str | None = None) -> Host:
        """The root comes from the argument, else `TKLBAM_ROOT`, else it is `/`."""
        base = Path(os.path.realpath(root or os.environ.get("TKLBAM_ROOT") or "/"))

        def place(variable: str, default: Path) -> Path:
            return Path(os.path.abspath(os.environ[variable])) if os.environ.get(variable) else default

        conf = place("TKLBAM_CONF", base / "etc/tklbam")
        return cls(
            root=base,
            conf_dir=conf,
            registry_dir=place("TKLBAM_REGISTRY", base / "var/lib/tklbam"),
            hooks_dir=place("TKLBAM_HOOKS", conf / "hooks.d"),
        )

    @property
    def is_live(self) -> bool:
        """Whether this is the running system itself."""
        return self.root == Path("/")

    def path(self, absolute: str | Path) -> Path:
        """The place of an absolute path of the system, under the root (not resolved)."""
        return self.root / str(absolute).lstrip("/")

    def system_paths(self, places: Iterable[Path]) -> tuple[bytes, ...]:
        """Those of `places` that lie below the root, as absolute paths of the system."""
        return tuple(b"/" + bytes(place.relative_to(self.root)) for place in places if place.is_relative_to(self.root))

    @property
    def extras_dir(self) -> Path:
        return self.root / "TKLBAM"

    @property
    def rollback_dir(self) -> Path:
        return self.path("/var/backups/tklbam-rollback")

    @property
    def restore_cache_dir(self) -> Path:
        return self.path("/var/cache/tklbam/restore")

    def log_file(self, operation: str) -> Path:
        """`operation` is "backup" or "restore"."""
        return self.path(f"/var/log/tklbam-{operation}")
