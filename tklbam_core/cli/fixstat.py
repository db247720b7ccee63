"""`tklbam internal fixstat`: applies ownership and modes from a delta."""

from __future__ import annotations

import click

from ..api.errors import UsageError
from ..host import Host
from .common import Output, common_options


@click.command(
    context_settings={"help_option_names": ["-h", "--help"], "allow_interspersed_args": False},
    short_help="Apply ownership and modes from a delta",
)
@click.option("-u", "--uid-map", default="", metavar="OLD,NEW:…", help="User ids in the delta that are others here.")
@click.option("-g", "--gid-map", default="", metavar="OLD,NEW:…", help="Group ids in the delta that are others here.")
@click.option("-s", "--simulate", is_flag=True, help="Print what would be done, as shell lines; do nothing.")
@click.option("-v", "--verbose", is_flag=True, help="Print what is done, as shell lines.")
@click.argument("delta", metavar="DELTA|-")
@click.argument("paths", nargs=-1, type=click.UNPROCESSED, metavar="[-]PATH…")
@common_options()
def command(
    host: Host,
    output: Output,
    uid_map: str,
    gid_map: str,
    simulate: bool,
    verbose: bool,
    delta: str,
    paths: tuple[str, ...],
) -> int:
    """Give the paths of a delta the owners and modes it has for them.

    Directories that are missing are made. With PATHs, only those (and what is below them) are taken; a leading `-`
    leaves one out. Options come before DELTA.
    """
    from ..delta.apply import fix_stats, simulate_fix_stats
    from ..delta.metadata import IdMaps
    from .applying import read_parts, tell

    maps = IdMaps(parse_id_map(uid_map), parse_id_map(gid_map))
    status = 0
    for part in read_parts(delta, paths, host.root):
        if simulate or verbose:
            for line in simulate_fix_stats(part.changes, part.root, maps=maps, takes=part.takes, shown=part.shown):
                output.result(line)
        if not simulate:
            report = fix_stats(part.changes, part.root, maps=maps, takes=part.takes)
            status = max(status, tell(report, output))
    return status


def parse_id_map(text: str) -> dict[int, int]:
    """`OLD,NEW:OLD,NEW…`, as `internal merge-userdb` prints it; empty for no map. Raises UsageError."""
    found = {}
    for pair in filter(None, text.strip().split(":")):
        old, comma, new = pair.partition(",")
        if not comma or not all(number.isascii() and number.isdigit() for number in (old, new)):
            raise UsageError(f"{pair!r} is no pair of ids", "Write a map as OLD,NEW:OLD,NEW with numbers.")
        found[int(old)] = int(new)
    return found
