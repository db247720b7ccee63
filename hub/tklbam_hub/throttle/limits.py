"""Brute force runs into a wall: by address, and by account for addresses that have failed on it before."""

from __future__ import annotations

import ipaddress
import time
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction
from django.db.models import F, Sum

from tklbam_hub.throttle.models import FailureCount


@dataclass(frozen=True, slots=True)
class Limit:
    """So many failures in `seconds` from one address, and on one account from anywhere."""

    scope: str
    per_address: int
    per_account: int
    seconds: int


QUARTER = 900
SIGN_IN = Limit("sign-in", per_address=20, per_account=50, seconds=QUARTER)


def of_keys() -> Limit:
    """Of API keys and subkeys; the operator may set how many wrong ones an address may send."""
    most: int = settings.KEY_FAILURES
    return Limit("api", per_address=most, per_account=4 * most, seconds=QUARTER)


def is_blocked(limit: Limit, address: str, account: str = "") -> bool:
    """Whether an attempt must be refused unseen.

    Too many failures on an account block only addresses that are among those that failed: guessing at a stranger's
    account does not lock the stranger out.
    """
    address = _neighbourhood(address)
    if _failures(limit, f"ip {address}") >= limit.per_address:
        return True
    if not account or _failures(limit, f"account {account}") < limit.per_account:
        return False
    return _failures(limit, f"both {account} {address}") > 0


def count_failure(limit: Limit, address: str, account: str = "") -> None:
    """Notes a failed attempt."""
    address = _neighbourhood(address)
    subjects = [f"ip {address}"]
    if account:
        subjects += [f"account {account}", f"both {account} {address}"]
    window = _window(limit)
    with transaction.atomic():
        for subject in subjects:
            row, _ = FailureCount.objects.get_or_create(scope=limit.scope, subject=subject[:200], window=window)
            FailureCount.objects.filter(pk=row.pk).update(count=F("count") + 1)


def forget_old() -> int:
    """Removes counts whose time is over; returns how many."""
    deleted, _ = FailureCount.objects.filter(window__lt=int(time.time()) - 2 * QUARTER).delete()
    return deleted


def _neighbourhood(address: str) -> str:
    # Whoever has one IPv6 address usually has 2**64 of them.
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    return address if ip.version == 4 else str(ipaddress.ip_network(f"{ip}/64", strict=False))


def _failures(limit: Limit, subject: str) -> int:
    # Counted in this window and the one before: a guesser gains nothing by waiting for the clock's edge.
    since = _window(limit) - limit.seconds
    rows = FailureCount.objects.filter(scope=limit.scope, subject=subject[:200], window__gte=since)
    return int(rows.aggregate(total=Sum("count"))["total"] or 0)


def _window(limit: Limit) -> int:
    return int(time.time()) // limit.seconds * limit.seconds
