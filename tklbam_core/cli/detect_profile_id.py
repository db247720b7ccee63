"""`tklbam internal detect-profile-id`"""

from __future__ import annotations

import click

from ..host import Host
from .common import Output, common_options


@click.command("detect-profile-id", help="Print the id by which a profile for this system is looked up.")
@common_options(json_output=True)
def command(host: Host, output: Output) -> None:
    from ..system.identity import detect_profile_id, profile_candidates

    profile_id = detect_profile_id(host.root)
    if output.as_json:
        output.json({"profile_id": profile_id, "candidates": profile_candidates(profile_id)})
    else:
        output.result(profile_id)
