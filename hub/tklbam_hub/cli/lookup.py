"""Finding what a command's arguments name, asking for secrets, and telling what was refused."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tklbam_hub.accounts.models import Account, ApiKey
    from tklbam_hub.records.models import BackupRecord
    from tklbam_hub.storage.models import Storage


def account(name: str) -> Account:
    from tklbam_hub.accounts.models import Account

    found = Account.objects.filter(username=name).first()
    if found is None:
        raise click.ClickException(f"no account {name}: `tklbam-hub user list` shows them")
    return found


def key(number: int) -> ApiKey:
    from tklbam_hub.accounts.models import ApiKey

    found = ApiKey.objects.filter(pk=number).select_related("account").first()
    if found is None:
        raise click.ClickException(f"no key {number}: `tklbam-hub key list` shows them")
    return found


def backup(name: str, number: int) -> BackupRecord:
    from tklbam_hub.records.models import BackupRecord

    records = BackupRecord.objects.select_related("storage", "account")
    found = records.filter(account=account(name), number=number).first()
    if found is None:
        raise click.ClickException(f"account {name} has no backup {number}")
    return found


def storage(name: str, owner: str | None) -> Storage:
    from tklbam_hub.storage.models import Storage

    found = Storage.objects.filter(name=name, account=account(owner) if owner else None).first()
    if found is None:
        raise click.ClickException(f"no storage {name}: `tklbam-hub storage list` shows them")
    return found


@contextlib.contextmanager
def judged() -> Iterator[None]:
    """Tells in a line what the models and the addresses of storage refuse."""
    from django.core.exceptions import ValidationError

    from tklbam_hub.storage.places import BadAddress

    try:
        yield
    except BadAddress as error:
        raise click.ClickException(str(error)) from None
    except ValidationError as error:
        raise click.ClickException(" ".join(error.messages)) from None


def secret_line(prompt: str, *, confirm: bool = False) -> str:
    """A secret from the terminal, else one line of standard input: never from the command line, where others see it."""
    if sys.stdin.isatty():
        return str(click.prompt(prompt, hide_input=True, confirmation_prompt=confirm))
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise click.ClickException(f"{prompt}: expected on standard input")
    return line
