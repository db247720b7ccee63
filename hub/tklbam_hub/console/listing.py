"""The list of backups: what is asked for, and the rows that answer it, in a number of queries that no list changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import CharField, Count, F, Max, OuterRef, Q, QuerySet, Subquery, Sum, Value, Window
from django.db.models.expressions import OrderBy
from django.db.models.functions import Coalesce, Lower, RowNumber
from django.http import QueryDict
from django.urls import reverse

from tklbam_hub.accounts.models import Account
from tklbam_hub.console import sparkline, states, wording
from tklbam_hub.console.states import Badge, Standing
from tklbam_hub.records.models import BackupRecord, BackupSession
from tklbam_hub.storage.models import Storage

LATEST = 40
"""Sessions of each backup that its line goes through."""

ATTENTION = "attention"
STATES = {
    "": "All",
    ATTENTION: "Needs attention",
    Standing.FAILED: "Failed",
    Standing.OVERDUE: "Overdue",
    Standing.INCOMPLETE: "Incomplete",
    Standing.RUNNING: "Running",
    Standing.NEW: "No session yet",
    Standing.GOOD: "On time",
}
SORTS: dict[str, tuple[str, OrderBy]] = {
    "-last": ("Newest session", F("updated_at").desc(nulls_last=True)),
    "last": ("Oldest session", F("updated_at").asc(nulls_first=True)),
    "label": ("Label", Lower("label").asc()),
    "-label": ("Label, backwards", Lower("label").desc()),
    "-size": ("Largest", F("size").desc()),
    "size": ("Smallest", F("size").asc()),
    "number": ("Number", F("number").asc()),
    "-number": ("Newest backup", F("number").desc()),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the query of the page asks for; what it can't mean is as if it were not there."""

    q: str
    state: str
    profile: str
    sort: str

    @classmethod
    def read(cls, query: QueryDict) -> Wanted:
        state, sort = query.get("state", ""), query.get("sort", "")
        return cls(
            q=query.get("q", "").replace("\0", "").strip()[:200],
            state=state if state in STATES else "",
            profile=query.get("profile", "").replace("\0", "")[:200],
            sort=sort if sort in SORTS else "-last",
        )

    @property
    def active(self) -> bool:
        return bool(self.q or self.state or self.profile)

    def select(self, backups: QuerySet[BackupRecord], conditions: dict[Standing, Q]) -> QuerySet[BackupRecord]:
        """The backups that fit, in order; `conditions` are those of `states`."""
        if self.q:
            fits = Q(label__icontains=self.q) | Q(server_id__icontains=self.q) | Q(profile_id__icontains=self.q)
            number = self.q.removeprefix("#")
            if number.isascii() and number.isdigit() and len(number) < 10:
                fits |= Q(number=int(number))
            backups = backups.filter(fits)
        if self.profile:
            backups = backups.filter(profile_id=self.profile)
        if self.state == ATTENTION:
            backups = backups.filter(states.attention(conditions))
        elif self.state:
            backups = backups.filter(conditions[Standing(self.state)])
        return backups.order_by(SORTS[self.sort][1], "number")


@dataclass(frozen=True, slots=True)
class Row:
    """A backup as the list shows it; `size` in bytes."""

    id: int
    name: str
    url: str
    server: str
    profile: str
    state: Badge
    last: datetime | None
    chain: str
    size: int
    cost: str
    spark: sparkline.Spark | None
    verified: Badge


@dataclass(frozen=True, slots=True)
class Trouble:
    """A backup that needs attention, and why."""

    name: str
    url: str
    state: Badge
    why: str


def name_of(backup: BackupRecord) -> str:
    return backup.label or f"Backup {backup.number}"


def url_of(backup: BackupRecord) -> str:
    return reverse("console:backup", args=(backup.number,))


def listed(account: Account) -> QuerySet[BackupRecord]:
    """The account's backups with what a list shows of them; what is secret about them stays where it is."""
    backups = BackupRecord.objects.filter(account=account).select_related("account", "storage")
    return backups.defer("key", "storage_secret_key", "storage__secret_key", "account__password")


def rows(backups: Iterable[BackupRecord], now: datetime) -> list[Row]:
    """The rows of one page; one query for the sessions of all of them."""
    backups = list(backups)
    sizes = _latest_sizes(backups)
    return [
        Row(
            id=backup.number,
            name=name_of(backup),
            url=url_of(backup),
            server=backup.server_id,
            profile=backup.profile_id,
            state=states.BADGES[states.standing(backup, now)],
            last=backup.updated_at,
            chain=chain(backup),
            size=backup.size,
            cost=monthly_cost(backup),
            spark=sparkline.sparkline(sizes[backup.pk]),
            verified=states.verification(backup),
        )
        for backup in backups
    ]


def _latest_sizes(backups: Sequence[BackupRecord]) -> dict[int, list[int]]:
    """Of each backup what it held after each of its latest sessions, oldest first; bytes by primary key."""
    newest_first = Window(RowNumber(), partition_by=F("backup_id"), order_by=(F("started_at").desc(), F("id").desc()))
    sized = BackupSession.objects.filter(backup__in=[backup.pk for backup in backups], total__isnull=False)
    latest = sized.annotate(place=newest_first).filter(place__lte=LATEST)
    found: dict[int, list[int]] = defaultdict(list)
    for pk, size, _ in latest.order_by("backup_id", "-place").values_list("backup_id", "total", "place"):
        found[pk].append(size or 0)
    return found


def chain(backup: BackupRecord) -> str:
    """The last full session and its increments; nothing where clients do not say what their sessions are."""
    if backup.chain_began_at is None:
        return ""
    return f"full + {backup.chain_increments}" if backup.chain_increments else "full"


def monthly_cost(backup: BackupRecord) -> str:
    """What the stored bytes cost a month, where a price is known; the backup's storage at hand."""
    cost = backup.storage.monthly_cost(backup.size)
    return "" if cost is None else f"{wording.money(float(cost), backup.storage.currency)} a month"


def troubles(backups: QuerySet[BackupRecord], now: datetime, most: int) -> list[Trouble]:
    """The first `most` of the backups, and why each is among them."""
    finished = BackupSession.objects.filter(backup=OuterRef("pk")).exclude(outcome=states.OUTCOME.RUNNING)
    message = Subquery(finished.order_by("-started_at", "-id").values("message")[:1], output_field=CharField())
    oldest_first = Coalesce("updated_at", "created_at")
    listed = backups.annotate(last_message=Coalesce(message, Value(""))).order_by(oldest_first, "number")[:most]
    found = []
    for backup in listed:
        state = states.standing(backup, now)
        why = states.reason(backup, state, backup.last_message, now)
        found.append(Trouble(name_of(backup), url_of(backup), states.BADGES[state], why))
    return found


@dataclass(frozen=True, slots=True)
class Totals:
    """All backups of an account together."""

    count: int
    size: int
    cost: str
    last: datetime | None


def totals(account: Account) -> Totals:
    """Two queries: the sums of each storage, and the prices."""
    groups = list(
        BackupRecord.objects.filter(account=account)
        .order_by()
        .values("storage")
        .annotate(count=Count("pk"), bytes=Sum("size"), last=Max("updated_at"))
    )
    storages = Storage.objects.in_bulk([group["storage"] for group in groups])
    costs: dict[str, Decimal] = defaultdict(Decimal)
    for group in groups:
        storage = storages[group["storage"]]
        cost = storage.monthly_cost(group["bytes"])
        if cost is not None:
            costs[storage.currency] += cost
    return Totals(
        count=sum(group["count"] for group in groups),
        size=sum(group["bytes"] for group in groups),
        cost=" + ".join(wording.money(float(cost), currency) for currency, cost in sorted(costs.items())),
        last=max((group["last"] for group in groups if group["last"]), default=None),
    )
