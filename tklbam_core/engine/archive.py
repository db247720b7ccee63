"""The names duplicity gives its files on a target, and what they say about sessions and chains. Pure: no I/O.

The names are specified in docs/formats/archive.md. A session has a full or incremental *set* of files: volumes,
a manifest (written last) and signatures.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from ..api.models import StoredFile
from .interface import Chain, Kind, Session

Role = Literal["volume", "manifest", "signatures", "statistics"]

_TIME = r"\d{8}T\d{6}Z"
_FORMAT = "%Y%m%dT%H%M%SZ"
_NAME = re.compile(
    rf"duplicity-(?P<word>full|inc|new)(?P<signatures>-signatures)?\.(?:(?P<start>{_TIME})\.to\.)?(?P<end>{_TIME})"
    r"\.(?:vol(?P<volume>[1-9]\d*)\.difftar|(?P<manifest>manifest)|(?P<sigtar>sigtar)|(?P<jsonstat>jsonstat))"
    r"(?P<part>\.part)?(?:\.(?:gpg|gz))?"
)


@dataclass(frozen=True, slots=True, order=True)
class SessionKey:
    """What makes files belong together: the time of the session and, for an increment, of the one it builds on."""

    end: datetime
    start: datetime | None

    @property
    def kind(self) -> Kind:
        return "full" if self.start is None else "incremental"


@dataclass(frozen=True, slots=True)
class ArchiveName:
    """A parsed name. `partial` marks what duplicity is still writing (in its cache only)."""

    key: SessionKey
    role: Role
    volume: int | None = None
    partial: bool = False


def parse_time(text: str) -> datetime:
    """`20261125T030000Z` → an aware datetime. Raises ValueError."""
    return datetime.strptime(text, _FORMAT).replace(tzinfo=UTC)


def parse_name(name: str) -> ArchiveName | None:
    """None for a name that is not duplicity's."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    role: Role
    if match["sigtar"] and match["signatures"]:
        role = "signatures"
    elif match["signatures"] or match["sigtar"] or match["word"] == "new":
        return None
    elif match["volume"]:
        role = "volume"
    else:
        role = "manifest" if match["manifest"] else "statistics"
    if (match["word"] == "full") != (match["start"] is None):
        return None
    try:
        start = parse_time(match["start"]) if match["start"] else None
        key = SessionKey(parse_time(match["end"]), start)
    except ValueError:
        return None
    return ArchiveName(key, role, int(match["volume"]) if match["volume"] else None, match["part"] is not None)


def file_name(key: SessionKey, role: Literal["volume", "manifest", "signatures"], volume: int = 0) -> str:
    """The name of an encrypted file of a session on the target; `parse_name` reads it."""
    times = f"{key.end:{_FORMAT}}" if key.start is None else f"{key.start:{_FORMAT}}.to.{key.end:{_FORMAT}}"
    if role == "signatures":
        return f"duplicity-{'full' if key.start is None else 'new'}-signatures.{times}.sigtar.gpg"
    what = f"vol{volume}.difftar" if role == "volume" else "manifest"
    return f"duplicity-{'full' if key.start is None else 'inc'}.{times}.{what}.gpg"


@dataclass(slots=True)
class FileSet:
    """The files of one session as they lie on a target."""

    key: SessionKey
    volumes: dict[int, StoredFile] = field(default_factory=dict)
    manifest: StoredFile | None = None
    signatures: StoredFile | None = None
    statistics: StoredFile | None = None

    @property
    def files(self) -> list[StoredFile]:
        """Everything, volumes by number, manifest last."""
        volumes = [self.volumes[number] for number in sorted(self.volumes)]
        return volumes + [file for file in (self.signatures, self.statistics, self.manifest) if file is not None]

    def problems(self, volumes: int | None = None, sizes: Mapping[str, int] | None = None) -> list[str]:
        """Why this session can't be restored, a line each; nothing when it can, as far as a listing tells.

        `volumes` is how many its manifest names, where that is known; `sizes` are the sizes noted at upload.
        """
        found = []
        if self.manifest is None:
            found.append("the manifest is missing")
        elif self.manifest.size == 0:
            found.append(f"the manifest {self.manifest.name} is empty")
        expected = volumes if volumes is not None else max(self.volumes, default=1)
        missing = [number for number in range(1, expected + 1) if number not in self.volumes]
        if missing:
            found.append(f"volume {', '.join(map(str, missing[:9]))} of {expected} is missing")
        for file in self.volumes.values():
            if file.size == 0:
                found.append(f"{file.name} is empty")
        for file in self.files:
            noted = (sizes or {}).get(file.name)
            if noted == 0 and file is self.manifest:
                found.append("it was never finished")
            elif noted is not None and noted != file.size and file.size:
                found.append(f"{file.name} has {file.size} bytes where {noted} were stored")
        return found

    def session(self) -> Session:
        return Session(
            kind=self.key.kind,
            time=self.key.end,
            size=sum(file.size for file in self.files),
            volumes=len(self.volumes),
        )


def group(files: Iterable[StoredFile]) -> dict[SessionKey, FileSet]:
    """Sorts the files of a target into sessions, oldest first; files that are not duplicity's are left out."""
    sets: dict[SessionKey, FileSet] = {}
    for file in files:
        name = parse_name(file.name)
        if name is None or name.partial:
            continue
        found = sets.setdefault(name.key, FileSet(name.key))
        if name.role == "volume":
            assert name.volume is not None
            found.volumes[name.volume] = file
        elif name.role == "manifest":
            found.manifest = file
        elif name.role == "signatures":
            found.signatures = file
        else:
            found.statistics = file
    return dict(sorted(sets.items(), key=lambda item: (item[0].end, item[0].start is not None)))


def link(sets: Iterable[FileSet]) -> list[list[FileSet]]:
    """Chains of these sets, oldest first: each full one with the increments that follow it without a gap."""
    chains: list[list[FileSet]] = []
    for found in sorted(sets, key=lambda each: (each.key.end, each.key.start is not None)):
        if found.key.start is None:
            chains.append([found])
            continue
        for chain in reversed(chains):
            if chain[-1].key.end == found.key.start:
                chain.append(found)
                break
    return chains


def as_chain(sets: Sequence[FileSet]) -> Chain:
    return Chain(sessions=tuple(found.session() for found in sets))
