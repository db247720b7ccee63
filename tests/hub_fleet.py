"""Accounts with backups for the console's tests, made through the models; Django is set up before this is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache

from django.contrib.auth.hashers import make_password
from django.utils import timezone

from tklbam_hub.accounts.models import Account
from tklbam_hub.records.models import BackupRecord, BackupSession
from tklbam_hub.storage.models import Storage

PASSWORD = "correct horse battery"
MB = 1 << 20
KEY_PACKET = "AQBQAFAAabcdef0123456789" * 4
HOSTILE = """<script>document.title='owned'</script>"'><img src=x onerror=document.title='owned'>{{ 7|add:7 }}"""


@cache
def hashed() -> str:
    """The password as it is stored; hashing it anew for every account would take most of the tests' time."""
    return make_password(PASSWORD)


def account(name: str, *, staff: bool = False) -> Account:
    return Account.objects.create(
        username=name,
        email=f"{name}@example.org",
        password=hashed(),
        is_staff=staff,
        webhook_secret="0123456789abcdef" * 2,
    )


def storage(**fields: object) -> Storage:
    values = {
        "name": "Offsite",
        "address": "file:///srv/backups",
        "is_default": True,
        "price_per_gb_month": Decimal("0.023"),
        "currency": "USD",
    }
    return Storage.objects.create(**values | fields)


@dataclass(frozen=True)
class Ran:
    """A session: how many hours ago it began, what it was, what it added and left in all (MB)."""

    hours_ago: float
    kind: str = "incremental"
    outcome: str = "complete"
    added: float | None = 10
    total: float | None = 100
    message: str = ""


def backup(owner: Account, place: Storage, number: int, ran: Sequence[Ran] = (), **fields: object) -> BackupRecord:
    """A record with its sessions, and the fields that follow from them."""
    now = timezone.now()
    good = [each for each in ran if each.outcome in ("complete", "incomplete")]
    latest = min(good, key=lambda each: each.hours_ago, default=None)
    values: dict[str, object] = {
        "account": owner,
        "storage": place,
        "number": number,
        "address": f"{place.address}/{owner.pk}-{number}-0a1b2c3d",
        "key": KEY_PACKET,
        "profile_id": "turnkey-wordpress-18.0-bookworm-amd64",
        "server_id": f"srv-{number:05}",
        "created_at": now - timedelta(hours=max([each.hours_ago for each in ran], default=1) + 1),
        "updated_at": now - timedelta(hours=latest.hours_ago) if latest else None,
        "size": int((latest.total or 0) * MB) if latest else 0,
        "in_progress": any(each.outcome == "running" for each in ran),
        "last_outcome": min(ran, key=lambda each: each.hours_ago).outcome if ran else "",
        **chain(good, now),
    }
    made = BackupRecord.objects.create(**values | fields)
    BackupSession.objects.bulk_create(session(made, each, now) for each in ran)
    return made


def chain(good: Sequence[Ran], now: datetime) -> dict[str, object]:
    full = min((each.hours_ago for each in good if each.kind == "full"), default=None)
    if full is None:
        return {}
    increments = sum(each.hours_ago < full for each in good)
    return {"chain_began_at": now - timedelta(hours=full), "chain_increments": increments}


def session(of: BackupRecord, ran: Ran, now: datetime) -> BackupSession:
    started = now - timedelta(hours=ran.hours_ago)
    return BackupSession(
        backup=of,
        started_at=started,
        finished_at=None if ran.outcome == "running" else started + timedelta(seconds=95),
        kind=ran.kind,
        outcome=ran.outcome,
        added=None if ran.added is None else int(ran.added * MB),
        total=None if ran.total is None else int(ran.total * MB),
        message=ran.message,
    )


def daily(days: int, base: float = 800, *, latest_hours_ago: float = 7) -> list[Ran]:
    """A session a day with a full one every four weeks, as a server in use makes them; newest last."""
    runs, total = [], 0.0
    for day in range(days):
        full = day % 28 == 0
        added = base * (1 + day / 200) if full else base * (0.004 + 0.02 * ((day * 37) % 11) / 11)
        total = total + added if day < 56 or not full else total + added - base
        hours_ago = (days - 1 - day) * 24 + latest_hours_ago
        runs.append(Ran(hours_ago, "full" if full else "incremental", added=added, total=total))
    return runs


def fleet(owner: Account, place: Storage) -> list[BackupRecord]:
    """One backup in each state, and some more."""
    late = [Ran(each.hours_ago + 24 * 6, each.kind, each.outcome, each.added, each.total) for each in daily(5, 210)]
    lost = Ran(3, "incremental", "failed", None, None, "no space left on the target: 3.0 MB are free")
    partial = Ran(5, "incremental", "incomplete", 4, 402, "mysql: access denied for 'backup'@'localhost'")
    runs = Ran(0.1, "", "running", None, None)
    sound = {"verified": "good", "verified_at": timezone.now()}
    wordpress, wiki, debian = (
        "turnkey-wordpress-18.0-bookworm-amd64",
        "turnkey-mediawiki-18.0-bookworm-amd64",
        "debian-12",
    )

    def made(number: int, ran: Sequence[Ran], label: str, profile: str, **fields: object) -> BackupRecord:
        return backup(owner, place, number, ran, label=label, profile_id=profile, **fields)

    return [
        made(1, daily(12, 2100), "www.example.org", wordpress, **sound),
        made(2, late, "wiki", wiki, **sound),
        made(3, [*daily(3, 640, latest_hours_ago=27), lost], "shop", debian),
        made(4, [*daily(2, 380, latest_hours_ago=29), partial], "crm", debian),
        made(5, [*daily(4, 90, latest_hours_ago=24), runs], "files", wordpress),
        made(6, [], "", "debian-13", server_id=""),
        made(7, [Ran(9, "", "complete", None, 55)], "old appliance", "turnkey-core-14.1-jessie-amd64"),
        made(8, daily(3, 300), HOSTILE, wordpress, server_id="<b>srv</b>", **sound),
    ]
