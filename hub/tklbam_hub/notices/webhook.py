"""Posting to an address that a customer wrote down: to the world outside, never to what only this machine can reach."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ipaddress
import json
import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from tklbam_hub.environment import Network

SECONDS = 10
SIGNATURE = "X-Hub-Signature-256"
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# Addresses of the new kind that lead to one of the old kind: where it leads is what counts.
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class WebhookError(Exception):
    """It can't be posted to, or did not take it; says why, and nothing of what the other side answered."""


def check_url(url: str) -> None:
    """Raises WebhookError for an address that no announcement will ever be posted to. Asks no name server."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise WebhookError("write https://host/path") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise WebhookError("write https://host/path")
    if parts.username or parts.password:
        raise WebhookError("leave name and password out: requests are signed instead")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise WebhookError("write the address in ASCII, without spaces")


def post(url: str, secret: str, payload: Mapping[str, Any], inside: Sequence[Network] = ()) -> None:
    """Posts JSON, signed with HMAC-SHA-256 of the secret. `inside` are private networks that may be reached.

    The name is looked up once and the connection goes to what was looked at, so a name that changes its mind meanwhile
    wins nothing. Redirects are not followed. Raises WebhookError.
    """
    check_url(url)
    parts = urlsplit(url)
    host = str(parts.hostname)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = resolve(host, port, inside)
    data = json.dumps(payload).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "tklbam-hub", "Host": parts.netloc}
    if secret:
        headers[SIGNATURE] = "sha256=" + hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = _Pinned(host, port, address, secure=parts.scheme == "https")
    try:
        connection.request("POST", path, body=data, headers=headers)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise WebhookError(f"{host}: {type(error).__name__}") from None
    finally:
        connection.close()
    if not 200 <= status < 300:
        raise WebhookError(f"{host} answered with status {status}")


def resolve(host: str, port: int, inside: Sequence[Network]) -> str:
    """An address of the host that may be connected to. One address that may not is enough to refuse the name."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise WebhookError(f"{host}: there is no such host") from None
    addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
    for address in addresses:
        if not is_allowed(address, inside):
            raise WebhookError(f"{host} is not an address of the world outside")
    return addresses[0]


def is_allowed(address: str, inside: Sequence[Network]) -> bool:
    ip = _meant(ipaddress.ip_address(address))
    return any(ip in network for network in inside) or (ip.is_global and not ip.is_multicast)


def _meant(ip: Address) -> Address:
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else ip)


class _Pinned(http.client.HTTPConnection):
    """A connection to one address in the name of a host."""

    def __init__(self, host: str, port: int, address: str, *, secure: bool) -> None:
        super().__init__(host, port, timeout=SECONDS)
        self._address = address
        self._context = ssl.create_default_context() if secure else None

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), timeout=SECONDS)
        if self._context is not None:
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self.host)
