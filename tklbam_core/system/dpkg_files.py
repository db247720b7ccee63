"""Which files packages own, and what they were when installed: dpkg's lists, checksums, diversions, alternatives.

Paths are absolute `bytes`, as dpkg records them (before diversions). Everything is an iterator: memory stays flat.
Source of the formats: dpkg-query(1), dpkg-divert(1), dpkg-statoverride(1), update-alternatives(1), deb-md5sums(5).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..api.errors import FormatError
from .dpkg import STATUS, display_name, native_architecture, stanzas
from .rooted import inside

_INFO = "var/lib/dpkg/info"
_CONFFILE = re.compile(r" (/.*?) ([0-9a-f]{32}|newconffile)((?: obsolete| remove-on-upgrade)*)")
_MD5SUM = re.compile(rb"\\?([0-9a-f]{32}) [ *](.+)")

OnError = Callable[[FormatError], None]


def _fail(error: FormatError) -> None:
    raise error


@dataclass(frozen=True, slots=True)
class Conffile:
    """A configuration file of a package. `md5` is the sum of the version shipped, None where none was unpacked yet.

    `obsolete`: the installed version of the package no longer ships it.
    """

    package: str
    path: bytes
    md5: str | None
    obsolete: bool


@dataclass(frozen=True, slots=True)
class Diversion:
    """`original` of every package but `package` lies at `moved_to`; `package` is None for a local diversion."""

    original: bytes
    moved_to: bytes
    package: str | None


@dataclass(frozen=True, slots=True)
class StatOverride:
    """Owner and mode that the administrator wants for a path. `user`, `group`: a name, or `#NUMBER`."""

    path: bytes
    user: str
    group: str
    mode: int


@dataclass(frozen=True, slots=True)
class Alternative:
    """A name under `/etc/alternatives`: `links` are the links that lead there, by name (the first is the master's).

    `manual`: the administrator chose. `choices`: the paths that can be chosen, with their priorities.
    """

    name: str
    manual: bool
    links: tuple[tuple[str, bytes], ...]
    choices: tuple[tuple[bytes, int], ...]


def file_lists(root: Path) -> Iterator[tuple[str, bytes]]:
    """(package, path) of everything that packages own, directories too, packages in name order."""
    for package, path in _info_files(root, ".list"):
        for _, line in _lines(path):
            if line in (b"/.", b"/"):
                continue
            yield package, line


def md5sums(root: Path, on_error: OnError = _fail) -> Iterator[tuple[str, bytes, str]]:
    """(package, path, MD5 in hex) of the files that packages shipped, conffiles aside.

    A line that is no checksum goes to `on_error`, which raises unless told otherwise: packages from third parties
    are not always clean, and one of them should not spoil the rest.
    """
    for package, path in _info_files(root, ".md5sums"):
        for number, line in _lines(path):
            found = _MD5SUM.fullmatch(line)
            if found is None:
                on_error(FormatError(path, number, "not a checksum line", f"Reinstall {package}."))
                continue
            name = found[2].removeprefix(b"./").lstrip(b"/")
            if line.startswith(b"\\"):
                name = name.replace(b"\\n", b"\n").replace(b"\\\\", b"\\")
            yield package, b"/" + name, found[1].decode()


def conffiles(root: Path) -> Iterator[Conffile]:
    """The configuration files of all packages that dpkg knows (of removed ones, those still there)."""
    native = native_architecture(root)
    path = inside(root, STATUS)
    for line, stanza in stanzas(path, ("package", "architecture", "conffiles")):
        package = display_name(stanza.get("package", ""), stanza.get("architecture", ""), native)
        for entry in stanza.get("conffiles", "").split("\n"):
            if not entry.strip():
                continue
            found = _CONFFILE.fullmatch(entry)
            if found is None:
                raise FormatError(path, line, f"package {package} has a malformed conffile", f"Reinstall {package}.")
            md5 = None if found[2] == "newconffile" else found[2]
            yield Conffile(package, found[1].encode("utf-8", "surrogateescape"), md5, "obsolete" in found[3])


def diversions(root: Path) -> Iterator[Diversion]:
    """The diversions in force. Raises FormatError for a file whose lines do not come in threes."""
    path = inside(root, "var/lib/dpkg/diversions")
    lines = _lines(path)
    for number, original in lines:
        moved_to, owner = next(lines, None), next(lines, None)
        if moved_to is None or owner is None:
            raise FormatError(
                path, number, "a diversion of fewer than three lines", "Put back the copy beside it (-old)."
            )
        package = owner[1].decode("utf-8", "surrogateescape")
        yield Diversion(original, moved_to[1], None if package == ":" else package)


def stat_overrides(root: Path) -> Iterator[StatOverride]:
    """The owners and modes set with dpkg-statoverride."""
    path = inside(root, "var/lib/dpkg/statoverride")
    for number, line in _lines(path):
        words = line.split(b" ", 3)
        if len(words) != 4 or not words[3].startswith(b"/") or not re.fullmatch(rb"[0-7]+", words[2]):
            raise FormatError(path, number, "not `user group mode path`", "Put back the copy beside it (-old).")
        user, group = (word.decode("utf-8", "surrogateescape") for word in words[:2])
        yield StatOverride(words[3], user, group, int(words[2], 8))


def alternatives(root: Path, on_error: OnError = _fail) -> Iterator[Alternative]:
    """What update-alternatives manages, in name order. A damaged file goes to `on_error`."""
    directory = inside(root, "var/lib/dpkg/alternatives")
    if not directory.is_dir():
        return
    for path in sorted(directory.iterdir()):
        if not path.name.endswith((".dpkg-tmp", ".dpkg-new", ".dpkg-old")) and path.is_file():
            try:
                yield _alternative(path)
            except (IndexError, ValueError):
                on_error(FormatError(path, None, "not in update-alternatives' format", "Reinstall what provides it."))


def _alternative(path: Path) -> Alternative:
    lines = path.read_bytes().split(b"\n")
    if lines[0] not in (b"auto", b"manual"):
        raise ValueError(lines[0])
    links = [(path.name, lines[1])]
    position = 2
    while lines[position]:
        links.append((lines[position].decode("utf-8", "surrogateescape"), lines[position + 1]))
        position += 2
    position += 1
    choices = []
    while lines[position]:
        choices.append((lines[position], int(lines[position + 1])))
        position += 1 + len(links)
    return Alternative(path.name, lines[0] == b"manual", tuple(links), tuple(choices))


def _info_files(root: Path, suffix: str) -> Iterator[tuple[str, Path]]:
    directory = inside(root, _INFO)
    if not directory.is_dir():
        return
    native = native_architecture(root)
    for name in sorted(entry.name for entry in directory.iterdir() if entry.name.endswith(suffix)):
        package, _, architecture = name.removesuffix(suffix).partition(":")
        yield display_name(package, architecture or native, native), directory / name


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed by the block below
    except (FileNotFoundError, NotADirectoryError):
        return
    with file:
        for number, line in enumerate(file, 1):
            line = line.rstrip(b"\n")
            if line:
                yield number, line
