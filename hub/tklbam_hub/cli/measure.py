"""Sizes of backups, looked up in their storage."""

from __future__ import annotations

import click

from tklbam_hub.cli import django_setup


@click.command()
@click.argument("account", required=False)
def measure(account: str | None) -> None:
    """Look up how much every backup (of ACCOUNT) holds, where this machine can: on its own paths and in S3.

    For classic clients, which never say; what ours say is corrected, too. Run it once a day, from a timer.
    """
    django_setup.open_database()
    from tklbam_hub.cli import lookup
    from tklbam_hub.records.models import BackupRecord
    from tklbam_hub.storage.measure import CannotMeasure, size_of

    backups = BackupRecord.objects.select_related("storage", "account")
    if account is not None:
        backups = backups.filter(account=lookup.account(account))
    measured = failed = 0
    for backup in backups.order_by("pk").iterator(chunk_size=500):
        try:
            size = size_of(backup.storage, backup.address)
        except CannotMeasure as error:
            failed += 1
            click.echo(f"{backup.account.username} {backup}: {error}", err=True)
            continue
        measured += 1
        if size != backup.size:
            # Of this field alone: a client may be changing the others.
            BackupRecord.objects.filter(pk=backup.pk).update(size=size)
            click.echo(f"{backup.account.username}\t{backup.number}\t{size}")
    click.echo(f"{measured} backups measured" + (f", {failed} not" if failed else ""), err=True)
