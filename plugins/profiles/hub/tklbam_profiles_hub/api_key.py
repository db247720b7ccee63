"""The keys of a Hub: Base32 of a user's number (u32) and eight secret bytes, less leading `A`s and trailing `=`s."""

from __future__ import annotations

import base64
import binascii

from tklbam_core.api import UsageError

LENGTH = 20
"""Characters of twelve bytes in Base32, padding aside."""


def parse_api_key(text: str) -> str:
    """The key as people may have copied it (small letters, blanks) in its plain form. Raises UsageError; the error does
    not hold the key."""
    key = "".join(text.split()).rstrip("=").upper()
    if not is_key(key):
        raise UsageError(
            "this is not an API key, which has up to 20 letters A-Z and digits 2-7 and a last one that fits the others",
            "Copy it from your profile on the Hub once more.",
        )
    return key.lstrip("A")


def is_key(text: str) -> bool:
    """Whether a text has the form of an API key or subkey."""
    if not text or len(text) > LENGTH or not text.isascii():
        return False
    padded = text.rjust(LENGTH, "A") + "=" * 4
    try:
        content = base64.b32decode(padded)
    except (binascii.Error, ValueError):
        return False
    # Twelve bytes leave four bits of the last character unused; a mistyped one mostly sets some of them.
    return base64.b32encode(content).decode() == padded and any(content)
