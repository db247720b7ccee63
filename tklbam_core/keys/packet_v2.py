"""Key packet version 2 (docs/formats/key-packet.md): scrypt and AES-256-GCM; binary packets, without their Base64."""

from __future__ import annotations

import hashlib
import os
import struct
from typing import TYPE_CHECKING

from ..api.errors import KeyPacketError, WrongPassphraseError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HEADER = struct.Struct(">BBBBB6s16s12s")
TAG = 16
CHECKSUM = 4
NO_PASSPHRASE, SCRYPT = 0, 1
LOG2_N, R, P = 16, 8, 2
"""scrypt's parameters as written: 64 MiB and about half a second on a small server."""
MOST_MEMORY = 512 << 20
"""Bytes that a packet may make its reader use."""
MOST_WORK = 1 << 24
"""N · r · p that a packet may make its reader do: 16 times what is written."""

_DAMAGED = "Use another copy of the key."


def seal(secret: bytes, passphrase: bytes) -> bytes:
    salt, nonce = os.urandom(16), os.urandom(12)
    mark = hashlib.sha1(secret).digest()[:6]
    parameters = (SCRYPT, LOG2_N, R, P) if passphrase else (NO_PASSPHRASE, 0, 0, 0)
    header = HEADER.pack(2, *parameters, mark, salt, nonce)
    return _with_checksum(header + _aead(_key(passphrase, salt, parameters)).encrypt(nonce, secret, header))


def open_packet(packet: bytes, passphrase: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag

    _, derivation, log2_n, r, p, mark, salt, nonce = HEADER.unpack_from(packet)
    if (derivation == SCRYPT) != bool(passphrase):
        raise WrongPassphraseError()
    header, body = packet[: HEADER.size], packet[HEADER.size : -CHECKSUM]
    key = _key(passphrase, salt, (derivation, log2_n, r, p))
    try:
        secret = _aead(key).decrypt(nonce, body, header)
    except InvalidTag:
        if derivation == NO_PASSPHRASE:
            raise KeyPacketError("the key packet is damaged: its tag is wrong", _DAMAGED) from None
        raise WrongPassphraseError() from None
    if hashlib.sha1(secret).digest()[:6] != mark:
        raise KeyPacketError("the key packet is damaged: its fingerprint is wrong", _DAMAGED)
    return secret


def check(packet: bytes) -> None:
    """Raises KeyPacketError where the packet can't be one, whatever the passphrase."""
    if len(packet) < HEADER.size + TAG + CHECKSUM:
        raise KeyPacketError("the key packet is damaged: it is cut off", _DAMAGED)
    if _with_checksum(packet[:-CHECKSUM]) != packet:
        raise KeyPacketError("the key packet is damaged: its checksum is wrong", _DAMAGED)
    _, derivation, log2_n, r, p, *_ = HEADER.unpack_from(packet)
    if derivation not in (NO_PASSPHRASE, SCRYPT):
        raise KeyPacketError(
            f"the key packet uses the unknown key derivation {derivation}",
            "Use another copy of the key, or a newer TKLBAM if a newer one wrote it.",
        )
    if derivation == NO_PASSPHRASE:
        if (log2_n, r, p) != (0, 0, 0):
            raise KeyPacketError("the key packet is damaged: it needs no work but asks for some", _DAMAGED)
        return
    # The exponent is bounded first, so that no number here can grow beyond reason.
    if not (1 <= log2_n <= 30 and r >= 1 and p >= 1) or 128 * r << log2_n > MOST_MEMORY or r * p << log2_n > MOST_WORK:
        raise KeyPacketError(
            f"the key packet asks for unreasonable work (N=2^{log2_n}, r={r}, p={p})",
            "It is damaged or forged: use another copy of the key.",
        )


def is_unprotected(packet: bytes) -> bool:
    return packet[1] == NO_PASSPHRASE


def _with_checksum(data: bytes) -> bytes:
    return data + hashlib.sha256(data).digest()[:CHECKSUM]


def _key(passphrase: bytes, salt: bytes, parameters: tuple[int, int, int, int]) -> bytes:
    derivation, log2_n, r, p = parameters
    if derivation == NO_PASSPHRASE:
        return hashlib.sha256(salt).digest()
    # OpenSSL counts its own blocks on top of 128·r·N; p blocks of 128·r and some kilobytes more.
    allowed = (128 * r << log2_n) + 128 * r * (p + 2) + (1 << 20)
    try:
        return hashlib.scrypt(passphrase, salt=salt, n=1 << log2_n, r=r, p=p, maxmem=allowed, dklen=32)
    except (ValueError, MemoryError) as error:
        needed = (128 * r << log2_n) >> 20
        raise KeyPacketError(
            f"the key packet can't be opened here: scrypt failed ({error or 'out of memory'})",
            f"It needs {needed} MiB of free memory.",
        ) from error


def _aead(key: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)
