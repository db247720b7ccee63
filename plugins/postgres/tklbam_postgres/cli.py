"""`tklbam internal pgsql2fs` and `fs2pgsql`: a server's databases to a directory and back, by libpq's environment."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tklbam_core.api import DatabaseReport, Progress

SETTINGS = {"help_option_names": ["-h", "--help"]}


class LimitsCommand(click.Command):
    """A command whose words may begin with a dash, as limits do: only its own flags are options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        takes_value = {name: not getattr(each, "is_flag", False) for each in self.get_params(ctx) for name in each.opts}
        options, words = [], []
        rest = iter(args)
        for word in rest:
            if word.startswith("--") or word in takes_value:
                options.append(word)
                if takes_value.get(word, False):
                    options += [value for value in [next(rest, None)] if value is not None]
            else:
                words.append(word)
        return super().parse_args(ctx, [*options, "--", *words])


def common_options(function: Any) -> Any:
    """Adds the options that every command takes."""
    for option in (
        click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback when something fails."),
        click.option("-q", "--quiet", is_flag=True, help="Say nothing unless something is wrong."),
        click.option(
            "--root",
            metavar="DIR",
            default="/",
            type=click.Path(path_type=Path, exists=True, file_okay=False),
            help="Treat DIR as the system: its servers are not looked for.",
        ),
        click.option("-v", "--verbose", is_flag=True, help="Say what is at hand."),
    ):
        function = option(function)
    return function


@click.command("pgsql2fs", cls=LimitsCommand, context_settings=SETTINGS)
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT")
@click.argument("limits", nargs=-1, metavar="[-]DB[/TABLE]…", type=click.UNPROCESSED)
@common_options
def pgsql2fs(out: Path, limits: tuple[str, ...], verbose: bool, root: Path, quiet: bool) -> int:
    """Dumps PostgreSQL databases into the directory OUT.

    The server is the one that libpq's environment names (PGHOST, PGPORT, PGUSER, PGPASSWORD, PGPASSFILE), else every
    cluster of this host. LIMITS: databases and tables to take, or with - in front to leave out.
    """
    from tklbam_core.api import DatabaseError, DumpRequest, Limits, UsageError

    from .backup import dump
    from .layout import DIRECTORY

    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty", "Name a directory that is empty or does not exist.")
    out.parent.mkdir(parents=True, exist_ok=True)
    # Made beside, for the dump is called what it is called in a backup.
    with tempfile.TemporaryDirectory(prefix=".pgsql2fs-", dir=out.parent) as scratch:
        request = DumpRequest(
            extras=Path(scratch),
            limits=Limits.parse(limits, "pgsql", prefixed=False),
            options=from_environment(),
            root=root,
            progress=_progress(verbose),
        )
        report = dump(request)
        if report is None:
            raise DatabaseError(
                "there is no PostgreSQL on this host", "Name a server with PGHOST (a host or a socket's directory)."
            )
        if out.exists():
            out.rmdir()
        shutil.move(Path(scratch) / DIRECTORY, out)
    return _tell(report, quiet)


@click.command("fs2pgsql", cls=LimitsCommand, context_settings=SETTINGS)
@click.argument("pgfs", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="PGFS")
@click.argument("limits", nargs=-1, metavar="[-]DB[/TABLE]…", type=click.UNPROCESSED)
@click.option("--simulate", "-s", is_flag=True, help="Change nothing; say what would be restored.")
@common_options
def fs2pgsql(pgfs: Path, limits: tuple[str, ...], simulate: bool, verbose: bool, root: Path, quiet: bool) -> int:
    """Restores PostgreSQL databases from the directory PGFS, in the present format or that of classic TKLBAM.

    Databases of the same name are replaced, each once its new content is loaded whole. The server is the one that
    libpq's environment names, else this host's.
    """
    from tklbam_core.api import Limits, RestoreRequest

    from .restore import restore

    with tempfile.TemporaryDirectory(prefix="fs2pgsql-") as scratch:
        (Path(scratch) / "pgfs").symlink_to(pgfs.resolve())
        report = restore(
            RestoreRequest(
                extras=Path(scratch),
                limits=Limits.parse(limits, "pgsql", prefixed=False),
                rollback=None,
                options=from_environment(),
                root=root,
                simulate=simulate,
                progress=_progress(verbose),
            )
        )
    assert report is not None
    return _tell(report, quiet)


def from_environment() -> dict[str, str]:
    """libpq's environment as this plugin's options; passwords stay where they are, for libpq finds them there."""
    names = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user"}
    return {option: os.environ[name] for name, option in names.items() if os.environ.get(name)}


def _progress(verbose: bool) -> Progress:
    from tklbam_core.api import ProgressEvent, silent

    def show(event: ProgressEvent) -> None:
        click.echo(event.item, err=True)

    return show if verbose else silent


def _tell(report: DatabaseReport, quiet: bool) -> int:
    """Prints a report; the exit status: 3 where something is missing."""
    for result in report.databases:
        rows = "" if result.rows is None else f", {result.rows} rows"
        if not quiet:
            click.echo(f"{result.name}: {result.tables} tables{rows}, {result.size} bytes, {result.seconds:.1f} s")
        for warning in result.warnings:
            click.echo(f"warning: {result.name}: {warning}", err=True)
    for warning in report.warnings:
        click.echo(f"warning: {warning}", err=True)
    for failure in report.failures:
        table = f", {failure.table}" if failure.table else ""
        click.echo(f"error: {failure.database}{table}: {failure.reason}", err=True)
    return 3 if report.failures else 0
