"""`tklbam escrow`"""

from __future__ import annotations

import click

from ..api.errors import PluginError, UsageError
from ..api.models import EscrowRequest
from ..host import Host
from .common import Output, common_options, complete_path


@click.command("escrow")
@click.argument("keyfile", metavar="KEYFILE|-", shell_complete=complete_path)
@click.option("-P", "--no-passphrase", is_flag=True, help="Write it with no passphrase.")
@click.option("-R", "--random-passphrase", is_flag=True, help="Make a random passphrase and print it.")
@click.option(
    "--format",
    "packet_format",
    type=click.Choice(["1", "2"]),
    default="2",
    show_default=True,
    help="1 for the classic tool.",
)
@click.option("--force", is_flag=True, help="Write over a file that exists.")
@common_options()
def command(
    host: Host,
    output: Output,
    keyfile: str,
    no_passphrase: bool,
    random_passphrase: bool,
    packet_format: str,
    force: bool,
) -> None:
    """Write this system's key, protected by a passphrase of its own, to a safe place.

    KEYFILE is a file, - for standard output, or a place that a plugin keeps keys in. With it and its passphrase the
    backups can be restored anywhere; without any copy of the key, nowhere.
    """
    from ..hub_account import hub_account
    from ..keys import packet
    from ..registry import Registry
    from . import passphrases
    from .light import light_plugins

    if no_passphrase and random_passphrase:
        raise UsageError("-P and -R exclude each other", "Give one of them, or none to be asked.")
    registry = Registry(host.registry_dir)
    secret, backup = registry.require_secret(), registry.hub_backup
    if no_passphrase:
        passphrase = ""
    else:
        passphrase = passphrases.random_passphrase() if random_passphrase else passphrases.new_passphrase()
    plugins = light_plugins(host, output)
    place = plugins.first(
        "escrow",
        "tklbam_escrow_store",
        request=EscrowRequest(
            place=keyfile,
            backup_id=backup.backup_id if backup is not None else None,
            overwrite=force,
            account=hub_account(host, registry),
        ),
        packet=packet.seal(secret, passphrase, int(packet_format)),
    )
    if place is None:
        raise PluginError(
            f"no plugin keeps keys in {keyfile}", f"Install the plugin for it; for a file of that name say ./{keyfile}"
        )
    if random_passphrase:
        # Standard output may be the key itself; the passphrase must not end up in the same file.
        click.echo(passphrase, err=keyfile == "-")
    output.note(f"the key was written to {place}")
    if not passphrase:
        output.note("it has no passphrase: whoever gets hold of it can read your backups")
