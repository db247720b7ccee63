"""The first page: what needs attention, what there is in all, and the list."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from tklbam_hub.console import commands, listing, paging, states
from tklbam_hub.console.reader import account_of, page
from tklbam_hub.records.models import BackupRecord

MOST_TROUBLES = 5


@dataclass(frozen=True, slots=True)
class Column:
    """A column's head; `sort` is what a click on it asks for, `sorted` how it is sorted now (`aria-sort`)."""

    title: str
    sort: str = ""
    sorted: str = ""
    right: bool = False


@require_safe
@page
def overview(request: HttpRequest) -> HttpResponse:
    account = account_of(request)
    now = timezone.now()
    wanted = listing.Wanted.read(request.GET)
    totals = listing.totals(account)
    context = {
        "section": "backups",
        "totals": totals,
        "filter": wanted,
        "link": commands.link(settings.PUBLIC_URL, "APIKEY"),
        "has_keys": account.api_keys.filter(revoked_at=None).exists() if not totals.count else True,
    }
    if totals.count:
        backups = listing.listed(account)
        conditions = states.conditions(account, now)
        troubled = backups.filter(states.attention(conditions))
        failed = Count("pk", filter=conditions[states.Standing.FAILED] | conditions[states.Standing.OVERDUE])
        counts = troubled.order_by().aggregate(all=Count("pk"), bad=failed)
        listed = paging.page_of(request, wanted.select(backups, conditions))
        context |= paging.context(listed) | {
            "troubles": listing.troubles(troubled, now, MOST_TROUBLES) if counts["all"] else [],
            "trouble_count": counts["all"],
            "any_bad": bool(counts["bad"]),
            "rows": listing.rows(listed, now),
            "columns": _columns(wanted.sort),
            "states": listing.STATES.items(),
            "sorts": [(value, title) for value, (title, _) in listing.SORTS.items()],
            "profiles": list(
                BackupRecord.objects.filter(account=account)
                .order_by("profile_id")
                .values_list("profile_id", flat=True)
                .distinct()
            ),
        }
    return render(request, "console/backups.html", context)


def _columns(sort: str) -> list[Column]:
    heads = [
        Column("Backup", "label"),
        Column("State"),
        Column("Last session", "-last"),
        Column("Size", "-size", right=True),
        Column("Over time"),
        Column("Verified"),
    ]
    return [_sorted(head, sort) for head in heads]


def _sorted(head: Column, sort: str) -> Column:
    """The column with its arrow, and a click that turns the order around."""
    if not head.sort or sort.removeprefix("-") != head.sort.removeprefix("-"):
        return head
    now = "descending" if sort.startswith("-") else "ascending"
    turned = sort.removeprefix("-") if sort.startswith("-") else f"-{sort}"
    return Column(head.title, turned, now, head.right)
