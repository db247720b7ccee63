"""API keys."""

from __future__ import annotations

import click

from tklbam_hub.cli import django_setup, lookup


@click.group()
def key() -> None:
    """API keys: what `tklbam init` asks for. One a server is best: each can be revoked alone."""


@key.command("add")
@click.argument("account")
@click.argument("label")
@click.option("--own-records-only", is_flag=True, help="Its servers see only backups that were made with this key.")
def add(account: str, label: str, own_records_only: bool) -> None:
    """Make a key for ACCOUNT and print it: this once, for it is stored as a digest."""
    django_setup.open_database()
    from tklbam_hub.accounts import keys
    from tklbam_hub.audit.log import OPERATOR

    _, text = keys.create(lookup.account(account), label, OPERATOR, own_records_only=own_records_only)
    click.echo(text)


@key.command("list")
@click.argument("account", required=False)
def list_(account: str | None) -> None:
    """Show the keys: number, account, label, state, last use."""
    django_setup.open_database()
    from tklbam_hub.accounts.models import ApiKey

    keys = ApiKey.objects.select_related("account")
    if account is not None:
        keys = keys.filter(account=lookup.account(account))
    for each in keys:
        state = "revoked" if each.revoked_at else "subkey-revoked" if each.subkey_revoked_at else "active"
        used = f"{each.last_used_at:%Y-%m-%d %H:%M} {each.last_used_from or ''}" if each.last_used_at else "never used"
        click.echo(f"{each.pk}\t{each.account.username}\t{each.label}\t{state}\t{used}")


@key.command("revoke")
@click.argument("number", type=int)
@click.option("--subkey", is_flag=True, help="Cut off the servers that were linked with it, and leave the key listed.")
def revoke(number: int, subkey: bool) -> None:
    """Revoke the key with that NUMBER, and every server that was linked with it."""
    django_setup.open_database()
    from tklbam_hub.accounts import keys
    from tklbam_hub.audit.log import OPERATOR

    keys.revoke(lookup.key(number), OPERATOR, subkey_only=subkey)
    click.echo(f"key {number} revoked")
