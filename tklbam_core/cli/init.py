"""`tklbam init`"""

from __future__ import annotations

import click

from ..host import Host
from .common import Output, common_options


@click.command("init")
@click.argument("api_key", metavar="[API-KEY]", required=False)
@click.option("--force", is_flag=True, help="Do it again: link anew, get the profile anew. Never makes a new secret.")
@click.option(
    "--force-profile", "wanted", metavar="PROFILE", help="Use this profile: an id, `empty`, `dpkg`, or a path."
)
@click.option("--solo", is_flag=True, help="Do without a Hub: storage of your own.")
@common_options()
def command(host: Host, output: Output, api_key: str | None, force: bool, wanted: str | None, solo: bool) -> None:
    """Make the secret and its key, and get a profile: what this system was when it was installed.

    With the API-KEY of a Hub account this system is linked to it; with --solo no Hub is needed.
    """
    from ..config import Config
    from ..initialize import InitRequest, check_request, initialize
    from ..lock import locked
    from ..plugins import Plugins
    from ..registry import Registry
    from .progress import progress_bar

    config = Config.load(host)
    plugins = Plugins(config.disable_plugin, warn=lambda problem: output.warn(str(problem)))
    registry = Registry(host.registry_dir)
    request = InitRequest(api_key=api_key, solo=solo, force=force, wanted=wanted, configured=config.force_profile)
    check_request(request, registry)
    registry.make()
    with locked(host), progress_bar(output) as progress:
        done = initialize(request, host, registry, plugins, note=output.note, warn=output.warn, progress=progress)
    if done.new_secret:
        output.note(f"Made a new secret, and its key in {registry.directory / 'key'}")
    if not done.protected:
        output.note(
            "The key has no passphrase: whoever gets hold of it can read your backups. Next:\n"
            "  tklbam passphrase   protect it\n"
            "  tklbam escrow FILE  keep a copy elsewhere: without the key there is no restore"
        )
    if not config.addresses and not done.linked:
        output.note("Then: tklbam backup --address URL")
