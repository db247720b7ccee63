"""`tklbam passphrase`"""

from __future__ import annotations

import click

from ..host import Host
from .common import Output, common_options


@click.command("passphrase")
@click.option("--random", "at_random", is_flag=True, help="Make a random passphrase and print it.")
@common_options()
def command(host: Host, output: Output, at_random: bool) -> None:
    """Change the passphrase that protects this system's key.

    It is asked for twice; where standard input is not a terminal, one line is read from it. An empty one takes the
    protection away. The old one is not needed. Keys kept elsewhere keep their own.
    """
    from ..hub import change_key
    from ..keys import packet
    from ..registry import Registry
    from .light import light_plugins
    from .passphrases import new_passphrase, random_passphrase

    registry = Registry(host.registry_dir)
    secret = registry.require_secret()
    passphrase = random_passphrase() if at_random else new_passphrase()
    change_key(light_plugins(host, output), host, registry, packet.seal(secret, passphrase), output.warn)
    if at_random:
        output.reveal(passphrase)
    output.note("the key has a new passphrase" if passphrase else "the key has no passphrase: anyone can use it")
