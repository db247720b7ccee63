"""Ages as the configuration writes them (`1M`, `12h`, `now`), and when the next full backup is due."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_DAY = 86400
_UNITS = {"m": 60, "h": 3600, "D": _DAY, "W": 7 * _DAY, "M": 30 * _DAY, "Y": 365 * _DAY}
_LONGEST = 1000 * _UNITS["Y"]

SENSIBLE_CHAIN = 100
"""Sessions in a chain beyond which each restore gets slow and each lost volume costs much."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An age: `text` as written, `seconds` what it means (0 for `now`)."""

    text: str
    seconds: int

    @classmethod
    def parse(cls, text: str) -> Interval:
        """Raises ValueError, saying what is allowed."""
        if text == "now":
            return cls(text, 0)
        match = re.fullmatch(r"([0-9]{1,9})([mhDWMY])", text)
        if match is None or int(match[1]) == 0 or int(match[1]) * _UNITS[match[2]] > _LONGEST:
            raise ValueError(
                "allowed are `now` or a number and one of m h D W M Y (minutes, hours, days, weeks, months, years)"
            )
        return cls(text, int(match[1]) * _UNITS[match[2]])

    def __str__(self) -> str:
        return self.text


def next_full(last_full: datetime | None, every: Interval) -> datetime | None:
    """When the next full backup is due; None: at the next backup."""
    if last_full is None or every.seconds == 0:
        return None
    return last_full + timedelta(seconds=every.seconds)


def full_is_due(last_full: datetime | None, every: Interval | str, now: datetime | None = None) -> bool:
    """Whether the next backup should be a full one. `last_full` is the time of the newest chain's full session.

    Raises ValueError for an interval that is none.
    """
    due = next_full(last_full, Interval.parse(every) if isinstance(every, str) else every)
    return due is None or (now or datetime.now(UTC)) >= due


def chain_advice(length: int, every: Interval) -> str:
    """What to say to someone whose chain has `length` sessions: a sentence, or nothing."""
    if length <= SENSIBLE_CHAIN:
        return ""
    return (
        f"the chain has {length} sessions: a restore must read them all. With backups this frequent, make full ones "
        f"more often than every {every} (full-backup 1W, or 1D for hourly backups)."
    )
