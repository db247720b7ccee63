"""What commands share: their common options, the host they work on, and how they speak."""

from __future__ import annotations

import functools
import json
import os
import re
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from ..api.errors import TklbamError, UsageError
from ..api.redact import Redactor
from ..host import Host

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

LABELLED = re.compile(r" +(?:\S+(?: \S+)* {2,}| {6,})(?=\S)")
"""A line that begins with a label, or with the room below one."""

F = TypeVar("F", bound=Callable[..., Any])


UNITS = ("KB", "MB", "GB", "TB")
WIDEST = 100
"""Columns beyond which no text is spread, however wide the terminal: longer lines are hard to read."""


def human_size(size: int) -> str:
    """A size in bytes for people: `668 bytes`, `193.4 MB`, with 1 KB = 2^10 bytes."""
    if size < 1024:
        return count(size, "byte")
    number = float(size)
    for unit in UNITS:
        number /= 1024
        if number < 999.95 or unit == UNITS[-1]:
            break
    return f"{number:.1f} {unit}"


def count(number: int, singular: str, plural: str | None = None) -> str:
    """`1 file`, `2,013 files`; `plural` where it is not singular + s."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def human_duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def moment(time: datetime) -> str:
    """A point in time as people here say it: local, to the minute."""
    return time.astimezone().strftime("%a %Y-%m-%d %H:%M")


def printable(text: str) -> str:
    """Text that a terminal can show, whatever bytes file names are made of."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def fold(text: str, stream: TextIO, *, taken: int = 0) -> str:
    """Text broken between words where `stream` is a terminal that is too narrow for it; elsewhere as it is.

    Continued lines stand below the text of a labelled line (`  files      12 to …`), else two columns in. Addresses and
    paths stay whole. `taken` columns of the first line hold something else already.
    """
    if not stream.isatty():
        return text
    import textwrap

    width = min(terminal_width(stream), WIDEST)
    lines = []
    for number, line in enumerate(text.split("\n")):
        label = LABELLED.match(line)
        words = line.lstrip()
        lead = line[: len(line) - len(words)]
        room = " " * (0 if number else taken)
        folded = textwrap.fill(
            words,
            width,
            initial_indent=room + lead,
            subsequent_indent=" " * (label.end() if label else len(lead) + 2),
            break_long_words=False,
            break_on_hyphens=False,
        )
        lines.append(folded[len(room) :])
    return "\n".join(lines)


def terminal_width(stream: TextIO) -> int:
    """Columns of the terminal behind a stream; 80 where it doesn't say."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


class Output:
    """Where a command's words go: results to standard output, warnings and notes to standard error.

    Secrets that `redactor` knows are in none of them. With `quiet` notes are dropped; warnings and errors never are.
    Colour only on terminals. `before_line` is called
    before anything is written: a progress bar takes itself away there.
    """

    def __init__(self, *, quiet: bool = False, as_json: bool = False, redactor: Redactor | None = None) -> None:
        self.redactor = redactor or Redactor()
        self.quiet = quiet
        self.as_json = as_json
        self.before_line: Callable[[], None] = lambda: None
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
            self._log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {self.redactor.scrub(text)}\n")

    def result(self, text: str) -> None:
        self.before_line()
        click.echo(printable(self.redactor.scrub(text)))

    def reveal(self, secret: str) -> None:
        """Prints a secret that was asked for."""
        self.before_line()
        click.echo(printable(secret))

    def json(self, value: Any) -> None:
        self.before_line()
        click.echo(
            json.dumps(self.redactor.scrub_json(value), indent=2, default=lambda it: self.redactor.scrub(str(it)))
        )

    def note(self, text: str) -> None:
        text = self.redactor.scrub(text)
        self.log(text)
        if not self.quiet:
            self.before_line()
            click.echo(fold(printable(text), sys.stderr), err=True)

    def warn(self, text: str) -> None:
        text = self.redactor.scrub(text)
        self.log(f"warning: {text}")
        self.before_line()
        lead = "warning: "
        text = fold(printable(text), sys.stderr, taken=len(lead))
        click.echo(click.style(lead, fg="yellow", bold=True) + text, err=True)

    @property
    def is_terminal(self) -> bool:
        return sys.stderr.isatty()


def current_redactor() -> Redactor:
    """The one of the command that is running; outside of a command a new one."""
    ctx = click.get_current_context(silent=True)
    found = ctx.find_object(Redactor) if ctx is not None else None
    return found or Redactor()


def complete_path(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """For shells: an argument that may be a path, among other things."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


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
            output = Output(quiet=quiet, as_json=arguments.pop("as_json", False), redactor=current_redactor())
            try:
                return function(host=Host.from_environment(root), output=output, **arguments)
            except Exception as error:
                what = error.what if isinstance(error, TklbamError) else f"{type(error).__name__}: {error}"
                output.log(f"error: {what}")
                raise

        if json_output:
            command = click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)
        return command  # type: ignore[return-value]

    return decorate
