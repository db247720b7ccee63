"""What dpkg and apt know of a system, read from their files: no program is run, so it works under any root.

Source of the formats: deb-control(5) for stanzas, dpkg(1) for the states of a package, and apt-mark(8) for what
`extended_states` holds. Everything is read as a stream, one stanza at a time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..api.errors import FormatError
from .rooted import inside

STATUS = "var/lib/dpkg/status"
EXTENDED_STATES = "var/lib/apt/extended_states"

_USABLE = frozenset({"installed", "triggers-pending", "triggers-awaited"})
_ABSENT = frozenset({"not-installed", "config-files"})
_STATES = _USABLE | _ABSENT | {"half-installed", "unpacked", "half-configured"}


@dataclass(frozen=True, slots=True)
class Package:
    """One package that dpkg knows.

    `name` is unique on its system: the package's name, with `:ARCH` behind it for a foreign architecture. `want` is
    what was asked of dpkg (`install`, `hold`, `deinstall`, `purge`), `state` where the package is.
    """

    name: str
    architecture: str
    version: str
    want: str
    flag: str
    state: str

    @property
    def is_installed(self) -> bool:
        """Unpacked and configured; that triggers of others still wait changes nothing for its use."""
        return self.state in _USABLE and self.flag == "ok"

    @property
    def is_unfinished(self) -> bool:
        """Something is there, but its installation or removal stopped half-way, or triggers are still to run."""
        return self.state not in _ABSENT and (self.state != "installed" or self.flag != "ok")

    @property
    def is_held(self) -> bool:
        return self.want == "hold"


def has_dpkg(root: Path) -> bool:
    """Whether the system under `root` is managed by dpkg."""
    return inside(root, STATUS).is_file()


def packages(root: Path) -> Iterator[Package]:
    """Every package dpkg knows, in the order of its status file, removed ones included; none without dpkg.

    Raises FormatError, with file and line, where the status file is damaged.
    """
    native = native_architecture(root)
    path = inside(root, STATUS)
    for line, stanza in stanzas(path, ("package", "status", "architecture", "version")):
        yield _package(path, line, stanza, native)


def installed(root: Path) -> dict[str, str]:
    """Name → version of the packages that are installed (held ones too)."""
    return {package.name: package.version for package in packages(root) if package.is_installed}


def unfinished(root: Path) -> list[Package]:
    """Packages left half-way by an installation or removal that failed."""
    return [package for package in packages(root) if package.is_unfinished]


def automatic(root: Path) -> frozenset[str]:
    """Names of the packages that apt installed only because others needed them."""
    native = native_architecture(root)
    path = inside(root, EXTENDED_STATES)
    found = set()
    for line, stanza in stanzas(path, ("package", "architecture", "auto-installed")):
        if not stanza.get("package"):
            raise FormatError(path, line, "an entry without a package name", "See what `apt-mark showauto` says.")
        if stanza.get("auto-installed") == "1":
            found.add(display_name(stanza["package"], stanza.get("architecture", native), native))
    return frozenset(found)


def native_architecture(root: Path) -> str:
    """The architecture of the system under `root` ("amd64"); empty without dpkg."""
    # dpkg writes this file only once a foreign architecture was added.
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        with open(inside(root, "var/lib/dpkg/arch"), encoding="ascii", errors="replace") as file:
            if first := file.readline().strip():
                return first
    counts: dict[str, int] = {}
    for _, stanza in stanzas(inside(root, STATUS), ("package", "architecture")):
        architecture = stanza.get("architecture", "all")
        if stanza.get("package") == "dpkg":
            return architecture
        if architecture != "all":
            counts[architecture] = counts.get(architecture, 0) + 1
    return max(counts, key=lambda name: counts[name]) if counts else ""


def display_name(package: str, architecture: str, native: str) -> str:
    """The unique name of a package: `name`, or `name:ARCH` for a foreign architecture."""
    return package if architecture in (native, "all", "") else f"{package}:{architecture}"


def stanzas(path: Path, fields: tuple[str, ...]) -> Iterator[tuple[int, Mapping[str, str]]]:
    """(line it begins at, the wanted fields) of each stanza of a control file; nothing where there is no file.

    `fields` are lowercase names. The value of a field of several lines keeps its line breaks.
    Raises FormatError for a line that is neither a field nor a continuation.
    """
    wanted = {field.encode(): field for field in fields}
    stanza: dict[str, str] = {}
    start = 0
    current: str | None = None
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed by the block below, which must not catch what the reader raises
    except (FileNotFoundError, NotADirectoryError):
        return
    with file:
        for number, line in enumerate(file, 1):
            line = line.rstrip(b"\n")
            if not line.strip():
                if start:
                    yield start, stanza
                stanza, start, current = {}, 0, None
                continue
            if line[:1] in b" \t":
                if not start:
                    raise _damaged(path, number, "a continuation line with no field before it")
                if current is not None:
                    stanza[current] += "\n" + _text(line)
                continue
            name, colon, value = line.partition(b":")
            if not colon or not name or b" " in name:
                raise _damaged(path, number, "neither a field nor a continuation of one")
            start = start or number
            current = wanted.get(name.lower())
            if current is not None:
                stanza[current] = _text(value.strip())
    if start:
        yield start, stanza


def _package(path: Path, line: int, stanza: Mapping[str, str], native: str) -> Package:
    name = stanza.get("package", "")
    if not name:
        raise _damaged(path, line, "an entry without a package name")
    words = stanza.get("status", "").split()
    if len(words) != 3 or words[2] not in _STATES:
        raise _damaged(path, line, f"package {name} has no valid status ({' '.join(words) or 'none'})")
    version = stanza.get("version", "")
    if words[2] not in _ABSENT and not version:
        raise _damaged(path, line, f"package {name} has no version")
    architecture = stanza.get("architecture", "")
    return Package(display_name(name, architecture, native), architecture, version, *words)


def _damaged(path: Path, line: int, what: str) -> FormatError:
    return FormatError(path, line, what, f"Put back the copy that dpkg keeps beside it ({path}-old), or var/backups.")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
