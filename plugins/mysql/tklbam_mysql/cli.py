"""`tklbam internal mysql2fs` and `fs2mysql`: a database server or a script, and a directory."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any, BinaryIO

import click

from tklbam_core.api import DatabaseReport, Limits, UsageError

# Limits may begin with a dash, so options end where the first argument stands.
SETTINGS = {"allow_interspersed_args": False, "help_option_names": ["-h", "--help"]}


def connection_options(function: Any) -> Any:
    """Adds the options that say which server, by whom, and those that every command takes."""
    for option in (
        click.option("--debug", is_flag=True, expose_value=False, help="Show a traceback when something fails."),
        click.option("-q", "--quiet", is_flag=True, expose_value=False, help="Say nothing unless something is wrong."),
        click.option("--root", metavar="DIR", help="Treat DIR as the system: its servers are not looked for."),
        click.option("--defaults-file", metavar="FILE", help="A client option file to take everything from."),
        click.option("-p", "password", metavar="PASS", help="Password; visible to others, so better in a file."),
        click.option("-u", "--user", metavar="USER", help="Account to use."),
        click.option("--socket", metavar="PATH", help="Socket of the server."),
        click.option("--port", metavar="N", help="Port of the server."),
        click.option("--host", metavar="HOST", help="Host of the server."),
    ):
        function = option(function)
    return function


@click.command(context_settings=SETTINGS)
@click.option("-D", "--delete", is_flag=True, help="Delete what is in OUT first.")
@click.option("--fromfile", metavar="PATH", help="Read a mysqldump script (- for standard input), not a server.")
@click.option("-v", "--verbose", is_flag=True, help="Tell what was dumped.")
@connection_options
@click.argument("out", type=click.Path(path_type=Path))
@click.argument("limits", nargs=-1)
def mysql2fs(
    delete: bool, fromfile: str | None, verbose: bool, out: Path, limits: tuple[str, ...], **server: str | None
) -> int:
    """Dump a MySQL or MariaDB server into the directory OUT.

    LIMITS are database or database/table, with a dash in front to leave it out.
    """
    rules = _limits(limits)
    if out.exists() and any(out.iterdir()):
        if not delete:
            raise UsageError(f"{out} is not empty", "Use -D to delete what is in it.")
        for path in out.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    if fromfile is not None:
        return _from_script(out, fromfile, rules)
    from tklbam_core.api import silent

    from .connection import reach
    from .dump import dump_databases
    from .settings import DumpOptions

    report = dump_databases(reach(_options(server)), out, rules, how=DumpOptions(), progress=silent)
    return _tell(report, verbose)


def _from_script(out: Path, path: str, rules: Limits) -> int:
    from .script_in import ScriptReader

    out.mkdir(parents=True, exist_ok=True)
    reader = ScriptReader(out, rules)
    if path == "-":
        reader.read(sys.stdin.buffer)
    else:
        try:
            with open(path, "rb") as file:
                reader.read(file)
        except OSError as error:
            raise UsageError(f"{path} can't be read: {error.strerror}") from error
    for statement in reader.left_out:
        click.echo(f"warning: left out: {statement}", err=True)
    return 0


@click.command(context_settings=SETTINGS)
@click.option("--tofile", metavar="PATH", help="Write a script (- for standard output), restore to no server.")
@click.option("--add-drop-database", is_flag=True, help="With --tofile: drop each database first.")
@click.option("--skip-extended-insert", is_flag=True, help="With --tofile: one INSERT a row.")
@click.option("-v", "--verbose", is_flag=True, help="Tell what was restored.")
@connection_options
@click.argument("myfs", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("limits", nargs=-1)
def fs2mysql(
    tofile: str | None,
    add_drop_database: bool,
    skip_extended_insert: bool,
    verbose: bool,
    myfs: Path,
    limits: tuple[str, ...],
    **server: str | None,
) -> int:
    """Restore the directory MYFS to a MySQL or MariaDB server.

    Each database is loaded beside the one there and takes its place. LIMITS are as for mysql2fs.
    """
    from .source import open_directory

    rules = _limits(limits)
    source = open_directory(myfs)
    if source is None:
        raise UsageError(f"{myfs} holds no database dump")
    if tofile is None:
        from tklbam_core.api import silent

        from .connection import reach
        from .restore import restore_databases

        report = restore_databases(
            reach(_options(server)), source, rules, rollback=None, simulate=False, progress=silent
        )
        return _tell(report, verbose)
    from .script_out import write_script

    with _output(tofile) as output:
        write_script(source, rules, output, drop_databases=add_drop_database, extended=not skip_extended_insert)
    for warning in source.losses() if rules.takes_database("mysql") else []:
        click.echo(f"warning: {warning}", err=True)
    return 0


def _output(path: str) -> BinaryIO:
    return open(sys.stdout.fileno(), "wb", closefd=False) if path == "-" else open(path, "wb")


def _limits(words: tuple[str, ...]) -> Limits:
    late = [word for word in words if word.startswith("--")]
    if late:
        raise UsageError(f"{late[0]} stands behind the directory", "Options go in front of it.")
    return Limits.parse(words, "mysql", prefixed=False, always={"mysql"})


def _options(server: dict[str, str | None]) -> dict[str, str]:
    from .connection import is_looked_for

    root = Path(server.get("root") or "/").absolute()
    options = {key.replace("_", "-"): value for key, value in server.items() if value and key != "root"}
    if not is_looked_for(options, root):
        raise UsageError("with --root no server is looked for", "Name one: --host, --port or --socket.")
    if "password" in options:
        click.echo(
            "warning: a password on the command line can be seen by every user of this machine; use --defaults-file",
            err=True,
        )
    return options


def _tell(report: DatabaseReport, verbose: bool) -> int:
    if verbose:
        for result in report.databases:
            rows = "" if result.rows is None else f", {result.rows} rows"
            click.echo(f"{result.name}: {result.tables} tables{rows}, {result.seconds:.1f} s")
    for warning in (*report.warnings, *(f"{each.name}: {text}" for each in report.databases for text in each.warnings)):
        click.echo(f"warning: {warning}", err=True)
    for failure in report.failures:
        where = f"{failure.database}.{failure.table}" if failure.table else failure.database
        click.echo(f"error: {where}: {failure.reason}", err=True)
    return 3 if report.failures else 0
