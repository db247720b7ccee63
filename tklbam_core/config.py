"""The configuration in force: `conf`, `overrides` and the command line as one validated whole, each value with where it
came from (docs/formats/conf.md)."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError

from . import conf_values as allowed
from .api.errors import ConfigError, UsageError
from .api.limits import Limits
from .api.redact import split_password
from .conf_syntax import Setting, read_overrides, read_settings
from .conf_values import CacheSize, KeyValue
from .host import Host
from .price import Price
from .schedule import Interval

COMMAND_LINE = "command line"
DEFAULT = "default"


def _number(least: int, most: int) -> BeforeValidator:
    return BeforeValidator(functools.partial(allowed.number, least=least, most=most))


YesNo = Annotated[bool, BeforeValidator(allowed.yes_or_no)]
HubUrl = Annotated[str, BeforeValidator(allowed.hub_url)]
AbsolutePath = Annotated[Path, BeforeValidator(allowed.absolute_path)]


@dataclass(frozen=True, slots=True)
class Row:
    """One option as `tklbam config` shows it: `value` as people write it (a list for lists; None where unset)."""

    option: str
    value: str | int | bool | list[str] | None
    origin: str


class Config(BaseModel):
    """What the administrator says. A field's alias is the option's name in `conf`; list options are tuples.

    Paths are ready to use: those in files are under the host's root. Make one with `Config.load`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    addresses: tuple[Annotated[str, BeforeValidator(allowed.address)], ...] = Field((), alias="address")
    full_backup: Annotated[Interval, BeforeValidator(Interval.parse)] = Field(Interval.parse("1M"), alias="full-backup")
    keep_full: Annotated[int, _number(0, 10_000)] = Field(0, alias="keep-full")
    volsize: Annotated[int, _number(1, 10_000)] = Field(25, alias="volsize")
    s3_parallel_uploads: Annotated[int, _number(1, 64)] = Field(1, alias="s3-parallel-uploads")
    checksum: YesNo = Field(False, alias="checksum")
    backup_skip_files: YesNo = Field(False, alias="backup-skip-files")
    backup_skip_packages: YesNo = Field(False, alias="backup-skip-packages")
    backup_skip_database: YesNo = Field(False, alias="backup-skip-database")
    force_profile: Annotated[str, BeforeValidator(allowed.profile)] | None = Field(None, alias="force-profile")
    disable_plugin: tuple[Annotated[str, BeforeValidator(allowed.plugin)], ...] = Field((), alias="disable-plugin")
    allow_missing_database: YesNo = Field(False, alias="allow-missing-database")
    database_option: tuple[Annotated[KeyValue, BeforeValidator(allowed.database_option)], ...] = Field(
        (), alias="database-option"
    )
    storage_option: tuple[Annotated[KeyValue, BeforeValidator(allowed.storage_option)], ...] = Field(
        (), alias="storage-option"
    )
    price: tuple[Annotated[Price, BeforeValidator(Price.parse)], ...] = Field((), alias="price")
    hub_url: HubUrl | None = Field(None, alias="hub-url")
    hub_ca_file: AbsolutePath | None = Field(None, alias="hub-ca-file")
    hub_directory: tuple[AbsolutePath, ...] = Field((), alias="hub-directory")
    network_timeout: Annotated[int, _number(5, 3600)] = Field(60, alias="network-timeout")
    network_retries: Annotated[int, _number(0, 100)] = Field(5, alias="network-retries")
    archive_engine: Annotated[Literal["native", "duplicity"], BeforeValidator(allowed.archive_engine)] = Field(
        "native", alias="archive-engine"
    )
    extras_dir: AbsolutePath | None = Field(None, alias="extras-dir")
    restore_cache_size: Annotated[CacheSize, BeforeValidator(CacheSize.parse)] = Field(
        CacheSize.parse("50%"), alias="restore-cache-size"
    )
    restore_cache_dir: AbsolutePath = Field(Path("/var/cache/tklbam/restore"), alias="restore-cache-dir")

    overrides: tuple[str, ...] = ()
    """Path rules and database limits, the file's first, then the command line's."""

    _origins: dict[str, list[str]] = PrivateAttr(default_factory=dict)
    _passwords: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def load(cls, host: Host, overrides: Iterable[str] = (), **command_line: object) -> Config:
        """Reads the host's configuration and lays the command line over it.

        `command_line` holds options by name, `_` for `-` (`full_backup="now"`); None, False and empty sequences mean
        "not given". Raises ConfigError with every mistake there is: file, line, option and what is allowed.
        """
        mistakes: list[str] = []
        given = _from_files(read_settings(host.conf_dir), mistakes)
        given.update(_from_command_line(command_line))
        passwords = _take_passwords(given)
        under = {"restore-cache-dir": host.restore_cache_dir}
        content: dict[str, object] = {option: str(path) for option, path in under.items() if option not in given}
        for option, values in given.items():
            texts = [value.on(host) if option in _PATHS else value.text for value in values]
            content[option] = texts if option in _LISTS else texts[-1]
        words = [(word.text, word.place) for word in read_overrides(host.conf_dir)]
        words += [(word, COMMAND_LINE) for word in overrides]
        mistakes += _judge_overrides(words)
        try:
            config = cls.model_validate({**content, "overrides": tuple(text for text, _ in words)})
        except ValidationError as error:
            mistakes += [_explain(mistake["loc"], mistake.get("ctx", {}), given) for mistake in error.errors()]
            raise _error(mistakes) from None
        if mistakes:
            raise _error(mistakes)
        for option, values in given.items():
            config._origins[option] = [value.place for value in (values if option in _LISTS else values[-1:])]
        config._origins["overrides"] = [place for _, place in words]
        config._passwords.update(passwords)
        return config

    @property
    def database_options(self) -> Mapping[str, Mapping[str, str]]:
        """Engine → key → value."""
        found: dict[str, dict[str, str]] = {}
        for option in self.database_option:
            found.setdefault(option.engine, {})[option.key] = option.value
        return found

    @property
    def passwords(self) -> Mapping[str, str]:
        """Address, as in `addresses` → the password that stood in it."""
        return self._passwords

    @property
    def storage_options(self) -> Mapping[str, str]:
        """For storage plugins: theirs, and how long to wait for a network."""
        network = {"network-timeout": str(self.network_timeout), "network-retries": str(self.network_retries)}
        return network | {option.key: option.value for option in self.storage_option}

    def origins(self, option: str) -> Sequence[str]:
        """Where an option's value came from (for lists: each of its values): "FILE:LINE", "command line"; nothing for
        a default."""
        return self._origins.get(option, [])

    def rows(self) -> list[Row]:
        """Every option as it is in force, in the order of the documentation, then the overrides."""
        rows = []
        for name, field in type(self).model_fields.items():
            option = field.alias or name
            value = getattr(self, name)
            shown: str | int | bool | list[str] | None
            if isinstance(value, tuple):
                shown = [str(item) for item in value]
            elif value is None or isinstance(value, bool | int):
                shown = value
            else:
                shown = str(value)
            rows.append(Row(option, shown, ", ".join(dict.fromkeys(self.origins(option))) or DEFAULT))
        return rows


@dataclass(frozen=True, slots=True)
class _Given:
    """A value as given, and where."""

    text: str
    place: str

    def on(self, host: Host) -> str:
        if self.place == COMMAND_LINE:
            return str(Path(self.text).absolute())
        return str(host.path(self.text)) if self.text.startswith("/") else self.text


def options() -> dict[str, str]:
    """Every option's name in `conf` → the field of Config."""
    return {field.alias: name for name, field in Config.model_fields.items() if field.alias}


_LISTS = frozenset({"address", "disable-plugin", "database-option", "storage-option", "price", "hub-directory"})
_PATHS = frozenset({"extras-dir", "restore-cache-dir", "hub-ca-file"})


def _from_files(settings: Sequence[Setting], mistakes: list[str]) -> dict[str, list[_Given]]:
    known = options()
    given: dict[str, list[_Given]] = {}
    for setting in settings:
        if setting.option not in known:
            near = difflib.get_close_matches(setting.option, known, n=3, cutoff=0.6)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}"
            mistakes.append(f"{setting.place}: there is no option {setting.option!r}; {hint}")
            continue
        given.setdefault(setting.option, []).append(_Given(setting.value, setting.place))
    return given


def _from_command_line(command_line: Mapping[str, object]) -> dict[str, list[_Given]]:
    known = options()
    given = {}
    for name, value in command_line.items():
        option = name.replace("_", "-")
        if option not in known:
            raise TypeError(f"there is no option {option}")
        values: Sequence[object] = value if isinstance(value, list | tuple) else [value]
        texts = ["yes" if item is True else str(item) for item in values if item is not None and item is not False]
        if texts:
            given[option] = [_Given(text, COMMAND_LINE) for text in texts]
    return given


def _take_passwords(given: dict[str, list[_Given]]) -> dict[str, str]:
    """Takes the passwords out of the addresses, wherever they were given; returns address → password."""
    passwords: dict[str, str] = {}
    plain = []
    for value in given.get("address", ()):
        address, password = split_password(value.text)
        plain.append(_Given(address, value.place))
        if password:
            passwords[address] = password
    if plain:
        given["address"] = plain
    return passwords


def _judge_overrides(words: Iterable[tuple[str, str]]) -> list[str]:
    mistakes = []
    for text, place in words:
        rule = text.removeprefix("-")
        if rule.startswith("/"):
            continue
        engine, colon, _ = rule.partition(":")
        try:
            if not colon or not engine.isalnum():
                raise UsageError("allowed are /path, -/path, ENGINE:database[/table] and -ENGINE:database[/table]")
            Limits.parse([text], engine)
        except UsageError as error:
            mistakes.append(f"{place}: {text!r} is no rule: {error.what}")
    return mistakes


def _explain(loc: tuple[int | str, ...], ctx: Mapping[str, Any], given: Mapping[str, Sequence[_Given]]) -> str:
    option = str(loc[0])
    values = given[option]
    at = values[loc[1]] if len(loc) > 1 and isinstance(loc[1], int) else values[-1]
    # The value of an option that may hold a secret by mistake is not repeated.
    shown = "" if option in ("database-option", "storage-option") else f" {at.text!r}"
    return f"{at.place}: {option}{shown}: {ctx.get('error', 'not allowed')}"


def _error(mistakes: Sequence[str]) -> ConfigError:
    where = "the command line" if all(mistake.startswith(COMMAND_LINE) for mistake in mistakes) else "the configuration"
    return ConfigError("\n".join(mistakes), f"Repair {where}; `tklbam config` shows what is in force.")
