"""How sizes, ages and money are said: the same words on every page and in the command line's client."""

from __future__ import annotations

import shlex
from datetime import timedelta

UNITS = ("KB", "MB", "GB", "TB")
MINUTE, HOUR, DAY = 60, 3600, 86400


def size(count: int | None) -> str:
    """A size in bytes for people: `668 bytes`, `193.4 MB`, with 1 KB = 2^10 bytes; nothing known is a dash."""
    if count is None:
        return "–"
    if count < 1024:
        return "1 byte" if count == 1 else f"{count:,} bytes"
    number = float(count)
    for unit in UNITS:
        number /= 1024
        if number < 999.95 or unit == UNITS[-1]:
            break
    return f"{number:,.1f} {unit}"


def span(length: timedelta) -> str:
    """A length of time in its largest sensible unit: `45 s`, `12 min`, `31 h`, `6 days`, `14 months`."""
    seconds = max(length.total_seconds(), 0)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * MINUTE:
        return f"{seconds / MINUTE:.0f} min"
    if seconds < 48 * HOUR:
        return f"{seconds / HOUR:.0f} h"
    days = seconds / DAY
    if days < 60:
        return f"{days:.0f} days"
    return f"{days / 30.44:.0f} months" if days < 730 else f"{days / 365.25:.0f} years"


def duration(seconds: float | None) -> str:
    """How long a run took, as the client says it."""
    if seconds is None:
        return "–"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def money(amount: float | None, currency: str) -> str:
    """An amount with its currency's sign or code; sums below a cent are not zero."""
    if amount is None:
        return "–"
    sign = {"USD": "$", "EUR": "€", "GBP": "£"}.get(currency)
    if 0 < amount < 0.01:
        number = "< 0.01"
        return f"< {sign}0.01" if sign else f"{number} {currency}"
    return f"{sign}{amount:,.2f}" if sign else f"{amount:,.2f} {currency}"


def command(*words: str) -> str:
    """Words as a shell reads them back, whatever a label or an address holds."""
    return shlex.join(words)
