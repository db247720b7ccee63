"""`tklbam` and its classic names: finds the command, runs it, and turns errors into exit codes in one place."""

from __future__ import annotations

import atexit
import errno
import gc
import importlib
import os
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, NoReturn

import click

from ..api.errors import TklbamError
from ..api.redact import Redactor, split_password

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# name → (module, short help). Modules are imported when their command runs, so that help and completion stay instant.
COMMANDS = {
    "init": ("init", "Make the key, get a profile: once, before the first backup"),
    "backup": ("backup", "Back up what changed since this system was installed"),
    "restore": ("restore", "Restore a backup onto this system"),
    "restore-rollback": ("restore_rollback", "Undo the last restore"),
    "list": ("list", "List the backups that a Hub knows, or the sessions on a target"),
    "status": ("status", "Tell how fresh and how sound the backups are"),
    "check": ("check", "Verify targets and their sessions, and test that they restore"),
    "passphrase": ("passphrase", "Change the passphrase that protects the key"),
    "escrow": ("escrow", "Write the key, protected by a passphrase, to a safe place"),
    "targets": ("targets", "Show where backups can go, and how to write it"),
    "plugins": ("plugins", "Show the plugins that were found"),
    "config": ("config", "Show the configuration in force, and where it came from"),
    "internal": ("internal", "The parts that a backup is made of, for scripts and repairs"),
}
INTERNAL = {
    "create-profile": ("create_profile", "Make a profile from a pristine system"),
    "detect-profile-id": ("detect_profile_id", "Print the id of this system's profile"),
    "dirindex": ("dirindex", "Write an index of paths, or print the changes against one"),
    "fixstat": ("fixstat", "Apply ownership and modes from a delta"),
    "delete": ("delete", "Apply the deletions of a delta"),
    "merge-userdb": ("merge_userdb", "Merge two user databases and print the id maps"),
    "newpkgs": ("newpkgs", "Print the packages that are not in a base list"),
    "newpkgs-install": ("newpkgs_install", "Install those of the packages that can be had"),
    "stsagent": ("stsagent", "Print the Hub's storage credentials"),
}
MISSING = {
    "internal mysql2fs": "tklbam-mysql",
    "internal fs2mysql": "tklbam-mysql",
    "internal pgsql2fs": "tklbam-postgres",
    "internal fs2pgsql": "tklbam-postgres",
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is used; plugins' commands are among them."""

    def __init__(self, table: dict[str, tuple[str, str]], prefix: str = "", **attributes: object) -> None:
        super().__init__(**attributes)  # type: ignore[arg-type]
        self._table = table
        self._prefix = prefix

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self._table, *sorted(self._plugged())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._table:
            command = importlib.import_module(f"tklbam_core.cli.{self._table[cmd_name][0]}").command
            assert isinstance(command, click.Command)
            return command
        point = self._plugged().get(cmd_name)
        if point is not None:
            try:
                command = point.load()
            except Exception as error:
                raise TklbamError(
                    f"the plugin command {point.name} can't be loaded: {error}",
                    "Reinstall or disable the distribution that provides it.",
                ) from error
            assert isinstance(command, click.Command)
            return command
        full_name = f"{self._prefix} {cmd_name}".strip()
        if full_name in MISSING:
            raise TklbamError(
                f"`{full_name}` comes with a plugin that is not installed", f"Install {MISSING[full_name]}."
            )
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(self._rows())

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        # click's own would import every command that matches.
        names = [CompletionItem(name, help=text) for name, text in self._rows() if name.startswith(incomplete)]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def _rows(self) -> list[tuple[str, str]]:
        rows = [(name, help_text) for name, (_, help_text) in self._table.items()]
        return rows + [
            (name, f"({point.dist.name if point.dist else 'plugin'})")
            for name, point in sorted(self._plugged().items())
        ]

    def _plugged(self) -> dict[str, EntryPoint]:
        dotted = self._prefix.replace(" ", ".") + "." if self._prefix else ""
        found = {}
        for point in entry_points(group="tklbam.commands"):
            rest = point.name.removeprefix(dotted)
            if point.name.startswith(dotted) and "." not in rest:
                found[rest] = point
        return found


def _root_command() -> click.Group:
    from .. import __version__

    group = LazyGroup(
        COMMANDS,
        name="tklbam",
        help="Backup and migration: stores what changed since this system was installed.",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    return click.version_option(__version__, prog_name="tklbam")(group)


def _run(command: Callable[[], click.Command], prog_name: str, arguments: list[str] | None = None) -> None:
    words = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in words
    redactor = _redactor(words)
    atexit.register(gc.freeze)  # else all that there is would be looked through for garbage once more at the end
    try:
        status = command().main(
            args=words,
            prog_name=prog_name,
            standalone_mode=False,
            obj=redactor,
            help_option_names=["-h", "--help"],
            color=False if os.environ.get("NO_COLOR") else None,
        )
        sys.exit(status if isinstance(status, int) else 0)
    except click.exceptions.Abort:
        click.echo("error: interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:  # noqa: BLE001 - the one place where everything ends
        if debug and not isinstance(error, click.ClickException):
            _show_traceback(error, redactor)
        what, remedy, status = _explain(error, prog_name)
        _fail(redactor.scrub(what), redactor.scrub(remedy), status)


def _redactor(words: list[str]) -> Redactor:
    """One that knows what the environment and the command line hold; the latter is warned of."""
    redactor = Redactor()
    redactor.add_environment(os.environ)
    passwords = [password for word in words if (password := split_password(word.removeprefix("--address="))[1])]
    redactor.add(*passwords)
    if passwords:
        lead = click.style("warning: ", fg="yellow", bold=True) if not os.environ.get("NO_COLOR") else "warning: "
        click.echo(
            f"{lead}every user of this machine can see the password in the address while this runs; put it into the "
            "credentials file",
            err=True,
        )
    return redactor


def _explain(error: Exception, prog_name: str) -> tuple[str, str, int]:
    """What happened, what to do about it, and the exit code."""
    if isinstance(error, click.UsageError):
        where = error.ctx.command_path if error.ctx else prog_name
        return error.format_message().rstrip("."), f"See `{where} --help`.", error.exit_code
    if isinstance(error, click.ClickException):
        return error.format_message().rstrip("."), "", error.exit_code
    if isinstance(error, TklbamError):
        return error.what, error.remedy, error.exit_code
    if isinstance(error, OSError):
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return what, "Run it as root?" if error.errno in (errno.EACCES, errno.EPERM) else "", 1
    return (
        f"something unforeseen happened: {type(error).__name__}: {error}",
        "Run the command again with --debug and report what it prints.",
        1,
    )


def _show_traceback(error: Exception, redactor: Redactor) -> None:
    import traceback

    from .common import printable

    click.echo(printable(redactor.scrub("".join(traceback.format_exception(error)))), err=True, nl=False)


def _fail(what: str, remedy: str, status: int) -> NoReturn:
    from .common import fold, printable

    lead = "error: "
    red = click.style(lead, fg="red", bold=True) if not os.environ.get("NO_COLOR") else lead
    click.echo(red + fold(printable(what), sys.stderr, taken=len(lead)), err=True)
    if remedy:
        click.echo(fold(f"  {printable(remedy)}", sys.stderr), err=True)
    sys.exit(status)


def main() -> None:
    """`tklbam COMMAND …`"""
    _run(_root_command, "tklbam")


def _classic(name: str) -> None:
    def command() -> click.Command:
        found = importlib.import_module(f"tklbam_core.cli.{COMMANDS[name][0]}").command
        assert isinstance(found, click.Command)
        return found

    _run(command, f"tklbam-{name}")


def init() -> None:
    _classic("init")


def backup() -> None:
    _classic("backup")


def restore() -> None:
    _classic("restore")


def restore_rollback() -> None:
    _classic("restore-rollback")


def list_() -> None:
    _classic("list")


def status() -> None:
    _classic("status")


def passphrase() -> None:
    _classic("passphrase")


def escrow() -> None:
    _classic("escrow")


def check() -> None:
    _classic("check")


def targets() -> None:
    _classic("targets")


def plugins() -> None:
    _classic("plugins")


def config() -> None:
    _classic("config")


def internal() -> None:
    _classic("internal")
