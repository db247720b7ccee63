"""What commands share: their common options, the host they work on, and how they speak."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ..host import Host

F = TypeVar("F", bound=Callable[..., Any])


class Output:
    """Where a command's words go: results to standard output, warnings and notes to standard error.

    With `quiet` notes are dropped; warnings and errors never are. Colour only on terminals.
    """

    def __init__(self, *, quiet: bool = False, as_json: bool = False) -> None:
        self.quiet = quiet
        self.as_json = as_json

    def result(self, text: str) -> None:
        click.echo(text)

    def json(self, value: Any) -> None:
        click.echo(json.dumps(value, indent=2, default=str))

    def note(self, text: str) -> None:
        if not self.quiet:
            click.echo(text, err=True)

    def warn(self, text: str) -> None:
        click.echo(click.style("warning: ", fg="yellow", bold=True) + text, err=True)

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
