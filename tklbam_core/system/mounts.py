"""What is mounted on this machine, and what ought to be: by fstab, systemd's mount units and autofs's maps."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_OCTAL = re.compile(r"\\([0-7]{3})")
_UNITS = ("etc/systemd/system", "run/systemd/system", "run/systemd/generator")
"""Where units stand that somebody here made; those that come with packages are not for backups."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A file system in its place: `point` is a path without links."""

    point: Path
    kind: str
    source: str


@dataclass(frozen=True, slots=True)
class Declared:
    """A place where something ought to be mounted, and the file that says so."""

    point: Path
    file: str


def mounted(table: Path = Path("/proc/self/mountinfo")) -> list[Mount]:
    """Everything that is mounted as this process sees it, in the order it was."""
    mounts = []
    for line in os.fsdecode(table.read_bytes()).split("\n"):
        before, dash, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if dash and len(fields) > 4 and len(rest) > 1:
            mounts.append(Mount(Path(_unescape(fields[4])), rest[0], _unescape(rest[1])))
    return mounts


def holding(path: Path, mounts: Iterable[Mount]) -> Mount | None:
    """The file system that a path, without links, lies on; of several in one place the last one covers the others."""
    best: Mount | None = None
    for mount in mounts:
        if path.is_relative_to(mount.point) and (best is None or mount.point.is_relative_to(best.point)):
            best = mount
    return best


def declared(system: Path = Path("/")) -> Iterator[Declared]:
    """Every place where something ought to be mounted; a file that can't be read says nothing."""
    yield from _from_fstab(system)
    yield from _from_units(system)
    yield from _from_autofs(system)


def _from_fstab(system: Path) -> Iterator[Declared]:
    for fields in _lines(system / "etc/fstab"):
        if len(fields) >= 3 and fields[1].startswith("/") and fields[2] not in ("swap", "ignore"):
            yield Declared(Path(os.path.normpath(_unescape(fields[1]))), "/etc/fstab")


def _from_units(system: Path) -> Iterator[Declared]:
    masked: set[str] = set()
    for folder in _UNITS:
        for unit in _listed(system / folder, ".mount"):
            if unit.name in masked:
                continue
            masked.add(unit.name)  # the first one found is the one in force
            where = [
                line.partition("=")[2].strip() for line in _text(unit) if line.partition("=")[0].strip() == "Where"
            ]
            if where and where[-1].startswith("/"):
                yield Declared(Path(os.path.normpath(where[-1])), f"/{folder}/{unit.name}")


def _from_autofs(system: Path) -> Iterator[Declared]:
    masters = [system / "etc/auto.master", *_listed(system / "etc/auto.master.d", ".autofs")]
    for master in masters:
        for fields in _lines(master):
            if len(fields) < 2 or fields[0].startswith("+"):
                continue
            if fields[0].startswith("/") and fields[0] != "/-":
                yield Declared(Path(os.path.normpath(fields[0])), f"/{master.relative_to(system)}")
            elif fields[0] == "/-":
                name = fields[1].rpartition(":")[2]
                direct = system / (name.lstrip("/") if name.startswith("/") else f"etc/{name}")
                if os.access(direct, os.X_OK):  # a program, which only autofs may ask
                    continue
                for keys in _lines(direct):
                    if keys[0].startswith("/"):
                        yield Declared(Path(os.path.normpath(keys[0])), f"/{direct.relative_to(system)}")


def _listed(folder: Path, suffix: str) -> list[Path]:
    with contextlib.suppress(OSError):
        return sorted(path for path in folder.iterdir() if path.name.endswith(suffix))
    return []


def _text(path: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return os.fsdecode(path.read_bytes()).split("\n")
    return []


def _lines(path: Path) -> Iterator[list[str]]:
    for line in _text(path):
        fields = line.split()
        if fields and not fields[0].startswith("#"):
            yield fields


def _unescape(text: str) -> str:
    return os.fsdecode(_OCTAL.sub(lambda match: os.fsdecode(bytes([int(match[1], 8)])), text))
