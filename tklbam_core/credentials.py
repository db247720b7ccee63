"""The credentials file and systemd's credentials: what opens a target, by its address (docs/formats/credentials.md)."""

from __future__ import annotations

import configparser
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from .api.errors import ConfigError
from .api.redact import split_password

FILE = "credentials"
SYSTEMD_NAME = "tklbam-credentials"
_SECTION = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(?:([^@/]*)@)?([^/]*)(/.*)?")
_KEY = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True, slots=True)
class Prefix:
    """The beginning of addresses, or a whole address: `host` may carry a port; `path` is its components, decoded.

    An empty `host` stands for every host, an empty `user` for every user.
    """

    scheme: str
    user: str
    host: str
    path: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Prefix | None:
        match = _SECTION.fullmatch(text)
        if match is None:
            return None
        scheme, user, host, path = match.groups()
        components = tuple(unquote(part) for part in (path or "").split("/") if part)
        return cls(scheme.lower(), unquote(user or ""), host.lower(), components)

    def covers(self, address: Prefix) -> bool:
        return (
            self.scheme == address.scheme
            and self.user in ("", address.user)
            and (self.host == address.host or (not self.host and not self.path))
            and address.path[: len(self.path)] == self.path
        )

    @property
    def length(self) -> tuple[bool, int, bool]:
        """Sorts prefixes by how much they say."""
        return bool(self.host), len(self.path), bool(self.user)


@dataclass(frozen=True, slots=True)
class Section:
    """One section of a file."""

    prefix: Prefix
    fields: Mapping[str, str] = field(repr=False)


def find_credentials(conf_dir: Path, address: str, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The fields for an address: of the section with the longest prefix that it begins with; empty where there is none.

    Of two such sections that are equally long, systemd's counts. Raises ConfigError: a file that is not private or
    not what its format says (file and line).
    """
    wanted = Prefix.parse(split_password(address)[0])
    if wanted is None:
        return {}
    matching = [section for section in _sections(conf_dir, environ) if section.prefix.covers(wanted)]
    # max() takes the first of equals.
    best = max(reversed(matching), key=lambda section: section.prefix.length, default=None)
    return dict(best.fields) if best is not None else {}


def _sections(conf_dir: Path, environ: Mapping[str, str]) -> Iterator[Section]:
    yield from _read(conf_dir / FILE, _check_private)
    if environ.get("CREDENTIALS_DIRECTORY"):
        yield from _read(Path(environ["CREDENTIALS_DIRECTORY"]) / SYSTEMD_NAME, _check_unshared)


def _check_private(path: Path, found: os.stat_result) -> None:
    if found.st_uid not in (0, os.geteuid()):
        raise ConfigError(
            f"{path} belongs to user {found.st_uid}, who could change what it says", f"Run: chown root: '{path}'"
        )
    if found.st_mode & 0o077:
        raise ConfigError(
            f"{path} can be read by others (its mode is {stat.S_IMODE(found.st_mode):04o}, not 0600)",
            f"Run: chmod 600 '{path}'; and if others had access to this machine, change what it holds.",
        )


def _check_unshared(path: Path, found: os.stat_result) -> None:
    # systemd gives the service's user an access list, whose mask shows as the group's bits.
    if found.st_mode & 0o007:
        raise ConfigError(f"{path} can be read by everyone", "systemd makes it private; see what else writes there.")


def _read(path: Path, check: Callable[[Path, os.stat_result], None]) -> Iterator[Section]:
    try:
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ConfigError(f"{path} is not a file", "Remove it, or put a credentials file there.")
            check(path, found)
            text = file.read().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}", "Run as root, or repair the file.") from error
    yield from _parse(path, text)


def _parse(path: Path, text: str) -> Iterator[Section]:
    parser = configparser.RawConfigParser(
        delimiters=("=",), comment_prefixes=("#", ";"), default_section="\0", empty_lines_in_values=False
    )
    parser.optionxform = _plain_key  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(text, str(path))
    except (configparser.DuplicateSectionError, configparser.DuplicateOptionError) as error:
        raise _mistake(path, error.lineno, "it says the same twice") from None
    except configparser.MissingSectionHeaderError as error:
        raise _mistake(path, error.lineno, "a section such as [s3://bucket] must come first") from None
    except configparser.ParsingError as error:
        raise _mistake(path, error.errors[0][0], "allowed are [ADDRESS] and KEY = VALUE") from None
    lines = text.splitlines()
    seen: set[Prefix] = set()
    for name in parser.sections():
        number = next((n for n, line in enumerate(lines, 1) if line.strip().startswith(f"[{name}]")), None)
        prefix = Prefix.parse(name)
        if prefix is None:
            raise _mistake(path, number, "a section is the beginning of an address, such as [sftp://backup@host]")
        if split_password(name)[1]:
            raise _mistake(path, number, "an address here holds no password: write it below as `password = …`")
        if prefix in seen:
            raise _mistake(path, number, "it says the same twice")
        seen.add(prefix)
        for key, value in parser.items(name):
            if not _KEY.fullmatch(key) or not value or "\n" in value:
                at = next(
                    (
                        n
                        for n, line in enumerate(lines, 1)
                        if n > (number or 0) and _plain_key(line.split("=")[0]) == key
                    ),
                    number,
                )
                raise _mistake(path, at, "allowed is KEY = VALUE, on one line, with a key such as password or key-file")
        yield Section(prefix, dict(parser.items(name)))


def _plain_key(text: str) -> str:
    return text.strip().lower().replace("_", "-")


def _mistake(path: Path, line: int | None, what: str) -> ConfigError:
    # What the line says is not repeated: it may be a password.
    return ConfigError(f"{path}:{line}: {what}" if line is not None else f"{path}: {what}", "Repair that line.")
