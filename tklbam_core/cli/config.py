"""`tklbam config`"""

from __future__ import annotations

import click

from ..host import Host
from .common import Output, common_options, printable


@click.command("config")
@common_options(json_output=True)
def command(host: Host, output: Output) -> None:
    """Show the configuration in force, and where each value came from."""
    from ..config import Config, Row

    rows = Config.load(host).rows()
    if output.as_json:
        output.json({row.option: {"value": row.value, "origin": row.origin} for row in rows})
        return

    def texts(row: Row) -> list[str]:
        if isinstance(row.value, list):
            return row.value or ["-"]
        if isinstance(row.value, bool):
            return ["yes" if row.value else "no"]
        return ["-" if row.value is None else str(row.value)]

    values = max(min(max(map(len, texts(row))), 30) for row in rows)
    names = max(len(row.option) for row in rows)
    for row in rows:
        first, *rest = texts(row)
        origin = row.origin if row.origin != "default" else click.style(row.origin, dim=True)
        # A long value gets a line of its own, so that 80 columns hold the rest.
        if max(len(text) for text in (first, *rest)) > values or rest:
            output.result(printable(f"{row.option:<{names}}  {'':<{values}}  {origin}"))
            for text in (first, *rest):
                output.result(printable(f"  {text}"))
        else:
            output.result(printable(f"{row.option:<{names}}  {first:<{values}}  {origin}"))
    output.note(f"\nread from {host.conf_dir}/conf and {host.conf_dir}/overrides")
