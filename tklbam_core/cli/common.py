"""What commands share: their common options, the host they work on, and how they speak."""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

from ..api.errors import UsageError
from ..host import Host

F = TypeVar("F", bound=Callable[..., Any])


def megabytes(size: int) -> str:
    """A size in bytes for people, in units of 2^20 bytes."""
    return f"{size / 2**20:.2f} MB" if size >= 10_000 else f"{size} bytes"


def printable(text: str) -> str:
    """Text that a terminal can show, whatever bytes file names are made of."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class Output:
    """Where a command's words go: results to standard output, warnings and notes to standard error.

    With `quiet` notes are dropped; warnings and errors never are. Colour only on terminals.
    """

    def __init__(self, *, quiet: bool = False, as_json: bool = False) -> None:
        self.quiet = quiet
        self.as_json = as_json
        self._log: TextIO | None = None

    def open_log(self, host: Host, operation: str, place: Path | None) -> None:
        """From here on everything said is kept, with its time, in the operation's log file (0600), too.

        Where the log can't be written: an error if the administrator named it, else a note.
        """
        path = place or host.log_file(operation)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if place is not None:
                raise UsageError(f"{path} can't be written: {error.strerror}", "Name another --logfile.") from error
            self.note(f"no log is kept: {path} can't be written ({error.strerror})")
            return
        self._log = os.fdopen(descriptor, "a", encoding="utf-8", errors="surrogateescape", buffering=1)

    def log(self, text: str) -> None:
        """Into the log file alone."""
        if self._log is not None:
            self._log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    def result(self, text: str) -> None:
        click.echo(printable(text))

    def json(self, value: Any) -> None:
        click.echo(json.dumps(value, indent=2, default=str))

    def note(self, text: str) -> None:
        self.log(text)
        if not self.quiet:
            click.echo(printable(text), err=True)

    def warn(self, text: str) -> None:
        self.log(f"warning: {text}")
        click.echo(click.style("warning: ", fg="yellow", bold=True) + printable(text), err=True)

    @property
    def is_terminal(self) -> bool:
        return sys.stderr.isatty()


def common_options(*, json_output: bool = False) -> Callable[[F], F]:
    """Adds `--root`, `-q`, `--debug` and, for reading commands, `--json`.

    The command gets `host: Host` and `output: Output` in their place.
    """

    def decorate(function: F) -> F:
        @click.option("--root", type=click.Path(path_type=Path), metavar="DIR", help="Treat DIR as the system.")
        @click.option("-q", "--quiet", is_flag=True, help="Say nothing unless something is wrong.")
        @click.option("--debug", is_flag=True, help="Show a traceback when something fails.")
        @functools.wraps(function)
        def command(root: Path | None, quiet: bool, debug: bool, **arguments: Any) -> Any:
            output = Output(quiet=quiet, as_json=arguments.pop("as_json", False))
            return function(host=Host.from_environment(root), output=output, **arguments)

        if json_output:
            command = click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)
        return command  # type: ignore[return-value]

    return decorate
