"""API keys and subkeys as text: Base32 of a 32-bit account number and 8 secret bytes, without padding or leading As."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
import struct

SECRET_BYTES = 8
# 12 bytes are 20 letters of Base32, of which the leading As (zero bits) are left out.
LETTERS = 20
NAMESPACE = b"tklbam"


class MalformedKey(ValueError):
    """The text is no key."""


def encode(account_id: int, secret: bytes) -> str:
    packed = struct.pack(">I8s", account_id, secret)
    return base64.b32encode(packed).decode().lstrip("A").rstrip("=")


def decode(text: str) -> tuple[int, bytes]:
    """Account number and secret. Raises MalformedKey."""
    if not text or len(text) > LETTERS or not text.isascii():
        raise MalformedKey("a key has up to 20 letters and digits")
    padded = text.upper().rjust(LETTERS, "A") + "===="
    try:
        account_id, secret = struct.unpack(">I8s", base64.b32decode(padded))
    except (binascii.Error, struct.error):
        raise MalformedKey("a key is made of the letters A-Z and the digits 2-7") from None
    return int(account_id), bytes(secret)


def new_secret() -> bytes:
    return secrets.token_bytes(SECRET_BYTES)


def subkey_secret(secret: bytes) -> bytes:
    """The secret of the subkey that belongs to an API key's secret."""
    return hashlib.sha1(NAMESPACE + secret).digest()[:SECRET_BYTES]
