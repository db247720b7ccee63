"""What update-ca-certificates makes of the packaged certificates (source: update-ca-certificates(8))."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator

from .expected import Expected, file, link
from .system import System, md5_of

SHIPPED = b"/usr/share/ca-certificates/"
CHOSEN = b"/etc/ca-certificates.conf"
MADE = b"/etc/ssl/certs/"
BUNDLE = MADE + b"ca-certificates.crt"
SNAKEOIL = b"ssl-cert-snakeoil.pem"
"""Made for this machine, and left out by the default conf."""
_HASH = re.compile(rb"[0-9a-f]{8}\.\d+")


def certificate_files(system: System) -> Iterator[Expected]:
    """The list of certificates with all that are packaged chosen, their links, and the bundle made of them."""
    packaged = sorted(path for path in system.owned if path.startswith(SHIPPED) and path.endswith(b".crt"))
    if not packaged:
        return
    names = [path.removeprefix(SHIPPED) for path in packaged]
    chosen = (system.read(CHOSEN) or b"").split(b"\n")
    lines = [line for line in chosen if line and not line.startswith(b"#")]
    if sorted(lines) == names:
        yield file(CHOSEN, md5_of(b"\n".join(chosen)))
    made = system.exists(BUNDLE)
    pems = {os.path.basename(path).removesuffix(b".crt") + b".pem": path for path in packaged}
    for pem, path in pems.items():
        yield link(MADE + pem, path, required=made and system.exists(path))
    for name in system.names(MADE):
        target = system.link_target(MADE + name) if _HASH.fullmatch(name) else None
        if target in pems or target == SNAKEOIL:
            yield link(MADE + name, target)
    yield file(BUNDLE, _bundle(system, [SHIPPED + line for line in lines if SHIPPED + line in system.owned]))


def _bundle(system: System, paths: list[bytes]) -> bytes:
    md5 = hashlib.md5(usedforsecurity=False)
    for path in paths:
        data = system.shipped_content(path) or b""
        md5.update(data if data.endswith(b"\n") else data + b"\n")
    return md5.hexdigest().encode()
