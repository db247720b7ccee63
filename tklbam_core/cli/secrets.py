"""The secret itself from a file, for those who keep it elsewhere than in the registry."""

from __future__ import annotations

from pathlib import Path

from ..api.errors import UsageError
from .common import current_redactor


def read_secret_file(file: Path) -> str:
    """The first line of a file. Raises UsageError."""
    try:
        line = file.read_bytes().split(b"\n", 1)[0]
    except OSError as error:
        raise UsageError(f"{file} can't be read: {error.strerror}", "Name the file that holds the secret.") from error
    if not line:
        raise UsageError(f"{file} holds no secret", "Its first line must be the secret.")
    secret = line.decode("utf-8", "surrogateescape")
    current_redactor().add(secret)
    return secret
