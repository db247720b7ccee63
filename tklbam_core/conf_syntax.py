"""The classic syntax of `conf` and `overrides`, read without judging values (docs/formats/conf.md).

Light commands use this alone; `tklbam_core.config` validates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .api.errors import ConfigError

CONF = "conf"
OVERRIDES = "overrides"


@dataclass(frozen=True, slots=True)
class Setting:
    """One `option value` line; `line` counts from 1."""

    option: str
    value: str
    file: Path
    line: int

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Word:
    """One rule of the overrides, and where it stands."""

    text: str
    file: Path
    line: int

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"


def read_settings(conf_dir: Path) -> list[Setting]:
    """The lines of `conf`, in order; none where there is no such file. Raises ConfigError where it can't be read."""
    path = conf_dir / CONF
    settings = []
    for number, words in _lines(path):
        option, _, value = words.partition(" ")
        settings.append(Setting(option, value, path, number))
    return settings


def read_overrides(conf_dir: Path) -> list[Word]:
    """The words of `overrides`, in order. Raises ConfigError where it can't be read."""
    path = conf_dir / OVERRIDES
    return [Word(word, path, number) for number, words in _lines(path) for word in words.split()]


def values(settings: list[Setting], option: str) -> list[str]:
    """All values given for an option, in order, not validated."""
    return [setting.value for setting in settings if setting.option == option and setting.value]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number, text without comment, with one space after its first word), empty lines left out."""
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}", "Run as root, or repair the file.") from error
    for number, line in enumerate(text.split("\n"), 1):
        first, *rest = _without_comment(line).split(None, 1) or [""]
        if first:
            yield number, f"{first} {rest[0].strip()}" if rest else first


def _without_comment(line: str) -> str:
    for place, character in enumerate(line):
        if character == "#" and (place == 0 or line[place - 1].isspace()):
            return line[:place]
    return line
