"""How fresh and how sound the backups of this system are, from what is known locally: no network, no plugin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from .api.errors import ConfigError, FormatError, TklbamError
from .conf_syntax import Setting, read_settings, values
from .conf_values import without_password
from .host import Host
from .keys import packet
from .price import Cost, Price, cost_at
from .registry import HubBackup, Registry
from .schedule import Interval, chain_advice, next_full
from .sessions import SessionRecord, Sessions
from .target_records import CheckNote, RestoreTest, TargetRecord

OK, NO_BACKUPS, NOT_INITIALIZED = 0, 10, 11
"""Exit codes."""

RECENT = timedelta(days=7)
"""A target that is not configured counts when it was used this long before the last session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetStatus:
    """One target. `last` is the newest attempt, `stored` the newest that left something, `complete` the newest whole
    one; `next_full` is None where the next backup will be a full one. `size` (bytes of all sessions) and `free` are as
    of `measured`, None where that is not known; `check` and `restore_test` are what `tklbam check` found last."""

    address: str
    last: SessionRecord | None
    stored: SessionRecord | None
    complete: SessionRecord | None
    next_full: datetime | None
    advice: str
    size: int | None = None
    free: int | None = None
    measured: datetime | None = None
    cost: Cost | None = None
    check: CheckNote | None = None
    restore_test: RestoreTest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The whole answer. `warnings` are about the system, a line each; `key_protected` is None where there is no key;
    `linked` says whether a Hub knows where backups go."""

    exit_code: int
    updated: datetime | None
    address: str
    hub_backup: HubBackup | None
    linked: bool
    profile_id: str
    key_protected: bool | None
    interrupted: bool
    targets: tuple[TargetStatus, ...]
    warnings: tuple[str, ...]

    @property
    def word(self) -> str:
        return {OK: "ok", NO_BACKUPS: "no backups", NOT_INITIALIZED: "not initialized"}[self.exit_code]


def survey(host: Host) -> Status:
    """Reads registry and configuration; a part of them that is damaged is a warning. Raises TklbamError where the
    registry may not be read."""
    registry = Registry(host.registry_dir)
    warnings: list[str] = []
    settings = _settings(host.conf_dir, warnings)
    secret, hub_backup = registry.secret, registry.hub_backup
    every = _full_backup(settings, warnings)
    sessions = registry.sessions
    prices = _prices(settings, warnings)
    targets = [_target(found, every, registry, prices, warnings) for found in _targets(settings, sessions)]
    warnings += sessions.problems
    newest = max((t.complete for t in targets if t.complete), key=lambda record: record.started, default=None)
    updated, address = (newest.ended, newest.address) if newest else (None, "")
    if hub_backup is not None and hub_backup.updated is not None and updated is None:
        updated, address = hub_backup.updated, hub_backup.address
    initialized = secret is not None
    return Status(
        exit_code=NOT_INITIALIZED if not initialized else OK if updated else NO_BACKUPS,
        updated=updated,
        address=without_password(address),
        hub_backup=hub_backup,
        linked=registry.account is not None,
        profile_id=_profile_id(registry, initialized, warnings),
        key_protected=_key_protected(registry, initialized, warnings),
        interrupted=(host.registry_dir / "backup-resume").exists(),
        targets=tuple(targets),
        warnings=tuple(warnings),
    )


def age(then: datetime, now: datetime | None = None) -> str:
    """How long ago, in words: "3 hours ago"."""
    seconds = ((now or datetime.now(UTC)) - then).total_seconds()
    if seconds < -60:
        return "in the future"
    for unit, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        # Up to twice a unit the smaller one says more.
        if seconds >= 2 * unit:
            return f"{int(seconds // unit)} {name}s ago"
    number = max(0, int(seconds))
    return f"{number} second{'' if number == 1 else 's'} ago"


def _settings(conf_dir: Path, warnings: list[str]) -> list[Setting]:
    try:
        return read_settings(conf_dir)
    except ConfigError as error:
        warnings.append(error.what)
        return []


def _full_backup(settings: Sequence[Setting], warnings: list[str]) -> Interval:
    given = [setting for setting in settings if setting.option == "full-backup"]
    if given:
        try:
            return Interval.parse(given[-1].value)
        except ValueError as error:
            warnings.append(f"{given[-1].place}: full-backup {given[-1].value!r}: {error}")
    return Interval.parse("1M")


@dataclass(slots=True)
class _Found:
    address: str
    last: SessionRecord | None = None
    stored: SessionRecord | None = None
    complete: SessionRecord | None = None


def _targets(settings: list[Setting], sessions: Sessions) -> list[_Found]:
    """The configured targets, then those used lately but not configured (a Hub's, the command line's).

    One pass over the records, newest first, that ends as soon as nothing older matters.
    """
    found: dict[str, _Found] = {}
    for address in values(settings, "address"):
        found.setdefault(_key(address), _Found(without_password(address)))
    horizon: datetime | None = None
    for record in sessions.newest_first():
        horizon = horizon or record.started - RECENT
        is_recent = record.started >= horizon
        if not is_recent and all(target.complete for target in found.values()):
            break
        target = found.get(_key(record.address))
        if target is None:
            if not is_recent:
                continue
            target = found[_key(record.address)] = _Found(record.address)
        target.last = target.last or record
        if record.stored:
            target.stored = target.stored or record
        if record.outcome == "complete":
            target.complete = target.complete or record
    return list(found.values())


def _key(address: str) -> str:
    return without_password(address).rstrip("/")


def _target(
    found: _Found, every: Interval, registry: Registry, prices: Sequence[Price], warnings: list[str]
) -> TargetStatus:
    stored = found.stored
    known = TargetRecord(address=found.address)
    try:
        known = registry.targets.read(found.address)
    except FormatError as error:
        warnings.append(error.what)
    size, free, measured = _measured(stored, known.check)
    return TargetStatus(
        address=found.address,
        last=found.last,
        stored=stored,
        complete=found.complete,
        next_full=next_full(stored.chain_started if stored else None, every),
        advice=chain_advice(stored.chain_length, every) if stored else "",
        size=size,
        free=free,
        measured=measured,
        cost=cost_at(found.address, size, prices) if size is not None else None,
        check=known.check,
        restore_test=known.restore_test,
    )


def _measured(stored: SessionRecord | None, check: CheckNote | None) -> tuple[int | None, int | None, datetime | None]:
    """Size and free bytes of a target, as of the last time that anybody looked."""
    if check is not None and check.sessions and (stored is None or check.time > stored.ended):
        return check.size + check.orphan_size, check.free, check.time
    if stored is not None and stored.target_size:
        return stored.target_size, stored.target_free, stored.ended
    return None, None, None


def _prices(settings: Sequence[Setting], warnings: list[str]) -> list[Price]:
    prices = []
    for setting in settings:
        if setting.option == "price":
            try:
                prices.append(Price.parse(setting.value))
            except ValueError as error:
                warnings.append(f"{setting.place}: price {setting.value!r}: {error}")
    return prices


def _profile_id(registry: Registry, initialized: bool, warnings: list[str]) -> str:
    try:
        profile = registry.profile
    except TklbamError as error:
        warnings.append(error.what)
        return ""
    if profile is None and initialized:
        warnings.append("there is no profile: the next backup looks for one, or run `tklbam init --force`")
    return profile.profile_id if profile else ""


def _key_protected(registry: Registry, initialized: bool, warnings: list[str]) -> bool | None:
    key = registry.key_packet
    if key is None:
        if initialized:
            warnings.append("the key is missing: run `tklbam passphrase` to make it anew from the secret")
        return None
    try:
        return packet.is_protected(key)
    except TklbamError as error:
        warnings.append(f"{registry.directory / 'key'}: {error.what}; `tklbam passphrase` makes it anew")
        return None
