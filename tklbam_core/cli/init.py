"""`tklbam init`"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..api.errors import UsageError
from ..host import Host
from .common import Output, common_options


@click.command("init")
@click.argument("api_key", metavar="[API-KEY]", required=False)
@click.option(
    "--api-key-file", metavar="FILE|-", help="The API key is FILE's first line: so it shows in no list of processes."
)
@click.option("--force", is_flag=True, help="Do it again: link anew, get the profile anew. Never makes a new secret.")
@click.option(
    "--force-profile", "wanted", metavar="PROFILE", help="Use this profile: an id, `empty`, `dpkg`, or a path."
)
@click.option("--solo", is_flag=True, help="Do without a Hub: storage of your own.")
@common_options()
def command(
    host: Host,
    output: Output,
    api_key: str | None,
    api_key_file: str | None,
    force: bool,
    wanted: str | None,
    solo: bool,
) -> None:
    """Make the secret and its key, and get a profile: what this system was when it was installed.

    With the API-KEY of a Hub account this system is linked to it; with --solo no Hub is needed. With neither the key is
    asked for on a terminal.
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
    if api_key_file is not None:
        if api_key is not None:
            raise UsageError("an API key and an --api-key-file are given", "Give one of the two.")
        api_key = read_api_key(api_key_file)
    elif api_key is None and not solo and registry.account is None and registry.secret is None and sys.stdin.isatty():
        text = "API key of your Hub account (none: press Enter)"
        api_key = click.prompt(text, default="", show_default=False, hide_input=True, err=True) or None
    if api_key:
        output.redactor.add(api_key)
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


def read_api_key(place: str) -> str:
    """The first line of a file, or of standard input. Raises UsageError."""
    try:
        if place == "-":
            line = sys.stdin.readline(1024)
        else:
            with open(Path(place), encoding="utf-8", errors="replace") as file:
                line = file.readline(1024)
    except OSError as error:
        raise UsageError(f"{place} can't be read: {error.strerror}", "Name the file that holds the API key.") from error
    if not line.strip():
        raise UsageError(f"there is no API key in {place}", "Its first line must be the key from your profile.")
    return line.strip()
