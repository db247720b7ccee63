"""Key packets, against readers and writers written here by hand from docs/formats/key-packet.md alone."""

from __future__ import annotations

import base64
import hashlib
import resource
import struct
import subprocess
import sys
import time

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from tklbam_core.api.errors import KeyPacketError, UsageError, WrongPassphraseError
from tklbam_core.keys import packet
from tklbam_core.keys.secret import new_secret

SECRET = "c1b6d4e5f1e6a3a2b0ff00aa99887766554433221100ffeeddccbbaa99887766"


def v1_by_hand(secret: bytes, passphrase: bytes, repeats: int, *, front: bytes | None = None) -> bytes:
    """Version 1 step by step; `front` replaces the random bytes in front."""
    digest = hashlib.sha1(secret).digest()
    message = b"RAND" + digest + secret
    length = len(message)
    missing = 0
    while (missing + length + 2) % 16:
        missing += 1
    whole = (front if front is not None else b"\xee" * missing) + message + bytes([length >> 8, length & 255])
    key = passphrase
    for _ in range(repeats * 1000 + 1):
        key = hashlib.sha256(key).digest()
    for _ in range(repeats * 1000 + 1):
        encryptor = Cipher(algorithms.AES(key), modes.CBC(b"\0" * 16)).encryptor()
        whole = encryptor.update(whole)
    fields = b"\x01" + repeats.to_bytes(2, "big") + repeats.to_bytes(2, "big") + digest[:6]
    return base64.b64encode(fields + whole)


def v2_by_hand(secret: bytes, passphrase: bytes, n: int = 4, r: int = 8, p: int = 1, derivation: int = 1) -> bytes:
    salt, nonce = b"s" * 16, b"n" * 12
    header = bytes([2, derivation, n, r, p]) + hashlib.sha1(secret).digest()[:6] + salt + nonce
    if derivation == 1:
        key = hashlib.scrypt(passphrase, salt=salt, n=2**n, r=r, p=p, dklen=32, maxmem=1 << 30)
    else:
        key = hashlib.sha256(salt).digest()
    body = header + AESGCM(key).encrypt(nonce, secret, header)
    return base64.b64encode(body + hashlib.sha256(body).digest()[:4])


def forged_v2(n: int, r: int, p: int, derivation: int = 1) -> bytes:
    body = bytes([2, derivation, n, r, p]) + b"f" * 6 + b"s" * 16 + b"n" * 12 + b"c" * 48
    return base64.b64encode(body + hashlib.sha256(body).digest()[:4])


def test_new_secret_is_256_random_bits_in_one_line() -> None:
    first, second = new_secret(), new_secret()
    assert len(bytes.fromhex(first)) == 32
    assert first != second
    assert first.split() == [first]


# --- version 1 -------------------------------------------------------------------------------------------------------

# Made once by v1_by_hand(b"the secret", b"swordfish", 2) and kept, so that a change on both sides at once shows.
V1_KEPT = "AQACAAK9Xfu7rZ1VK87Ofs/89v62dMqTusG9PxZNpwoZZjS3Ir/gr7f1AVdaPuvh+1+dZsyqaTGNsWg="


def test_classic_packet_kept_as_text_opens() -> None:
    assert packet.open_packet(V1_KEPT.encode(), "swordfish") == "the secret"


@pytest.mark.parametrize("length", range(1, 34))
def test_hand_made_classic_packets_of_every_padding_open(length: int) -> None:
    secret = "s" * length
    assert packet.open_packet(v1_by_hand(secret.encode(), b"pw", 1), "pw") == secret


def test_hand_made_classic_packet_without_passphrase_opens_at_once() -> None:
    made = v1_by_hand(SECRET.encode(), b"", 0)
    assert packet.opens_without_passphrase(made) == SECRET
    assert packet.open_packet(made, "") == SECRET


def test_classic_packet_as_written_is_what_the_text_says() -> None:
    raw = base64.b64decode(packet.seal(SECRET, "correct horse", format=1), validate=True)
    version, hash_repeats, cipher_repeats = struct.unpack(">BHH", raw[:5])
    assert (version, hash_repeats, cipher_repeats) == (1, 80, 80)
    assert raw[5:11] == hashlib.sha1(SECRET.encode()).digest()[:6]
    key = b"correct horse"
    for _ in range(80001):
        key = hashlib.sha256(key).digest()
    whole = raw[11:]
    assert len(whole) % 16 == 0
    for _ in range(80001):
        whole = Cipher(algorithms.AES(key), modes.CBC(b"\0" * 16)).decryptor().update(whole)
    length = int.from_bytes(whole[-2:], "big")
    message = whole[-2 - length : -2]
    assert message[4:24] == hashlib.sha1(SECRET.encode()).digest()
    assert message[24:] == SECRET.encode()
    assert len(whole) - 2 - length < 16


def test_classic_packet_without_passphrase_writes_zero_repeats() -> None:
    made = packet.seal(SECRET, "", format=1)
    assert base64.b64decode(made)[:5] == b"\x01\0\0\0\0"
    assert packet.open_packet(made, "") == SECRET


def test_wrong_passphrase_on_classic_packet_is_told_as_such() -> None:
    made = v1_by_hand(SECRET.encode(), b"right", 1)
    for wrong in ("wrong", "Right", "", "right "):
        with pytest.raises(WrongPassphraseError):
            packet.open_packet(made, wrong)
    assert WrongPassphraseError().exit_code == 11


def test_classic_packet_with_foreign_fingerprint_is_damaged() -> None:
    raw = bytearray(base64.b64decode(v1_by_hand(SECRET.encode(), b"pw", 1)))
    raw[6] ^= 1
    with pytest.raises(KeyPacketError, match="fingerprint"):
        packet.open_packet(base64.b64encode(raw), "pw")


def test_classic_packet_asking_for_minutes_of_work_is_refused_at_once() -> None:
    for fields in (b"\x01\xff\xff\0\x50", b"\x01\0\x50\xff\xff"):
        started = time.monotonic()
        with pytest.raises(KeyPacketError, match=r"65535,000 repeats"):
            packet.open_packet(base64.b64encode(fields + b"f" * 6 + b"c" * 64), "pw")
        assert time.monotonic() - started < 5, "the work itself would take longer"


# --- version 2 -------------------------------------------------------------------------------------------------------


def test_hand_made_packet_opens() -> None:
    assert packet.open_packet(v2_by_hand(SECRET.encode(), b"pass phrase", n=10, p=3), "pass phrase") == SECRET


def test_hand_made_packet_without_passphrase_opens() -> None:
    made = v2_by_hand(SECRET.encode(), b"", 0, 0, 0, derivation=0)
    assert packet.opens_without_passphrase(made) == SECRET


def test_packet_as_written_is_what_the_text_says() -> None:
    raw = base64.b64decode(packet.seal(SECRET, "pässword"), validate=True)
    version, derivation, n, r, p = raw[:5]
    assert (version, derivation) == (2, 1)
    assert 128 * r * 2**n >= 64 << 20
    salt, nonce = raw[11:27], raw[27:39]
    key = hashlib.scrypt("pässword".encode(), salt=salt, n=2**n, r=r, p=p, dklen=32, maxmem=1 << 30)
    assert AESGCM(key).decrypt(nonce, raw[39:-4], raw[:39]) == SECRET.encode()
    assert raw[-4:] == hashlib.sha256(raw[:-4]).digest()[:4]
    assert raw[5:11] == hashlib.sha1(SECRET.encode()).digest()[:6]


def test_packets_are_one_line_of_text() -> None:
    for format in packet.FORMATS:
        made = packet.seal(SECRET, "", format)
        assert made.isascii()
        assert not set(made) & set(b" \n\r\t")


def test_white_space_that_mail_puts_in_does_no_harm() -> None:
    made = packet.seal(SECRET, "")
    wrapped = b"\r\n".join(made[i : i + 20] for i in range(0, len(made), 20)) + b"\n\n"
    assert packet.open_packet(wrapped, "") == SECRET


def test_two_packets_of_one_secret_differ_and_share_their_fingerprint() -> None:
    first, second, classic = packet.seal(SECRET, ""), packet.seal(SECRET, ""), packet.seal(SECRET, "", 1)
    assert first != second
    assert packet.fingerprint(first) == packet.fingerprint(second) == packet.fingerprint(classic)
    assert packet.fingerprint(packet.seal(new_secret(), "")) != packet.fingerprint(first)
    assert (base64.b64decode(first)[0], base64.b64decode(classic)[0]) == (2, 1)


def test_wrong_passphrase_is_told_as_such() -> None:
    made = v2_by_hand(SECRET.encode(), b"right")
    for wrong in ("wrong", "Right", "right ", ""):
        with pytest.raises(WrongPassphraseError):
            packet.open_packet(made, wrong)
    assert packet.opens_without_passphrase(made) is None
    with pytest.raises(WrongPassphraseError):
        packet.open_packet(packet.seal(SECRET, ""), "anything")


@pytest.mark.parametrize("make", [lambda: v2_by_hand(SECRET.encode(), b"pw"), lambda: packet.seal(SECRET, "")])
def test_every_flipped_byte_is_told_as_damage_and_not_as_a_wrong_passphrase(make: object) -> None:
    raw = base64.b64decode(make())  # type: ignore[operator]
    for place in range(len(raw)):
        hurt = bytearray(raw)
        hurt[place] ^= 0x20
        for passphrase in ("", "pw"):
            with pytest.raises(KeyPacketError):
                packet.open_packet(base64.b64encode(hurt), passphrase)


@pytest.mark.parametrize("format", packet.FORMATS)
def test_every_truncation_is_an_error(format: int) -> None:
    raw = base64.b64decode(packet.seal(SECRET, "", format))
    for length in range(len(raw)):
        with pytest.raises((KeyPacketError, WrongPassphraseError)) as caught:
            packet.open_packet(base64.b64encode(raw[:length]), "")
        if format == 2:
            assert caught.type is KeyPacketError


@pytest.mark.parametrize(
    ("n", "r", "p", "derivation"),
    [
        (30, 255, 255, 1),
        (255, 8, 1, 1),
        (0, 8, 1, 1),
        (16, 0, 1, 1),
        (16, 8, 0, 1),
        (23, 8, 1, 1),
        (20, 1, 255, 1),
        (20, 8, 1, 1),
        (16, 8, 2, 2),
        (16, 8, 2, 0),
    ],
)
def test_hostile_parameters_are_refused_before_any_work(n: int, r: int, p: int, derivation: int) -> None:
    started = time.monotonic()
    for attempt in (packet.opens_without_passphrase, lambda data: packet.open_packet(data, "pw")):
        with pytest.raises(KeyPacketError):
            attempt(forged_v2(n, r, p, derivation))
    assert time.monotonic() - started < 5, "the work itself would take longer"


def test_hostile_packet_never_makes_its_reader_use_more_than_the_bound() -> None:
    # The largest packet that is accepted: run apart, with its peak memory read afterwards.
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tklbam_core.keys import packet\n"
        "from tklbam_core.api.errors import TklbamError\n"
        "try: packet.open_packet(sys.argv[1].encode(), 'pw')\n"
        "except TklbamError: pass\n"
        # Not what getrusage says: its peak is at least that of the program that started this one.
        "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])\n"
    )
    largest = forged_v2(18, 16, 1)
    done = subprocess.run([sys.executable, "-c", code, largest.decode()], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < (512 << 20) + (80 << 20)


def test_too_little_memory_is_a_clear_error() -> None:
    code = (
        "import sys, resource\n"
        "from tklbam_core.keys import packet\n"
        "from tklbam_core.api.errors import KeyPacketError\n"
        "import cryptography.hazmat.primitives.ciphers.aead\n"
        f"resource.setrlimit(resource.RLIMIT_AS, (300 << 20, {resource.RLIM_INFINITY}))\n"
        "try: packet.open_packet(sys.argv[1].encode(), 'pw')\n"
        "except KeyPacketError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, forged_v2(18, 16, 1).decode()], capture_output=True, text=True, check=True
    )
    assert "512 MiB of free memory" in done.stdout


def test_unknown_version_names_it() -> None:
    with pytest.raises(KeyPacketError, match="unknown version 3"):
        packet.open_packet(base64.b64encode(b"\x03" + b"x" * 60), "")
    with pytest.raises(UsageError, match="format 3"):
        packet.seal(SECRET, "", format=3)


@pytest.mark.parametrize("data", [b"", b"\n", b"not a packet!", b"\xff\xfe\x00", b"AAA", "Schlüssel".encode()])
def test_what_is_no_packet_at_all_is_a_clear_error(data: bytes) -> None:
    with pytest.raises(KeyPacketError) as caught:
        packet.open_packet(data, "")
    assert caught.value.remedy


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_no_bytes_make_the_reader_fail_in_another_way(data: bytes) -> None:
    for passphrase in ("", "pw"):
        with pytest.raises((KeyPacketError, WrongPassphraseError)):
            packet.open_packet(base64.b64encode(data), passphrase)
        with pytest.raises((KeyPacketError, WrongPassphraseError)):
            packet.open_packet(data, passphrase)


@given(
    st.text(min_size=1, max_size=100, alphabet=st.characters(exclude_categories=["Cs"])),
    st.text(max_size=0),
)
@settings(max_examples=50, deadline=None)
def test_any_secret_comes_back_in_both_formats(secret: str, passphrase: str) -> None:
    for format in packet.FORMATS:
        assert packet.open_packet(packet.seal(secret, passphrase, format), passphrase) == secret


def test_bytes_that_are_not_utf8_travel_unchanged() -> None:
    secret = b"caf\xe9".decode("utf-8", "surrogateescape")
    for format in packet.FORMATS:
        assert packet.open_packet(packet.seal(secret, secret, format), secret) == secret
