"""Accounts."""

from __future__ import annotations

import click

from tklbam_hub.cli import django_setup, lookup


@click.group()
def user() -> None:
    """Accounts: those who sign in and own backups."""


@user.command("add")
@click.argument("name")
@click.option("--email", default="", help="Where announcements go.")
@click.option("--admin", is_flag=True, help="May see and manage every account.")
@click.option("--no-password", is_flag=True, help="The account has API keys alone and can't sign in.")
@click.option("--max-backups", type=click.IntRange(min=0), help="How many backups the account may have.")
@click.option("--max-gb", type=click.FloatRange(min=0), help="How much they may hold before new ones are refused.")
def add(name: str, email: str, admin: bool, no_password: bool, max_backups: int | None, max_gb: float | None) -> None:
    """Make an account NAME. The password is asked for, or read as one line from standard input."""
    django_setup.open_database()

    from tklbam_hub.accounts import service
    from tklbam_hub.accounts.models import Account
    from tklbam_hub.audit.log import OPERATOR

    account = Account(
        username=name,
        email=email,
        is_staff=admin,
        is_superuser=admin,
        max_backups=max_backups,
        max_bytes=None if max_gb is None else int(max_gb * 10**9),
    )
    with lookup.judged():
        service.create(account, None if no_password else lookup.secret_line("Password", confirm=True), OPERATOR)
    click.echo(f"account {name}")


@user.command("list")
def list_() -> None:
    """Show the accounts."""
    django_setup.open_database()
    from django.db.models import Count, Sum

    from tklbam_hub.accounts.models import Account

    for account in Account.objects.annotate(number=Count("backups"), held=Sum("backups__size")).order_by("id"):
        words = [
            account.username,
            account.email or "-",
            "admin" if account.is_staff else "user",
            "active" if account.is_active else "inactive",
            "subscribed" if account.subscribed else "not-subscribed",
            f"{account.number} backups",
            f"{(account.held or 0) / 10**9:.2f} GB",
        ]
        click.echo("\t".join(words))


@user.command("password")
@click.argument("name")
def password(name: str) -> None:
    """Set the password of NAME: asked for, or read as one line from standard input."""
    django_setup.open_database()

    from tklbam_hub.accounts import service
    from tklbam_hub.audit.log import OPERATOR

    account = lookup.account(name)
    with lookup.judged():
        service.set_password(account, lookup.secret_line("Password", confirm=True), OPERATOR)


@user.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Ask nothing.")
def remove(name: str, yes: bool) -> None:
    """Remove the account NAME with its keys, records, sessions and key packets. What is stored stays where it is."""
    django_setup.open_database()
    from tklbam_hub.accounts import service
    from tklbam_hub.audit.log import OPERATOR

    account = lookup.account(name)
    if not yes:
        click.confirm(f"Remove {name} and the records of {account.backups.count()} backups?", abort=True)
    service.remove(account, OPERATOR)
    click.echo(f"account {name} removed")


@user.command("set")
@click.argument("name")
@click.option("--email", help="Where announcements go.")
@click.option("--active/--inactive", default=None, help="Inactive accounts can do nothing.")
@click.option("--subscribed/--not-subscribed", default=None, help="Without a subscription: restores, no backups.")
@click.option("--admin/--no-admin", default=None, help="May see and manage every account.")
@click.option("--max-backups", type=click.IntRange(min=-1), help="How many backups; -1: no limit.")
@click.option("--max-gb", type=click.FloatRange(min=-1), help="How much they may hold; -1: no limit.")
@click.option("--overdue-after", type=click.IntRange(min=0), metavar="HOURS", help="0: never.")
def set_(name: str, **changes: object) -> None:
    """Change the account NAME."""
    django_setup.open_database()
    from django.db import transaction

    from tklbam_hub.audit.log import OPERATOR, record

    account = lookup.account(name)
    said = {option: value for option, value in changes.items() if value is not None}
    fields = {"active": "is_active", "admin": "is_staff", "overdue_after": "overdue_after_hours"}
    for option, value in said.items():
        if option == "max_gb":
            assert isinstance(value, float)
            account.max_bytes = None if value < 0 else int(value * 10**9)
        elif option == "max_backups":
            assert isinstance(value, int)
            account.max_backups = None if value < 0 else value
        else:
            setattr(account, fields.get(option, option), value)
    account.is_superuser = account.is_staff
    with lookup.judged():
        account.full_clean(exclude=["password"])
    with transaction.atomic():
        account.save()
        told = ", ".join(f"{option}={value}" for option, value in said.items())
        record(OPERATOR, "account.change", account=account, subject=name, detail=told)
