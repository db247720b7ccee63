"""Archives made by hand, tar member by tar member: whatever a session should never hold."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.engine_support import SECRET, Lab
from tklbam_core.engine.native.openpgp import STRONG, encrypt
from tklbam_core.engine.native.tarheader import DIRECTORY, FILE, format_header, padding

Sessions = Sequence[Sequence[bytes]]
"""Plain tars of the volumes of each session, the full one first."""
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_MAGIC = b"rs\x026"


def member(name: bytes, content: bytes = b"", kind: bytes = FILE, mode: int = 0o644, **more: object) -> bytes:
    """A member of a tar."""
    header = format_header(name, kind, mode, 0, 0, len(content), 1_000_000_000, **more)  # type: ignore[arg-type]
    return header + content + padding(len(content))


def tar(*members: bytes, root: bool = True, end: bool = True) -> bytes:
    first = member(b"snapshot/", kind=DIRECTORY, mode=0o755) if root else b""
    return b"".join((first, *members, bytes(1024 if end else 0)))


def numbered(block: bytes, position: int, data: bytes) -> bytes:
    """A header with other bytes at a position, and the sum that goes with them."""
    changed = bytearray(block)
    changed[position : position + len(data)] = data
    changed[148:156] = b" " * 8
    changed[148:156] = b"%06o\0 " % sum(changed[:512])
    return bytes(changed)


def copy_command(start: int, length: int) -> bytes:
    """A piece of a delta: so many bytes of the old content from `start` on."""
    return b"\x54" + start.to_bytes(8, "big") + length.to_bytes(8, "big")


def delta(*commands: bytes, end: bytes = b"\0") -> bytes:
    return b"".join((_MAGIC, *commands, end))


def by_ourselves(data: bytes) -> bytes:
    return encrypt(data, SECRET, STRONG)


@contextmanager
def gpg() -> Iterator[Callable[..., bytes]]:
    """`encrypted(data, *options)` by gpg, with the usual secret unless another one is given."""
    home = Path(tempfile.mkdtemp(prefix="tklbam-test-", dir="/tmp"))
    # From 2.3 on it encrypts with CAST5 and the like only where it is told to.
    known = subprocess.run(["gpg", "--dump-options"], check=True, capture_output=True, text=True).stdout.split()
    old = [option for option in ("--allow-old-cipher-algos",) if option in known]

    def encrypted(data: bytes, *options: str, secret: str = SECRET) -> bytes:
        argv = [
            "gpg",
            "--homedir",
            str(home),
            "--batch",
            "--quiet",
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            secret,
            *old,
        ]
        done = subprocess.run([*argv, *options, "--symmetric"], input=data, check=True, capture_output=True)
        return done.stdout

    try:
        yield encrypted
    finally:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"], check=True)
        shutil.rmtree(home, ignore_errors=True)


def time_of(number: int) -> datetime:
    """When the session of that number was made."""
    return _BEGIN + timedelta(days=number)


def store(
    lab: Lab, *sessions: Sequence[bytes], encrypted: Callable[[bytes], bytes] = by_ourselves, ending: str = ".gpg"
) -> list[Path]:
    """Puts a chain on the target, with manifests that are true to it; the paths of the volumes."""
    lab.store.mkdir(mode=0o700, exist_ok=True)
    made = []
    for number, volumes in enumerate(sessions):
        now, before = (f"{time_of(each):%Y%m%dT%H%M%SZ}" for each in (number, number - 1))
        stem, signed = f"full.{now}", f"full-signatures.{now}"
        if number:
            stem, signed = f"inc.{before}.to.{now}", f"new-signatures.{before}.to.{now}"
        manifest = b"Hostname here\nLocaldir /\n"
        for volume, plain in enumerate(volumes, 1):
            data = encrypted(plain)
            manifest += b"Volume %d:\n    StartingPath   .  \n    EndingPath     zzzz  \n    Hash SHA1 %b\n" % (
                volume,
                hashlib.sha1(data).hexdigest().encode(),
            )
            made.append(lab.store / f"duplicity-{stem}.vol{volume}.difftar{ending}")
            made[-1].write_bytes(data)
        (lab.store / f"duplicity-{stem}.manifest{ending}").write_bytes(encrypted(manifest))
        (lab.store / f"duplicity-{signed}.sigtar{ending}").write_bytes(encrypted(b""))
    return made
