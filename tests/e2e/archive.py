"""What the tests read of a target: the times of its sessions."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path


def session_times(address: str) -> list[datetime]:
    """When the sessions on a local target were made, oldest first, from the names of their manifests."""
    names = [path.name for path in Path(address.removeprefix("file://")).glob("*.manifest.gpg")]
    stamps = [name.removesuffix(".manifest.gpg").rsplit(".", 1)[1] for name in names]
    return sorted(datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) for stamp in stamps)
