"""The built-in escrow: key packets in files, or through standard output and input."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import sys
from pathlib import Path

from ..api.errors import KeyPacketError, TklbamError
from ..api.files import sync_directory
from ..api.marker import hookimpl
from ..api.models import EscrowRequest

MOST_BYTES = 1 << 20
"""A key packet is some hundred bytes; more than this is another file, named by mistake."""

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:")


class FileEscrow:
    """Takes every place that is a path or `-`; a place like `hub:` is another plugin's (write `./hub:` for a file)."""

    @hookimpl(trylast=True)
    def tklbam_escrow_store(self, request: EscrowRequest, packet: bytes) -> str | None:
        """Writes the packet, mode 0600, never over an existing file unless `request.overwrite`. Raises TklbamError."""
        if _SCHEME.match(request.place):
            return None
        line = packet.rstrip(b"\n") + b"\n"
        if request.place == "-":
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
            return "standard output"
        path = Path(request.place)
        try:
            _write(path, line, overwrite=request.overwrite)
        except FileExistsError:
            raise TklbamError(f"{path} exists already", "Name another file, or say --force to write over it.") from None
        except OSError as error:
            raise TklbamError(
                f"the key can't be written to {path}: {error.strerror}", "Name a file in a folder you may write to."
            ) from error
        return str(path)

    @hookimpl(trylast=True)
    def tklbam_escrow_fetch(self, request: EscrowRequest) -> bytes | None:
        """Reads a packet. None where there is no such file. Raises TklbamError, KeyPacketError."""
        if _SCHEME.match(request.place):
            return None
        try:
            if request.place == "-":
                data = sys.stdin.buffer.read(MOST_BYTES + 1)
            else:
                with open(request.place, "rb") as file:
                    data = file.read(MOST_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TklbamError(
                f"the key can't be read from {request.place}: {error.strerror}", "Name a file you may read."
            ) from error
        if len(data) > MOST_BYTES:
            raise KeyPacketError(
                f"{request.place} is no key packet: it is larger than {MOST_BYTES >> 20} MB", "Name the key's file."
            )
        return data


def _write(path: Path, content: bytes, *, overwrite: bool) -> None:
    path = path.resolve()  # a link keeps pointing where it does
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        # A pipe or a device: there is nothing to replace.
        with open(path, "wb") as file:
            file.write(content)
        return
    # Without leave to overwrite, the name itself is made exclusively. FAT, on many a USB stick, knows no hard links
    # and no change of mode, so neither is asked for.
    place = path.parent / f".{secrets.token_hex(6)}" if overwrite else path
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        if overwrite:
            os.replace(place, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(place)
        raise
    sync_directory(path.parent)
