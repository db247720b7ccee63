"""The secret: the passphrase of the archive itself, made once, kept in the registry and in key packets."""

from __future__ import annotations

import secrets


def new_secret() -> str:
    """256 random bits as one line of text: 64 lowercase hexadecimal digits."""
    return secrets.token_hex(32)
