"""A Hub's first account, storage and API key, in one go."""

from __future__ import annotations

import click

from tklbam_hub.cli import django_setup, lookup


@click.command()
@click.argument("name")
@click.argument("address")
@click.option("--email", default="", help="Where announcements go.")
@click.option("--label", default="first server", show_default=True, help="What the API key is called.")
def init(name: str, address: str, email: str, label: str) -> None:
    """Make an operator's account NAME, storage at ADDRESS (file:///srv/backups) and an API key, which is printed.

    The password is asked for, or read as one line from standard input. What is there already is left as it is.
    """
    django_setup.open_database()
    from django.db import transaction

    from tklbam_hub.accounts import keys, service
    from tklbam_hub.accounts.models import Account
    from tklbam_hub.audit.log import OPERATOR
    from tklbam_hub.storage.models import Storage
    from tklbam_hub.storage.service import add

    with lookup.judged(), transaction.atomic():
        account = Account.objects.filter(username=name).first()
        if account is None:
            account = Account(username=name, email=email, is_staff=True, is_superuser=True)
            service.create(account, lookup.secret_line("Password", confirm=True), OPERATOR)
        if not Storage.objects.filter(account=None, is_default=True).exists():
            add(Storage(name="backups", address=address, is_default=True), OPERATOR)
        _, text = keys.create(account, label, OPERATOR)
    click.echo("The API key, shown this once:", err=True)
    click.echo(text)
