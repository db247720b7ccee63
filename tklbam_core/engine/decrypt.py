"""Reading one small encrypted file of a target with gpg, telling a wrong secret from a damaged file."""

from __future__ import annotations

import contextlib
import gzip
import os
import subprocess
import threading
from enum import Enum
from typing import IO, BinaryIO

from ..api.errors import CommandError
from ..api.process import start
from .manifest import Manifest, parse_manifest
from .workspace import Workspace

LIMIT = 64 << 20
"""Bytes of a manifest that are read at most."""


class Unreadable(Enum):
    """Why a file can't be read: its secret is another one, or it is damaged (cut short, say)."""

    WRONG_SECRET = "wrong secret"
    DAMAGED = "damaged"


def read_file(name: str, content: BinaryIO, secret: str, workspace: Workspace) -> bytes | Unreadable:
    """The plain text of a file of the target (`.gpg`, `.gz` or plain by its name)."""
    if name.endswith(".gz"):
        try:
            return gzip.decompress(content.read(LIMIT))
        except (OSError, EOFError):
            return Unreadable.DAMAGED
    if not name.endswith(".gpg"):
        return content.read(LIMIT)
    return _gpg(content.read(LIMIT), secret, workspace)


def read_manifest(
    name: str, content: BinaryIO, secret: str, workspace: Workspace
) -> tuple[Manifest, bytes] | Unreadable:
    """A manifest and its plain text; one that is not whole is DAMAGED."""
    text = read_file(name, content, secret, workspace)
    if isinstance(text, Unreadable):
        return text
    manifest = parse_manifest(text)
    return Unreadable.DAMAGED if manifest is None else (manifest, text)


def _gpg(data: bytes, secret: str, workspace: Workspace) -> bytes | Unreadable:
    # A pipe holds more than any secret, so writing it before the child reads can't block.
    reading, writing = os.pipe()
    status_reading, status_writing = os.pipe()
    try:
        os.write(writing, secret.encode() + b"\n")
        os.close(writing)
        argv = [
            *("gpg", "--no-options", "--batch", "--no-tty", "--pinentry-mode", "loopback"),
            *("--passphrase-fd", str(reading), "--status-fd", str(status_writing), "--decrypt"),
        ]
        plain = b""
        with contextlib.suppress(CommandError):
            with start(
                argv,
                env=workspace.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=(reading, status_writing),
            ) as gpg:
                feeder = threading.Thread(target=_feed, args=(gpg.stdin, data), daemon=True)
                feeder.start()
                plain = gpg.stdout.read(LIMIT)
                feeder.join()
        os.close(status_writing)
        status_writing = -1
        status = os.read(status_reading, 1 << 16)
        # gpg exits with 0 for some files that were cut short, so its exit status decides nothing.
        if b"DECRYPTION_OKAY" in status:
            return plain
        return Unreadable.WRONG_SECRET if b"BAD_PASSPHRASE" in status else Unreadable.DAMAGED
    finally:
        for descriptor in (reading, status_reading, status_writing):
            if descriptor >= 0:
                os.close(descriptor)


def _feed(pipe: IO[bytes], data: bytes) -> None:
    try:
        pipe.write(data)
        pipe.close()
    except BrokenPipeError:
        return  # gpg gave up early and says why on its own
