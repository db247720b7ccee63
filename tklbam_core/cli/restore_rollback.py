"""`tklbam restore-rollback`"""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from ..api.errors import UsageError
from ..host import Host
from .common import Output, common_options, count, moment


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
                "files_removed": summary.files_removed,
                "packages_removed": summary.packages_removed,
                "packages_restored": summary.packages_restored,
                "databases": summary.databases,
                "missing": summary.missing,
                "kept": str(summary.kept) if summary.kept else None,
            }
        )
        return 3 if summary.missing else 0
    if summary.kept:
        output.warn(f"what was put into the restore's directories since is now in {summary.kept}")
    for missing in summary.missing:
        output.warn(f"not put back: {missing}")
    parts = []
    if summary.files:
        parts.append(f"put back {count(summary.files, 'path')}")
    if summary.files_removed:
        parts.append(f"took away {count(summary.files_removed, 'path')}")
    if summary.packages_removed:
        parts.append(f"removed {count(len(summary.packages_removed), 'package')}")
    if summary.packages_restored:
        parts.append(f"put back {count(len(summary.packages_restored), 'package')}")
    if summary.databases:
        parts.append(f"put back the databases {', '.join(summary.databases)}")
    output.note(f"Undone: {'; '.join(parts) or 'there was nothing to put back'}.")
    if summary.missing:
        output.note("INCOMPLETE: repair what is named above and run `tklbam restore-rollback` again.")
    return 3 if summary.missing else 0


def ask(restored: datetime, force: bool) -> None:
    """Raises UsageError where nobody can be asked, Abort on a no."""
    if force:
        return
    if not sys.stdin or not sys.stdin.isatty():
        raise UsageError("this undoes the last restore, and there is no terminal to ask on", "Run it with --force.")
    click.confirm(f"Undo the restore of {moment(restored)}, and changes made since?", abort=True, err=True)
