"""`tklbam restore-rollback`"""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from ..api.errors import UsageError
from ..host import Host
from .common import Output, common_options


@click.command("restore-rollback")
@click.option("--force", is_flag=True, help="Do not ask.")
@click.option("--database-option", multiple=True, metavar="ENGINE:KEY=VALUE", help="How to reach a database server.")
@click.option("--logfile", type=click.Path(path_type=Path), metavar="PATH", help="Log there.")
@common_options(json_output=True)
def command(host: Host, output: Output, **options: Any) -> int:
    """Undoes the last restore: databases, packages, files, users. Changes made since the restore are lost with it.

    Exit status: 0 done; 1 failed; 3 done but for what is named, run it again.
    """
    from ..lock import locked
    from ..rollback import restore_to_undo, run_rollback
    from .setup import prepare

    output.open_log(host, "restore", options["logfile"])
    with prepare(host, output, database_option=options["database_option"]) as run, locked(host):
        ask(restore_to_undo(host), options["force"])
        summary = run_rollback(run.context)
    if output.as_json:
        output.json(
            {
                "outcome": "incomplete" if summary.missing else "complete",
                "files": summary.files,
                "packages_removed": summary.packages_removed,
                "packages_restored": summary.packages_restored,
                "databases": summary.databases,
                "missing": summary.missing,
            }
        )
        return 3 if summary.missing else 0
    for missing in summary.missing:
        output.warn(f"not put back: {missing}")
    output.note(
        f"Put back {summary.files} paths, removed {len(summary.packages_removed)} packages"
        + (f", put back {len(summary.packages_restored)}" if summary.packages_restored else "")
        + (f", and the databases {', '.join(summary.databases)}" if summary.databases else "")
        + "."
    )
    if summary.missing:
        output.note("INCOMPLETE: repair what is named above and run `tklbam restore-rollback` again.")
    return 3 if summary.missing else 0


def ask(restored: datetime, force: bool) -> None:
    """Raises UsageError where nobody can be asked, Abort on a no."""
    if force:
        return
    if not sys.stdin or not sys.stdin.isatty():
        raise UsageError("this undoes the last restore, and there is no terminal to ask on", "Run it with --force.")
    when = restored.astimezone().strftime("%a %Y-%m-%d %H:%M")
    click.confirm(f"Undo the restore of {when}, and what was changed since in the same places?", abort=True, err=True)
