"""Passphrases: asked for on a terminal, one line of standard input where there is none, or made at random."""

from __future__ import annotations

import base64
import secrets
import sys
from pathlib import Path

import click

from ..api.errors import UsageError, WrongPassphraseError
from ..keys import packet
from .common import current_redactor

LONGEST = 4096
ATTEMPTS = 5
"""Times that a person at a terminal may mistype."""

_NOT_GIVEN = "Give it as a line of standard input, or run this on a terminal."


def random_passphrase() -> str:
    """80 random bits: four groups of four base32 characters joined by `-`."""
    text = base64.b32encode(secrets.token_bytes(10)).decode("ascii")
    return "-".join(text[start : start + 4] for start in range(0, 16, 4))


def new_passphrase() -> str:
    """The passphrase to set: asked for twice on a terminal, else one line of standard input. May be empty.

    Raises UsageError when standard input has ended, or the two never agree.
    """
    if not _at_terminal():
        return _line()
    for _ in range(ATTEMPTS):
        first = _ask("Passphrase: ")
        if first == _ask("Confirm passphrase: "):
            return first
        click.echo("The two differ; try again.", err=True)
    raise UsageError("no passphrase was set: the two entries differed each time", "Try again.")


def read_passphrase_file(path: Path) -> str:
    """The first line of a file. Raises UsageError."""
    try:
        with open(path, "rb") as file:
            line = file.readline(LONGEST + 2)
    except OSError as error:
        raise UsageError(f"the passphrase can't be read from {path}: {error.strerror}") from error
    return _text(line)


def unlock(key: bytes, *, passphrase_file: Path | None = None, noninteractive: bool = False) -> str:
    """Takes the secret out of a key packet: with the empty passphrase, the file's, or one that is asked for.

    On a terminal a wrong one is asked for again, unless `noninteractive`, which reads one line of standard input after
    printing `Passphrase: `. Raises WrongPassphraseError, KeyPacketError, UsageError (none was given).
    """
    secret = packet.opens_without_passphrase(key)
    return _unseen(secret if secret is not None else _open(key, passphrase_file, noninteractive))


def _open(key: bytes, passphrase_file: Path | None, noninteractive: bool) -> str:
    if passphrase_file is not None:
        return packet.open_packet(key, read_passphrase_file(passphrase_file))
    if noninteractive or not _at_terminal():
        if noninteractive:
            click.echo("Passphrase: ", nl=False)
            sys.stdout.flush()
        return packet.open_packet(key, _line())
    for _ in range(ATTEMPTS - 1):
        try:
            return packet.open_packet(key, _ask("Passphrase: "))
        except WrongPassphraseError as error:
            click.echo(error.what, err=True)
    return packet.open_packet(key, _ask("Passphrase: "))


def _at_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _ask(prompt: str) -> str:
    import getpass

    try:
        return _unseen(getpass.getpass(prompt))
    except EOFError:
        raise UsageError("a passphrase is needed and the input has ended", _NOT_GIVEN) from None
    except KeyboardInterrupt:
        raise click.Abort from None


def _line() -> str:
    if sys.stdin is None:
        raise UsageError("a passphrase is needed and there is no standard input", _NOT_GIVEN)
    line = sys.stdin.buffer.readline(LONGEST + 2)
    if not line:
        raise UsageError("a passphrase is needed and standard input has ended", _NOT_GIVEN)
    return _text(line)


def _text(line: bytes) -> str:
    line = line.removesuffix(b"\n").removesuffix(b"\r")
    if len(line) > LONGEST:
        raise UsageError(f"the passphrase is longer than {LONGEST} bytes", "That is probably not a passphrase.")
    return _unseen(line.decode("utf-8", "surrogateescape"))


def _unseen(passphrase: str) -> str:
    """The same, once nothing will show it."""
    current_redactor().add(passphrase)
    return passphrase
