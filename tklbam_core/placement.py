"""A target in a directory of this machine must lie where it is meant to, and not on the disk below its mount point.

What is meant is said by fstab, systemd's mount units and autofs's maps; and by where the target lay at the last backup,
which the registry remembers, for disks that are mounted by hand.
"""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .api import start
from .api.errors import TargetError
from .api.storage import Target
from .context import Context
from .system.mounts import Declared, Mount, declared, holding, mounted

PATIENCE = 120.0
"""Seconds that a share may take to answer, unless configured."""


def refuse_unmounted(target: Target, context: Context) -> None:
    """Raises TargetError where the target's disk or share is not mounted. Targets elsewhere always pass."""
    place = target.local_path()
    if place is not None:
        before = context.registry.targets.read(target.address).mount
        # An automounter has its own time limits, and should come to the end of them.
        seconds = 2 * float(context.storage_options.get("network-timeout", PATIENCE / 2))
        prove_mounted(place, target.address, before, patience=seconds)


def remember_place(target: Target, context: Context) -> None:
    """Notes on which file system the target lies, for `refuse_unmounted` to compare with."""
    place = target.local_path()
    if place is None:
        return
    known = context.registry.targets.read(target.address)
    held = holding(_real(place), mounted())
    if held is not None and str(held.point) != known.mount:
        context.registry.targets.write(replace(known, mount=str(held.point)))


def accept(target: Target, context: Context) -> None:
    """Forgets where the target lay before: it is meant to lie where it does now."""
    known = context.registry.targets.read(target.address)
    if known.mount:
        context.registry.targets.write(replace(known, mount=""))


def prove_mounted(
    place: Path, address: str, before: str = "", system: Path = Path("/"), patience: float = PATIENCE
) -> Mount | None:
    """The file system that `place` lies on. `before` is the mount point of the one it lay on earlier; `system` is where
    fstab and the like are read; `patience` is how many seconds a share may take to answer. Raises TargetError."""
    if not _answers(place, patience):
        raise TargetError(
            f"{address}: {place} did not answer within {patience:.0f} s",
            "See whether the server of that share is up; unmount it (umount -l) and mount it again.",
        )
    real, mounts = _real(place), mounted()
    held = holding(real, mounts)
    if held is None:
        return None
    if held.kind == "autofs":
        raise TargetError(
            f"{address}: the automounter did not mount what belongs at {held.point} or below",
            f"See why: ls {place}; journalctl -u autofs. Then try again.",
        )
    missing = _unmounted(real, mounts, held, system)
    if missing is not None:
        raise TargetError(
            f"{address}: nothing is mounted at {missing.point}, where {missing.file} wants a file system; "
            f"the target would lie on that of {held.point}",
            f"Mount it (mount {missing.point}), then try again.",
        )
    if before and _lay_elsewhere(Path(before), held.point):
        raise TargetError(
            f"{address}: it lay on a file system mounted at {before}, and now it lies on that of {held.point}",
            f"Mount what belongs at {before}. If the target is meant to lie where it is now: "
            f"tklbam check --accept-place --address {address}",
        )
    return held


def _unmounted(real: Path, mounts: Sequence[Mount], held: Mount, system: Path) -> Declared | None:
    """The nearest place at or above the target that ought to be a mount point and is not."""
    points = {mount.point for mount in mounts}
    nearest: tuple[Path, Declared] | None = None
    for each in declared(system):
        # What is mounted is written without links; resolving it again might wait for a dead share's server.
        point = each.point if each.point in points else _real(each.point)
        if real.is_relative_to(point) and (nearest is None or len(point.parts) > len(nearest[0].parts)):
            nearest = point, each
    if nearest is None or held.point.is_relative_to(nearest[0]):
        return None
    return nearest[1]


def _lay_elsewhere(before: Path, now: Path) -> bool:
    """Whether the file system at `now` is the one that shows where nothing is mounted at `before` any more."""
    return before != now and (now == Path("/") or before.is_relative_to(now))


def _answers(place: Path, seconds: float) -> bool:
    """Whether the file system there says anything: a share whose server is gone may keep whoever asks waiting for ever.

    Asking makes an automounter mount it.
    """
    # A process with a session of its own: one that waits in the kernel may not even be killed, and is left behind
    # without anybody waiting for it. Its time ends well after this one's, for its end would be taken for an answer.
    limit = f"{seconds + 60:.0f}"
    words = ["setsid", "--fork", "timeout", "--signal=KILL", limit, "stat", "--file-system", "--format=%t", "--"]
    with start([*words, place], stdout=subprocess.PIPE) as asking:
        readable, _, _ = select.select([asking.stdout], [], [], seconds)
        # It says something, or comes to its end, where the path does not exist yet.
        return bool(readable)


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
