"""OpenPGP messages as gpg reads them: AES-256 under a passphrase, with its integrity check (RFC 4880).

A message is a symmetric-key encrypted session key packet (5.3; no session key of its own), then an integrity protected
data packet (5.13) in partial lengths, which holds a compressed packet (5.6, raw deflate), which holds a literal packet
(5.9). Whoever writes gives the deflate stream, of which the literal packet's header, `LITERAL`, is the first part.
"""

from __future__ import annotations

import hashlib
import io
import os
from typing import Any, BinaryIO

from . import deflate

LITERAL = b"\xafb\0\0\0\0\0"
"""Begins what is compressed: an old-format literal packet of binary data, no name, no date, up to the end."""
_COMPRESSED = b"\xa3\x01"
_AES256, _ITERATED, _SHA256 = 9, 3, 8
_PARTIAL = 16
"""log2 of the bytes of a part."""
WEAK, STRONG = 0xFF, 0x01
"""Coded counts (3.7.1.3) of 65,011,712 and 1,088 bytes to be hashed for a key."""


def derive_key(
    passphrase: bytes, salt: bytes, coded_count: int | None, hash_name: str = "sha256", size: int = 32
) -> bytes:
    """The `size` bytes that a passphrase becomes (3.7.1): iterated and salted, with a coded count; salted without one;
    simple without salt."""
    once = salt + passphrase
    count = 0 if coded_count is None else (16 + (coded_count & 15)) << ((coded_count >> 4) + 6)
    count = max(count, len(once))
    many = once * (65536 // max(1, len(once)) + 1)
    key = b""
    for number in range(-(-size // hashlib.new(hash_name, usedforsecurity=False).digest_size)):
        digest = hashlib.new(hash_name, bytes(number), usedforsecurity=False)
        for _ in range(count // max(1, len(many))):
            digest.update(many)
        digest.update(many[: count % max(1, len(many))])
        key += digest.digest()
    return key[:size]


def new_cipher(key: bytes) -> Any:
    """AES as OpenPGP uses it: CFB whose vector is zeros, for what begins with random bytes (13.9)."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

    try:
        from cryptography.hazmat.decrepit.ciphers.modes import CFB
    except ImportError:  # before version 45 it was at home there
        from cryptography.hazmat.primitives.ciphers.modes import CFB

    return Cipher(algorithms.AES(key), CFB(bytes(16)))


class Encryptor:
    """Encrypts a deflate stream into `out` as it comes. `coded_count` says how long a passphrase is stretched.

    `size` is bytes written so far; `sha1` of all of them, hexadecimal.
    """

    def __init__(self, out: BinaryIO, passphrase: str, coded_count: int) -> None:
        salt = os.urandom(8)
        self._out = out
        self._cipher = new_cipher(derive_key(passphrase.encode(), salt, coded_count)).encryptor()
        self._plain = hashlib.sha1(usedforsecurity=False)  # what the format prescribes, not a choice
        self._written = hashlib.sha1(usedforsecurity=False)
        self._waiting = bytearray(b"\x01")
        self.size = 0
        session_key = bytes((4, _AES256, _ITERATED, _SHA256)) + salt + bytes((coded_count,))
        self._write(bytes((0xC3, len(session_key))) + session_key + b"\xd2")
        prefix = os.urandom(16)
        self._take(prefix + prefix[-2:] + _COMPRESSED)

    @property
    def sha1(self) -> str:
        return self._written.hexdigest()

    def update(self, data: bytes) -> None:
        """Takes more of the deflate stream."""
        self._take(data)
        part = 1 << _PARTIAL
        if len(self._waiting) < part:
            return
        view = memoryview(self._waiting)
        whole = len(view) - len(view) % part
        for position in range(0, whole, part):
            self._write(bytes((0xE0 | _PARTIAL,)))
            self._write(view[position : position + part])
        rest = bytes(view[whole:])
        view.release()
        self._waiting = bytearray(rest)

    def finish(self) -> None:
        """Ends the message; the file stays open."""
        self._take(b"\xd3\x14")
        self._waiting += self._cipher.update(self._plain.digest()) + self._cipher.finalize()
        self._write(_length(len(self._waiting)) + self._waiting)

    def _take(self, data: bytes) -> None:
        self._plain.update(data)
        self._waiting += self._cipher.update(data)

    def _write(self, data: bytes | bytearray | memoryview) -> None:
        self._written.update(data)
        self._out.write(data)
        self.size += len(data)


def encrypt(data: bytes, passphrase: str, coded_count: int) -> bytes:
    """A whole message of something small."""
    out = io.BytesIO()
    encryptor = Encryptor(out, passphrase, coded_count)
    encryptor.update(deflate.segment(LITERAL) + deflate.last_segment(data))
    encryptor.finish()
    return out.getvalue()


def _length(size: int) -> bytes:
    """A new-format length (4.2.2)."""
    if size < 192:
        return bytes((size,))
    if size < 8384:
        return bytes(((size - 192 >> 8) + 192, (size - 192) & 0xFF))
    return b"\xff" + size.to_bytes(4, "big")
