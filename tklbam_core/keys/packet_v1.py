"""Key packet version 1, the classic one (docs/formats/key-packet.md): binary packets, without their Base64."""

from __future__ import annotations

import hashlib
import os
import struct

from ..api.errors import KeyPacketError, UsageError, WrongPassphraseError

HEADER = struct.Struct(">BHH6s")
REPEATS = 80
"""Thousands of repeats of hash and of cipher that are written."""
MOST_REPEATS = 1000
"""Thousands of repeats that are read: some seconds of work."""
BLOCK = 16
SHA1 = 20
NOISE = 4


def seal(secret: bytes, passphrase: bytes) -> bytes:
    repeats = REPEATS if passphrase else 0
    digest = hashlib.sha1(secret).digest()
    message = os.urandom(NOISE) + digest + secret
    if len(message) > 0xFFFF:
        raise UsageError("the secret is too long for key packet format 1", "Use format 2.")
    padding = os.urandom(-(len(message) + 2) % BLOCK)
    padded = padding + message + struct.pack(">H", len(message))
    header = HEADER.pack(1, repeats, repeats, digest[:6])
    return header + _cipher(padded, _key(passphrase, repeats), repeats, encrypt=True)


def open_packet(packet: bytes, passphrase: bytes) -> bytes:
    _, hash_repeats, cipher_repeats, fingerprint = HEADER.unpack_from(packet)
    padded = _cipher(packet[HEADER.size :], _key(passphrase, hash_repeats), cipher_repeats, encrypt=False)
    (length,) = struct.unpack(">H", padded[-2:])
    if not NOISE + SHA1 <= length <= len(padded) - 2:
        raise WrongPassphraseError()
    message = padded[-2 - length : -2]
    digest, secret = message[NOISE : NOISE + SHA1], message[NOISE + SHA1 :]
    if hashlib.sha1(secret).digest() != digest:
        raise WrongPassphraseError()
    if digest[: len(fingerprint)] != fingerprint:
        raise KeyPacketError("the key packet is damaged: its fingerprint is wrong", "Use another copy of the key.")
    return secret


def check(packet: bytes) -> None:
    """Raises KeyPacketError where the packet can't be one, whatever the passphrase."""
    body = len(packet) - HEADER.size
    if body < NOISE + SHA1 + 2 or body % BLOCK:
        raise KeyPacketError("the key packet is damaged: it is cut off", "Use another copy of the key.")
    _, hash_repeats, cipher_repeats, _ = HEADER.unpack_from(packet)
    if max(hash_repeats, cipher_repeats) > MOST_REPEATS:
        raise KeyPacketError(
            f"the key packet asks for {max(hash_repeats, cipher_repeats)},000 repeats; none is written with more than "
            f"{REPEATS},000",
            "It is damaged or forged: use another copy of the key.",
        )


def is_unprotected(packet: bytes) -> bool:
    _, hash_repeats, cipher_repeats, _ = HEADER.unpack_from(packet)
    return bool(hash_repeats == 0 and cipher_repeats == 0)


def _key(passphrase: bytes, thousands: int) -> bytes:
    key = passphrase
    for _ in range(thousands * 1000 + 1):
        key = hashlib.sha256(key).digest()
    return key


def _cipher(data: bytes, key: bytes, thousands: int, *, encrypt: bool) -> bytes:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    cipher = Cipher(algorithms.AES(key), modes.CBC(bytes(BLOCK)))
    for _ in range(thousands * 1000 + 1):
        step = cipher.encryptor() if encrypt else cipher.decryptor()
        data = step.update(data) + step.finalize()
    return data
