"""`tklbam internal merge-userdb`"""

from __future__ import annotations

from pathlib import Path

import click

from ..host import Host
from .common import Output, common_options

_IN = click.Path(exists=True, dir_okay=False, path_type=Path)
_OUT = click.Path(dir_okay=False, path_type=Path)


@click.command("merge-userdb")
@click.argument("old_passwd", type=_IN)
@click.argument("old_group", type=_IN)
@click.argument("new_passwd", type=_IN)
@click.argument("new_group", type=_IN)
@click.argument("out_passwd", type=_OUT)
@click.argument("out_group", type=_OUT)
@common_options()
def command(
    host: Host,
    output: Output,
    old_passwd: Path,
    old_group: Path,
    new_passwd: Path,
    new_group: Path,
    out_passwd: Path,
    out_group: Path,
) -> None:
    """Merge the old system's users and groups into the new one's, and print the uid map, then the gid map.

    A map is `old,new:old,new`, of the ids that differ; its line is empty where none does.
    """
    from ..api.files import atomic_write
    from ..system.userdb_files import parse_group, parse_passwd
    from ..system.userdb_io import read_policy
    from ..system.users import UserDatabase, format_map, merge

    old = UserDatabase(parse_passwd(old_passwd.read_bytes()), parse_group(old_group.read_bytes()), source="old")
    new = UserDatabase(
        parse_passwd(new_passwd.read_bytes()),
        parse_group(new_group.read_bytes()),
        policy=read_policy(host),
        source="new",
    )
    result = merge(old, new)
    for path, table in ((out_passwd, result.database.passwd), (out_group, result.database.group)):
        with atomic_write(path, 0o644) as file:
            file.write(table.to_bytes())
    output.result(format_map(result.uid_map))
    output.result(format_map(result.gid_map))
    for line in result.report:
        output.note(line)
