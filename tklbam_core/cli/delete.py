"""`tklbam internal delete`: applies the deletions of a delta."""

from __future__ import annotations

import click

from ..host import Host
from .common import Output, common_options


@click.command(
    context_settings={"help_option_names": ["-h", "--help"], "allow_interspersed_args": False},
    short_help="Apply the deletions of a delta",
)
@click.option("-s", "--simulate", is_flag=True, help="Print what would be done, as shell lines; do nothing.")
@click.option("-v", "--verbose", is_flag=True, help="Print what is done, as shell lines.")
@click.argument("delta", metavar="DELTA|-")
@click.argument("paths", nargs=-1, type=click.UNPROCESSED, metavar="[-]PATH…")
@common_options()
def command(host: Host, output: Output, simulate: bool, verbose: bool, delta: str, paths: tuple[str, ...]) -> int:
    """Remove the paths that a delta says are gone; a directory only where nothing is left in it.

    With PATHs, only those (and what is below them) are taken; a leading `-` leaves one out. Options come before DELTA.
    """
    from ..delta.apply import delete, simulate_delete
    from .applying import read_parts, tell

    status = 0
    for part in read_parts(delta, paths, host.root):
        if simulate or verbose:
            for line in simulate_delete(part.changes, part.root, takes=part.takes, shown=part.shown):
                output.result(line)
        if not simulate:
            status = max(status, tell(delete(part.changes, part.root, takes=part.takes), output))
    return status
