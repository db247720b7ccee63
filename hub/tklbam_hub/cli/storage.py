"""Storage back ends."""

from __future__ import annotations

from typing import Any

import click

from tklbam_hub.cli import django_setup, lookup

MODES = ("assume-role", "federation", "static")


@click.group()
def storage() -> None:
    """Where backups go."""


@storage.command("add")
@click.argument("name")
@click.argument("address")
@click.option("--account", help="For this account alone; otherwise everybody may use it.")
@click.option("--default", "is_default", is_flag=True, help="New backups go here.")
@click.option("--price", "price_per_gb_month", type=float, help="What a GB costs a month, for the console's estimates.")
@click.option("--currency", default="USD", show_default=True)
@click.option(
    "--mode", type=click.Choice(MODES), default="assume-role", show_default=True, help="S3: how keys are made."
)
@click.option("--region", default="", help="S3: the region.")
@click.option("--s3-endpoint", default="", help="S3: the server's URL, where it is not Amazon's.")
@click.option("--sts-endpoint", default="", help="S3: the URL of the server's STS, where it is not Amazon's.")
@click.option("--role-arn", default="", help="S3: the role that is assumed.")
@click.option("--external-id", default="", help="S3: the external id that the role wants.")
@click.option(
    "--access-key", default="", help="S3: the Hub's own key; its secret is asked for. Else the machine's role."
)
@click.option("--session-seconds", type=click.IntRange(min=900, max=129600), default=3600, show_default=True)
@click.option("--no-account-wide", is_flag=True, help="S3: refuse clients that do not say which backup they are about.")
@click.option("--no-delete", is_flag=True, help="S3: servers may add and read, and destroy nothing.")
def add(
    name: str, address: str, account: str | None, access_key: str, no_account_wide: bool, no_delete: bool, **rest: Any
) -> None:
    """Add a place NAME at ADDRESS: file:///srv/backups, sftp://host/backups, s3://bucket/prefix."""
    django_setup.open_database()

    from tklbam_hub.audit.log import OPERATOR
    from tklbam_hub.storage import service
    from tklbam_hub.storage.models import Storage

    owner = lookup.account(account) if account else None
    if Storage.objects.filter(name=name, account=owner).exists():
        raise click.ClickException(f"there is a storage {name} already")
    made = Storage(
        name=name,
        address=address,
        account=owner,
        access_key=access_key,
        secret_key=lookup.secret_line("Secret key") if access_key else "",
        account_wide=not no_account_wide,
        may_delete=not no_delete,
        **rest,
    )
    with lookup.judged():
        service.add(made, OPERATOR)
    click.echo(f"storage {name}")


@storage.command("set")
@click.argument("name")
@click.option("--account", help="The account's own, not everybody's.")
@click.option("--default", "is_default", is_flag=True, default=None, help="New backups go here.")
@click.option("--price", "price_per_gb_month", type=float, help="What a GB costs a month.")
@click.option("--currency")
@click.option("--mode", type=click.Choice(MODES), help="S3: how keys are made.")
@click.option("--region", help="S3: the region.")
@click.option("--s3-endpoint", help="S3: the server's URL.")
@click.option("--sts-endpoint", help="S3: the URL of the server's STS.")
@click.option("--role-arn", help="S3: the role that is assumed.")
@click.option("--external-id", help="S3: the external id that the role wants.")
@click.option("--access-key", help="S3: the Hub's own key; its secret is asked for.")
@click.option("--session-seconds", type=click.IntRange(min=900, max=129600))
@click.option("--account-wide/--no-account-wide", default=None, help="S3: serve clients that name no backup.")
@click.option("--delete/--no-delete", "may_delete", default=None, help="S3: whether servers may destroy.")
def set_(name: str, account: str | None, **said: Any) -> None:
    """Change the place NAME. Its address stays, for backups have theirs below it: add another place instead."""
    django_setup.open_database()

    from tklbam_hub.audit.log import OPERATOR
    from tklbam_hub.storage import service

    changes = {field: value for field, value in said.items() if value is not None}
    found = lookup.storage(name, account)
    if "access_key" in changes:
        changes["secret_key"] = lookup.secret_line("Secret key") if changes["access_key"] else ""
    with lookup.judged():
        service.change(found, changes, OPERATOR)
    click.echo(f"storage {name} changed")


@storage.command("remove")
@click.argument("name")
@click.option("--account", help="The account's own, not everybody's.")
def remove(name: str, account: str | None) -> None:
    """Remove the place NAME, if no backup is there."""
    django_setup.open_database()
    from django.db.models import RestrictedError

    from tklbam_hub.audit.log import OPERATOR
    from tklbam_hub.storage import service

    found = lookup.storage(name, account)
    try:
        service.remove(found, OPERATOR)
    except RestrictedError:
        raise click.ClickException(f"{found.backups.count()} backups are in {name}: it stays") from None
    click.echo(f"storage {name} removed")


@storage.command("list")
def list_() -> None:
    """Show the places: name, address, whose, and whether new backups go there."""
    django_setup.open_database()
    from tklbam_hub.storage.models import Storage

    for each in Storage.objects.select_related("account"):
        whose = each.account.username if each.account else "everybody"
        click.echo(f"{each.name}\t{each.address}\t{whose}\t{'default' if each.is_default else '-'}")


@storage.command("policy")
@click.argument("account")
@click.argument("backup", type=int)
def policy(account: str, backup: int) -> None:
    """Print the S3 policy that opens BACKUP of ACCOUNT and nothing else, to be put on keys made by hand."""
    django_setup.open_database()
    from tklbam_hub.storage import policy as policies

    record = lookup.backup(account, backup)
    click.echo(policies.for_addresses(record.storage, [record.address]))


@storage.command("keys")
@click.argument("account")
@click.argument("backup", type=int)
@click.argument("access_key")
def keys(account: str, backup: int, access_key: str) -> None:
    """Give BACKUP of ACCOUNT keys of its own (mode static); the secret is asked for, or read from standard input."""
    django_setup.open_database()
    from django.db import transaction

    from tklbam_hub.audit.log import OPERATOR, record

    found = lookup.backup(account, backup)
    found.storage_access_key, found.storage_secret_key = access_key, lookup.secret_line("Secret key")
    with transaction.atomic():
        found.save(update_fields=["storage_access_key", "storage_secret_key"])
        record(OPERATOR, "backup.keys", account=found.account, subject=f"backup {backup}", detail=access_key)
