"""Profile archives."""

from __future__ import annotations

from pathlib import Path

import click

from tklbam_hub.cli import django_setup, lookup

EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def profile() -> None:
    """Profiles: the state that an appliance was in when it was installed."""


@profile.command("add")
@click.argument("profile_id")
@click.argument("archive", type=EXISTING)
@click.option("--account", help="For this account alone.")
@click.option("--signature", type=EXISTING, help="A detached, armoured signature of the archive.")
@click.option("--comment", default="")
def add(profile_id: str, archive: Path, account: str | None, signature: Path | None, comment: str) -> None:
    """Store ARCHIVE (.tar.gz of a profile's files) as the newest version of PROFILE_ID."""
    django_setup.open_database()
    from tklbam_hub.audit.log import OPERATOR
    from tklbam_hub.profiles import archives

    content = archive.read_bytes()
    owner = lookup.account(account) if account else None
    try:
        unsigned = archives.check(profile_id, content)
        made = archives.add(
            profile_id,
            content,
            OPERATOR,
            account=owner,
            signature=signature.read_text() if signature else "",
            comment=comment,
        )
    except archives.BadArchive as error:
        raise click.ClickException(f"{archive}: {error}") from None
    for name in unsigned:
        click.echo(f"warning: {name} has no signature: no client will run it", err=True)
    click.echo(f"profile {made}")


@profile.command("list")
def list_() -> None:
    """Show the archives: id, version, time, bytes, whose."""
    django_setup.open_database()
    from tklbam_hub.profiles.models import ProfileArchive

    for each in ProfileArchive.objects.defer("content").select_related("account"):
        whose = each.account.username if each.account else "everybody"
        state = "withdrawn" if each.withdrawn else "served"
        click.echo(
            f"{each.profile_id}\t{each.version}\t{each.timestamp:%Y-%m-%d %H:%M:%S}\t{each.size}\t{whose}\t{state}"
        )


@profile.command("withdraw")
@click.argument("profile_id")
@click.argument("version", type=int)
@click.option("--account", help="The account's own, not everybody's.")
def withdraw(profile_id: str, version: int, account: str | None) -> None:
    """Serve a version no longer; the one before it takes its place."""
    django_setup.open_database()
    from tklbam_hub.audit.log import OPERATOR
    from tklbam_hub.profiles import archives
    from tklbam_hub.profiles.models import ProfileArchive

    owner = lookup.account(account) if account else None
    found = ProfileArchive.objects.filter(profile_id=profile_id, version=version, account=owner).first()
    if found is None:
        raise click.ClickException(f"no version {version} of {profile_id}: `tklbam-hub profile list` shows them")
    archives.withdraw(found, OPERATOR)
