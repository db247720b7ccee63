"""Addresses that come from a Hub, which is not believed: it may be somebody else's, or broken into."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from .api.errors import HubError

LONGEST = 2048
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'`<>\\]+")


def check_address(address: str, directories: Sequence[Path]) -> None:
    """Raises HubError for an address that is no plain URL, that could pass for a program's option, or that is a
    directory of this machine outside of `directories`: a Hub must not choose where on its disks a server writes."""
    shown = ascii(address[:200])
    if len(address) > LONGEST or not address.isprintable() or not _URL.fullmatch(address):
        raise _refused(f"{shown} is not a plain URL")
    try:
        parts = urlsplit(address)
        names = [parts.username or "", parts.hostname or "", *unquote(parts.path).split("/")]
    except ValueError as error:
        raise _refused(f"{shown} is not a plain URL") from error
    if any(unquote(name).startswith("-") for name in names):
        raise _refused(f"a name in {shown} begins with a dash, as options of programs do")
    if parts.scheme != "file" and not _is_host(parts.hostname or ""):
        raise _refused(f"{shown} names no server")  # a path of this machine, or a program's own language
    if parts.scheme == "file":
        _check_directory(unquote(parts.path), shown, directories)


def _check_directory(path: str, shown: str, directories: Sequence[Path]) -> None:
    plain = path.startswith("/") and path.isprintable() and ".." not in path.split("/")
    place = os.path.normpath("/" + path.lstrip("/"))
    if plain and any(Path(place).is_relative_to(os.path.normpath(directory)) for directory in directories):
        return
    raise HubError(
        f"the Hub has this backup stored on this machine itself, at {shown}, which the configuration does not allow",
        "If a Hub of your own stores there (on a mounted share, say), put `hub-directory DIR` with that directory or "
        "one above it into the configuration.",
    )


def _is_host(name: str) -> bool:
    return name != "" and all(character.isalnum() or character in "._-:" for character in name)


def _refused(why: str) -> HubError:
    return HubError(
        f"the Hub's address of this backup is refused: {why}",
        "Report this to whoever runs the Hub; with `address URL` in the configuration backups go elsewhere.",
    )
