"""`tklbam internal newpkgs-install`"""

from __future__ import annotations

from typing import TextIO

import click

from ..host import Host
from .common import Output, common_options


@click.command("newpkgs-install")
@click.argument("packages", metavar="[PACKAGE]...", nargs=-1)
@click.option(
    "-i", "--input", "file", type=click.File(), metavar="FILE", help="Read packages, one a line (- for stdin)."
)
@click.option("-s", "--simulate", is_flag=True, help="Print what would be done, and do nothing.")
@click.option("-v", "--verbose", is_flag=True, help="Say why packages are left out, and what apt is doing.")
@common_options()
def command(
    host: Host, output: Output, packages: tuple[str, ...], file: TextIO | None, simulate: bool, verbose: bool
) -> int:
    """Install those of the packages that can be had here; nothing that is installed is upgraded or removed."""
    from ..api.errors import UsageError
    from ..api.progress import ProgressEvent, silent
    from ..system.apt import unusable_reason, update
    from ..system.apt_install import install
    from ..system.apt_plan import plan_install
    from ..system.packages import parse_package_list

    names = parse_package_list(packages, "command line")
    if file is not None:
        names += parse_package_list(file, file.name)
    if not names:
        raise UsageError("no package is named", "Name packages, or a file of them with -i.")

    if not simulate and unusable_reason(host) is None:
        for warning in update(host):
            output.warn(warning)
    plan = plan_install(host, names)
    for line in plan.command_lines():
        output.result(line)
    for line in plan.explanations() if verbose else plan.notices:
        output.note(line)
    if verbose and plan.installed:
        output.note(f"installed already: {' '.join(plan.installed)}")
    if simulate:
        return 0

    def show(event: ProgressEvent) -> None:
        output.note(f"{event.done:3d} % {event.item}")

    report = install(host, plan, show if verbose else silent)
    for warning in report.warnings:
        output.warn(warning)
    for each in report.failed:
        output.warn(f"{each.name} could not be installed: {each.reason}")
    return 1 if report.failed else 0
