"""tklbam-hub: runs a Hub and manages its accounts, keys, storage and profiles."""

from __future__ import annotations

import sys

import click

from tklbam_hub import __version__
from tklbam_hub.cli import django_setup
from tklbam_hub.cli.init import init
from tklbam_hub.cli.key import key
from tklbam_hub.cli.measure import measure
from tklbam_hub.cli.notify import notify
from tklbam_hub.cli.profile import profile
from tklbam_hub.cli.serve import serve
from tklbam_hub.cli.storage import storage
from tklbam_hub.cli.user import user


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="tklbam-hub", message="tklbam-hub %(version)s")
def main() -> None:
    """A Hub of one's own for TKLBAM.

    Its state (secrets, and the SQLite database unless DATABASE_URL names another) is in $TKLBAM_HUB_STATE, else
    /var/lib/tklbam-hub for root and ~/.local/share/tklbam-hub for others.
    """


@main.command()
def migrate() -> None:
    """Make or update the database; `serve` does so by itself."""
    django_setup.open_database()
    click.echo("the database is up to date")


@main.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True}, add_help_option=False)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def manage(words: tuple[str, ...]) -> None:
    """Run one of Django's own commands: `tklbam-hub manage check --deploy`."""
    django_setup.ready()
    from django.core.management import execute_from_command_line

    execute_from_command_line(["tklbam-hub manage", *words])


for command in (init, serve, user, key, storage, profile, notify, measure):
    main.add_command(command)

if __name__ == "__main__":
    sys.exit(main())
