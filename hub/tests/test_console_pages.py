"""What the console's pages hold, and what it costs the database to make them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from django.test import Client

    from tklbam_hub.accounts.models import Account

pytestmark = pytest.mark.usefixtures("rollback")
NAMES = itertools.count()


@pytest.fixture
def account() -> Account:
    from tests import hub_fleet

    return hub_fleet.account(f"pages-{next(NAMES)}")


@pytest.fixture
def place(account: Account) -> Any:
    from tests import hub_fleet

    return hub_fleet.storage(account=account)


@pytest.fixture
def visit(account: Account) -> Iterator[Client]:
    from django.test import Client

    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(account, "tklbam_hub.accounts.signin.LimitedBackend")
    return client


def rows_of(html: str) -> list[str]:
    """The labels in the list of backups, in its order."""
    table = html.partition('<table class="backups')[2]
    return re.findall(r'class="name"><a href="[^"]+">([^<]*)</a>', table)


def queries(visit: Client, path: str) -> int:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as caught:
        assert visit.get(path).status_code == 200
    return len(caught)


def test_the_list_asks_the_database_the_same_number_of_questions_however_long_it_is(
    account: Account, place: Any, visit: Client
) -> None:
    from tests import hub_fleet

    hub_fleet.fleet(account, place)
    asked = queries(visit, "/")
    for number in range(9, 40):
        hub_fleet.backup(account, place, number, hub_fleet.daily(4), label=f"web{number}", overdue_after_hours=number)
    assert queries(visit, "/") == asked <= 16
    assert queries(visit, "/?q=web&state=good&sort=-size&page=1") <= asked + 1


def test_a_backups_page_asks_the_same_number_of_questions_however_many_sessions_it_has(
    account: Account, place: Any, visit: Client
) -> None:
    from tests import hub_fleet

    hub_fleet.backup(account, place, 1, hub_fleet.daily(3))
    hub_fleet.backup(account, place, 2, hub_fleet.daily(90))
    assert queries(visit, "/backups/1") == queries(visit, "/backups/2") <= 12


@pytest.mark.parametrize(
    ("state", "names"),
    [
        ("failed", ["shop"]),
        ("overdue", ["wiki"]),
        ("incomplete", ["crm"]),
        ("running", ["files"]),
        ("new", ["Backup 6"]),
        ("attention", ["crm", "shop", "wiki"]),
        ("good", ["www.example.org", "old appliance"]),
    ],
)
def test_each_state_is_found_and_shown(
    account: Account, place: Any, visit: Client, state: str, names: list[str]
) -> None:
    from tests import hub_fleet

    hub_fleet.fleet(account, place)
    html = visit.get(f"/?state={state}").content.decode()
    found = [name for name in rows_of(html) if "script" not in name]
    assert sorted(found) == sorted(names)


def test_every_backup_is_in_exactly_one_state_and_in_the_one_that_its_badge_says(account: Account, place: Any) -> None:
    from django.utils import timezone

    from tests import hub_fleet
    from tklbam_hub.console import states
    from tklbam_hub.records.models import BackupRecord

    now = timezone.now()
    times = (None, now - timedelta(hours=1), now - timedelta(days=9))
    choices = itertools.product(times, (True, False), ("", "running", "complete", "incomplete", "failed"), (None, 0, 1))
    for number, (updated, running, outcome, hours) in enumerate(choices, 1):
        hub_fleet.backup(
            account,
            place,
            number,
            updated_at=updated,
            in_progress=running,
            last_outcome=outcome,
            overdue_after_hours=hours,
            created_at=now - timedelta(days=number % 5),
        )
    backups = BackupRecord.objects.filter(account=account).select_related("account")
    said = {backup.number: states.standing(backup, now) for backup in backups}
    assert set(said.values()) == set(states.Standing)
    picked = [
        (number, standing)
        for standing, condition in states.conditions(account, now).items()
        for number in backups.filter(condition).values_list("number", flat=True)
    ]
    assert sorted(picked) == sorted(said.items())


def test_what_is_overdue_or_failed_stands_at_the_top_with_its_reason(
    account: Account, place: Any, visit: Client
) -> None:
    from tests import hub_fleet

    hub_fleet.fleet(account, place)
    html = visit.get("/").content.decode()
    above, _, _ = html.partition('<form class="filters"')
    assert "3 backups need attention" in above
    assert "no space left on the target: 3.0 MB are free. Last good session 27 h ago." in above
    assert "Last good session 6 days ago, expected every 2 days." in above
    assert "mysql: access denied for &#x27;backup&#x27;@&#x27;localhost&#x27;." in above


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("q=EXAMPLE", ["www.example.org"]),
        ("q=%234", ["crm"]),
        ("q=mediawiki", ["wiki"]),
        ("q=srv-00003", ["shop"]),
        ("q=%25", []),
        ("q=%00", None),
        ("profile=debian-12&sort=label", ["crm", "shop"]),
        ("sort=size&q=debian-12", ["crm", "shop"]),
        ("page=99999&sort=nonsense&state=nonsense", None),
        ("q=99999999999999999999999", []),
    ],
)
def test_the_list_is_searched_and_sorted(
    account: Account, place: Any, visit: Client, query: str, names: list[str] | None
) -> None:
    from tests import hub_fleet

    hub_fleet.fleet(account, place)
    found = rows_of(visit.get(f"/?{query}").content.decode())
    assert found == names if names is not None else len(found) == 8


def test_long_lists_come_in_pages(account: Account, place: Any, visit: Client) -> None:
    from tests import hub_fleet

    for number in range(1, 121):
        hub_fleet.backup(account, place, number, label=f"web{number:03}")
    pages = [rows_of(visit.get(f"/?sort=label&page={page}").content.decode()) for page in (1, 2, 3)]
    assert list(itertools.chain(*pages)) == [f"web{number:03}" for number in range(1, 121)]
    html = visit.get("/?sort=label&page=2&q=web").content.decode()
    assert "51–100 of 120" in html
    assert 'href="/?sort=label&amp;page=3&amp;q=web" rel="next"' in html


def test_costs_are_estimated_where_a_price_is_known(account: Account, visit: Client) -> None:
    from decimal import Decimal

    from tests import hub_fleet

    dollars = hub_fleet.storage(account=account, price_per_gb_month=Decimal("0.05"))
    euros = hub_fleet.storage(account=account, price_per_gb_month=Decimal("1"), currency="EUR", is_default=False)
    free = hub_fleet.storage(account=account, price_per_gb_month=None, is_default=False)
    for number, place in enumerate((dollars, dollars, euros, free), 1):
        hub_fleet.backup(account, place, number, [hub_fleet.Ran(1, "full", total=1000)])
    html = visit.get("/").content.decode()
    # 1000 MB of 2^20 bytes are 1.048576 GB, as storage is sold.
    assert "€1.05 + $0.10" in html
    assert html.count("$0.05 a month") == 2
    assert html.count("a month") == 4


def test_charts_show_every_session_and_say_so_in_a_table(account: Account, place: Any, visit: Client) -> None:
    from tests import hub_fleet

    lost = hub_fleet.Ran(1, "full", "failed", None, None, "the disk is gone")
    hub_fleet.backup(account, place, 1, [*hub_fleet.daily(29), lost])
    html = visit.get("/backups/1").content.decode()
    broad = html.partition('<div class="chart broad">')[2].partition("</svg>")[0]
    assert broad.count("<circle") == 29
    bars = html.partition('id="added"')[2].partition("</svg>")[0]
    assert [bars.count(f'class="{kind}"') for kind in ("full", "part", "lost")] == [2, 27, 1]
    table = html.partition("<details><summary>As a table")[2].partition("</table>")[0]
    assert table.count("<tr>") == 31
    assert "style=" not in html


def test_a_key_is_shown_once_and_revoked_for_good(account: Account, visit: Client) -> None:
    from tklbam_hub.accounts import keys

    html = visit.post("/keys", {"label": "web\u202e\nservers", "own_records_only": "on"}).content.decode()
    text = re.findall(r"<code>([A-Z2-7]+)</code>", html)[0]
    made = keys.find_by_api_key(text)
    assert made is not None
    assert (made.account, made.label, made.own_records_only) == (account, "web servers", True)
    assert text not in visit.get("/keys").content.decode()
    assert "stop reaching the Hub at once" in visit.get(f"/keys/{made.pk}/revoke").content.decode()
    assert visit.post(f"/keys/{made.pk}/revoke").status_code == 302
    made.refresh_from_db()
    assert made.revoked_at is not None
    assert visit.get(f"/keys/{made.pk}/revoke").status_code == 404


def test_password_email_and_notifications_are_changed(account: Account, visit: Client) -> None:
    from tests import hub_fleet

    wrong = {"form": "email", "email-email": "new@example.org", "email-password": "guessed"}
    assert "That is not your password." in visit.post("/account", wrong).content.decode()
    short = {"form": "password", "password-old_password": hub_fleet.PASSWORD}
    short |= {"password-new_password1": "short", "password-new_password2": "short"}
    assert "too short" in visit.post("/account", short).content.decode()
    unusable = {"form": "notifications", "notifications-overdue_after_hours": "24"}
    for url in ("javascript:alert(1)", "https://", "ftp://x/y", "https://[x/"):
        html = visit.post("/account", unusable | {"notifications-webhook_url": url}).content.decode()
        assert "No announcement would arrive there" in html, url
    account.refresh_from_db()
    assert (account.email, account.overdue_after_hours) == (f"{account.username}@example.org", 48)

    assert visit.post("/account", wrong | {"email-password": hub_fleet.PASSWORD}).status_code == 302
    told = unusable | {"notifications-webhook_url": "https://chat.example.org/hooks/1"}
    assert visit.post("/account", told).status_code == 302
    fresh = "another horse, another battery"
    chosen = short | {"password-new_password1": fresh, "password-new_password2": fresh}
    assert visit.post("/account", chosen).status_code == 302
    account.refresh_from_db()
    assert account.email == "new@example.org"
    assert (account.overdue_after_hours, account.notify_email) == (24, False)
    assert account.webhook_url == "https://chat.example.org/hooks/1"
    assert account.check_password(fresh)
    # This browser stays signed in.
    assert "The password is changed." in visit.get("/account").content.decode()


def test_an_operator_uploads_and_withdraws_profiles(archive: bytes, visit: Client, account: Account) -> None:
    from django.core.files.uploadedfile import SimpleUploadedFile

    from tklbam_hub.profiles.models import ProfileArchive

    def upload(content: bytes) -> Any:
        file = SimpleUploadedFile("profile.tar.gz", content)
        return visit.post("/profiles/upload", {"profile_id": "debian-99", "archive": file, "comment": "of a test"})

    assert upload(archive).status_code == 403
    assert visit.get("/profiles/upload").status_code == 403
    account.is_staff = True
    account.save()
    assert "not a .tar.gz" in upload(b"no archive").content.decode()
    for version in (1, 2):
        assert upload(archive).status_code == 302
        assert f"debian-99 v{version} is served from now on." in visit.get("/profiles").content.decode()
    second = ProfileArchive.objects.get(profile_id="debian-99", version=2)
    answer = visit.get(f"/profiles/version/{second.pk}")
    assert answer.content == archive
    assert answer.headers["Content-Disposition"] == 'attachment; filename="debian-99-v2.tar.gz"'
    assert visit.post(f"/profiles/version/{second.pk}/withdraw").status_code == 302
    html = visit.get("/profiles/id/debian-99").content.decode()
    assert re.findall(r"(Served|Withdrawn|Older)</span>", html) == ["Withdrawn", "Served"]


def test_empty_pages_say_what_to_do_next(visit: Client, make_account: Callable[..., Account]) -> None:
    assert "tklbam init APIKEY" in visit.get("/").content.decode()
    assert "Make one, then link a server" in visit.get("/keys").content.decode()
    assert "Nothing fits this search." in visit.get("/activity?q=nothing").content.decode()
