"""Announcements, from a timer."""

from __future__ import annotations

import fcntl

import click

from tklbam_hub.cli import django_setup


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be announced, and announce nothing.")
def notify(dry_run: bool) -> None:
    """Announce overdue and failed backups by e-mail and webhook. Run it from a timer, on one machine of a Hub."""
    django_setup.open_database()
    from django.conf import settings

    from tklbam_hub.notices import delivery, occasions
    from tklbam_hub.throttle import limits

    if dry_run:
        for found in occasions.find():
            click.echo(f"{found.kind}\t{found.backup.account.username}\t{found.backup}")
        return
    with open(settings.STATE / "notify.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            click.echo("another run is at it", err=True)
            return
        for found in list(occasions.find()):
            occasions.note(found)
        sent, failed = delivery.deliver()
        limits.forget_old()
    click.echo(f"{sent} announcements sent")
    if failed:
        raise click.ClickException(f"{failed} announcements did not arrive; they are tried again at the next runs")
