"""`tklbam internal newpkgs`"""

from __future__ import annotations

from pathlib import Path

import click

from ..host import Host
from .common import Output, common_options


@click.command("newpkgs")
@click.argument("base", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("packages", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False)
@common_options(json_output=True)
def command(host: Host, output: Output, base: Path, packages: Path | None) -> None:
    """Print the packages that are not in the list BASE: of the list PACKAGES, else of those installed."""
    from ..system.dpkg import installed
    from ..system.packages import new_packages, read_package_list

    present = read_package_list(packages) if packages is not None else list(installed(host.root))
    names = new_packages(present, read_package_list(base))
    if output.as_json:
        output.json(names)
        return
    for name in names:
        output.result(name)
