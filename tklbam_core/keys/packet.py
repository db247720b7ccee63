"""Key packets: the secret wrapped with a passphrase. The formats are specified in docs/formats/key-packet.md.

`seal` writes version 2 (or 1), `open_packet` reads both. Secrets and passphrases are `str`; bytes that are not UTF-8
travel as surrogate escapes.
"""

from __future__ import annotations

import base64
import binascii

from ..api.errors import KeyPacketError, UsageError, WrongPassphraseError
from . import packet_v1, packet_v2

FORMATS = (1, 2)


def seal(secret: str, passphrase: str, format: int = 2) -> bytes:
    """Wraps the secret; returns one line of Base64 with no newline. Takes about half a second unless `passphrase` is
    empty. Raises UsageError for an unknown format."""
    if format not in FORMATS:
        raise UsageError(f"there is no key packet format {format}", "Formats are 1 (classic) and 2.")
    make = packet_v1.seal if format == 1 else packet_v2.seal
    return base64.b64encode(make(_bytes(secret), _bytes(passphrase)))


def open_packet(data: bytes, passphrase: str) -> str:
    """Takes the secret out of a packet.

    Raises WrongPassphraseError where the passphrase does not fit, KeyPacketError where the packet is damaged, cut off,
    of an unknown version, or asks for more work than any writer would.
    """
    packet = _decode(data)
    read = packet_v1.open_packet if packet[0] == 1 else packet_v2.open_packet
    return read(packet, _bytes(passphrase)).decode("utf-8", "surrogateescape")


def is_protected(data: bytes) -> bool:
    """Whether the packet is marked as having a passphrase. Decrypts nothing. Raises KeyPacketError."""
    packet = _decode(data)
    return not (packet_v1.is_unprotected if packet[0] == 1 else packet_v2.is_unprotected)(packet)


def opens_without_passphrase(data: bytes) -> str | None:
    """The secret, if the packet's passphrase is empty; else None. Costs nothing. Raises KeyPacketError."""
    if is_protected(data):
        return None
    try:
        return open_packet(data, "")
    except WrongPassphraseError:  # version 1 allows a non-empty passphrase with one repeat
        return None


def fingerprint(data: bytes) -> str:
    """What tells packets of one secret from those of another: 12 hexadecimal digits. Raises KeyPacketError."""
    packet = _decode(data)
    start = 5
    return packet[start : start + 6].hex()


def _decode(data: bytes) -> bytes:
    try:
        packet = base64.b64decode(b"".join(data.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise KeyPacketError(
            "the key packet is damaged: it is not Base64 text", "Use another copy of the key."
        ) from error
    if not packet:
        raise KeyPacketError("the key packet is empty", "Use another copy of the key.")
    if packet[0] not in FORMATS:
        raise KeyPacketError(
            f"the key packet has the unknown version {packet[0]}",
            "Use another copy of the key, or a newer TKLBAM if a newer one wrote it.",
        )
    (packet_v1.check if packet[0] == 1 else packet_v2.check)(packet)
    return packet


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
