"""Systems whose backups go to the tests' servers, and what is said of their runs."""

from __future__ import annotations

import base64
from pathlib import Path

from plugins.storage.remote.tests.places import Place
from tests.e2e.machine import Machine
from tests.e2e.small import initialised


def machine(root: Path, place: Place, *lines: str) -> Machine:
    """An initialised system that stores to a place, its password in the credentials file."""
    made = initialised(root)
    configure(made, place, *lines)
    return made


def configure(made: Machine, place: Place, *lines: str) -> None:
    options = [f"storage-option {key}={value}" for key, value in place.options.items()]
    text = "".join(f"{line}\n" for line in [f"address {place.address}", "keep-full 1", *options, *lines])
    made.write("/etc/tklbam/conf", text)
    if place.credentials:
        section = place.address if "://" in place.address else ""
        fields = "".join(f"{key} = {value}\n" for key, value in place.credentials.items())
        made.write("/etc/tklbam/credentials", f"[{section}]\n{fields}", 0o600)


def key_of(made: Machine, place: Path) -> Path:
    """The key, protected by the empty passphrase."""
    made.tklbam("escrow", str(place), "-P")
    return place


def spellings(secret: str) -> list[bytes]:
    """What a secret looks like where it was let out: plain, quoted for a URL or a script, in base64."""
    from urllib.parse import quote

    plain = secret.encode()
    found = {plain, quote(secret).encode(), quote(secret, safe="").encode(), repr(secret)[1:-1].encode()}
    found |= {secret.replace("\\", "\\\\").replace("'", "\\'").encode(), base64.b64encode(plain)}
    return sorted(found)
