"""OpenPGP messages read as they come: what our writer and gpg make of a passphrase (RFC 4880), checked for integrity.

AES under a passphrase, with an integrity protected data packet, is read here; whatever else a classic archive may hold
(CAST5, no integrity check, public keys) is for gpg.
"""

from __future__ import annotations

import bz2
import hashlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from . import deflate
from .openpgp import derive_key, new_cipher

_READ = 1 << 18
_ERRORS: tuple[type[Exception], ...] = (*deflate.ERRORS, OSError)
_LARGEST_KEY = 1 << 12
"""Bytes of a packet that stands before the data, at most."""
_KEY_SIZES = {7: 16, 8: 24, 9: 32}
"""Bytes of the key, by cipher (9.2): AES of 128, 192 and 256 bits."""
_HASHES = {1: "md5", 2: "sha1", 8: "sha256", 9: "sha384", 10: "sha512", 11: "sha224"}
_SESSION_KEY, _COMPRESSED, _MARKER, _LITERAL, _PROTECTED = 3, 8, 10, 11, 18
_MDC = 22
"""Bytes of the packet that ends what is protected: its header and a SHA-1."""


class UnsupportedMessageError(ValueError):
    """A message that gpg may be able to read."""


class WrongPassphraseError(ValueError):
    """The passphrase is not this message's."""


class CutShortError(ValueError):
    """A stream that ends before it should."""

    def __init__(self) -> None:
        super().__init__("it is cut short")


class Stream:
    """Pieces of any size as a stream."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = b""
        self._position = 0

    def some(self, most: int) -> bytes:
        """Up to so many bytes, at least one; nothing at the end."""
        if self._position == len(self._piece):
            self._position = 0
            self._piece = next(self._pieces, b"")
            while not self._piece:
                try:
                    self._piece = next(self._pieces)
                except StopIteration:
                    return b""
        data = self._piece[self._position : self._position + most]
        self._position += len(data)
        return data

    def read(self, size: int) -> bytes:
        """So many bytes; fewer only where the stream ends."""
        data = self.some(size)
        if len(data) == size or not data:
            return data
        parts = [data]
        size -= len(data)
        while size and (data := self.some(size)):
            parts.append(data)
            size -= len(data)
        return b"".join(parts)

    def exactly(self, size: int) -> bytes:
        """Raises CutShortError where there are fewer."""
        data = self.read(size)
        if len(data) != size:
            raise CutShortError
        return data

    def pieces(self, size: int) -> Iterator[bytes]:
        """So many bytes, as they come. Raises CutShortError where there are fewer."""
        while size:
            data = self.some(min(size, _READ))
            if not data:
                raise CutShortError
            size -= len(data)
            yield data

    def rest(self) -> Iterator[bytes]:
        while data := self.some(_READ):
            yield data


def plain_text(read: Callable[[int], bytes], passphrase: str, most: int = _READ) -> Iterator[bytes]:
    """What the message holds, in pieces of at most `most` bytes. The integrity check comes with the end.

    Raises ValueError for a damaged message, and its kinds UnsupportedMessageError and WrongPassphraseError.
    """
    message = Stream(iter(lambda: read(most), b""))
    key: bytes | None = None
    tag, body = _packet(message)
    while tag in (_SESSION_KEY, _MARKER):
        content = Stream(body).read(_LARGEST_KEY + 1)
        if len(content) > _LARGEST_KEY:
            raise UnsupportedMessageError(f"it has a packet of type {tag} and an absurd size")
        if tag == _SESSION_KEY:
            if key is not None:
                raise UnsupportedMessageError("it has several keys")
            key = _key(content, passphrase)
        tag, body = _packet(message)
    if tag != _PROTECTED or key is None:
        raise UnsupportedMessageError(f"it has a packet of type {tag} there")
    protected = Stream(body)
    if protected.exactly(1) != b"\x01":
        raise UnsupportedMessageError("its protection is of another kind")
    yield from _literal(Stream(_decrypted(protected, key)), most)


def _literal(inner: Stream, most: int) -> Iterator[bytes]:
    tag, body = _packet(inner)
    layers = [inner]
    if tag == _COMPRESSED:
        packed = Stream(body)
        layers.append(packed)
        unpacked = Stream(_decompressed(packed, most))
        layers.append(unpacked)
        tag, body = _packet(unpacked)
    if tag != _LITERAL:
        raise UnsupportedMessageError(f"it holds a packet of type {tag}")
    content = Stream(body)
    content.exactly(1)
    content.exactly(content.exactly(1)[0] + 4)
    yield from content.rest()
    for layer in reversed(layers):
        for _ in layer.rest():
            continue  # up to the integrity check


def _key(packet: bytes, passphrase: str) -> bytes:
    """Of a symmetric-key encrypted session key packet (5.3)."""
    if len(packet) < 4 or packet[0] != 4:
        raise UnsupportedMessageError("its key is of another kind")
    size, name = _KEY_SIZES.get(packet[1]), _HASHES.get(packet[3])
    lengths = {0: 4, 1: 12, 3: 13}
    if size is None or name is None or len(packet) != lengths.get(packet[2]):
        raise UnsupportedMessageError(f"cipher {packet[1]}, key derivation {packet[2]} with hash {packet[3]}")
    salt = packet[4:12]
    coded_count = packet[12] if packet[2] == 3 else None
    return derive_key(passphrase.encode(), salt, coded_count, name, size)


def _decrypted(protected: Stream, key: bytes) -> Iterator[bytes]:
    """Everything but the integrity check, which is made at the end."""
    cipher = new_cipher(key).decryptor()
    prefix = cipher.update(protected.exactly(18))
    if prefix[14:16] != prefix[16:18]:
        raise WrongPassphraseError("the passphrase is another one")
    digest = hashlib.sha1(prefix, usedforsecurity=False)
    last = b""
    for data in protected.rest():
        known = last + cipher.update(data)
        last = known[-_MDC:]
        known = known[:-_MDC]
        digest.update(known)
        if known:
            yield known
    digest.update(last[:2])
    if last[:2] != b"\xd3\x14" or digest.digest() != last[2:]:
        raise ValueError("its integrity check fails")


def _decompressed(packed: Stream, most: int) -> Iterator[bytes]:
    algorithm = packed.exactly(1)[0]
    if algorithm == 0:
        yield from packed.rest()
        return
    unpacker: Any
    if algorithm in (1, 2):
        unpacker = deflate.decompressor(-zlib.MAX_WBITS if algorithm == 1 else zlib.MAX_WBITS)
    elif algorithm == 3:
        unpacker = bz2.BZ2Decompressor()
    else:
        raise UnsupportedMessageError(f"its compression is of kind {algorithm}")
    for data in packed.rest():
        # What fits into no piece stays inside, even where all of the data was taken: it has to be asked for.
        while not unpacker.eof and (piece := _unpacked(unpacker, data, most)):
            yield piece
            data = b"" if algorithm == 3 else unpacker.unconsumed_tail
        if unpacker.eof:
            break
    if not unpacker.eof:
        raise CutShortError


def _unpacked(unpacker: Any, data: bytes, most: int) -> bytes:
    try:
        piece: bytes = unpacker.decompress(data, most)
    except _ERRORS as error:
        raise ValueError(f"its compression is damaged ({error})") from error
    return piece


def _packet(stream: Stream) -> tuple[int, Iterator[bytes]]:
    """The next packet's type and its body, which must be read before the next one (4.2)."""
    (head,) = stream.exactly(1)
    if not head & 0x80:
        raise ValueError("it is no OpenPGP message")
    if head & 0x40:
        return head & 0x3F, _new_body(stream)
    size = (1, 2, 4, 0)[head & 3]
    length = int.from_bytes(stream.exactly(size), "big") if size else None
    return (head & 0x3C) >> 2, stream.pieces(length) if length is not None else stream.rest()


def _new_body(stream: Stream) -> Iterator[bytes]:
    while True:
        (first,) = stream.exactly(1)
        if 224 <= first < 255:
            yield from stream.pieces(1 << (first & 0x1F))
            continue
        if first < 192:
            length = first
        elif first < 224:
            length = (first - 192 << 8) + stream.exactly(1)[0] + 192
        else:
            length = int.from_bytes(stream.exactly(4), "big")
        yield from stream.pieces(length)
        return
