"""Who is asking, when proxies stand in between; and what a browser may do with our pages."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from tklbam_hub.environment import Network

Handler = Callable[[HttpRequest], HttpResponse]
ATTRIBUTE = "client_address"
FORWARDING = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST", "HTTP_FORWARDED")
# Nothing from elsewhere, nothing inline: an injected tag finds nothing to run.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self';"
    " connect-src 'self'; manifest-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


def client_address(request: HttpRequest) -> str:
    """The address that a request came from, as far as it can be trusted; "" where only a local socket is known."""
    return str(getattr(request, ATTRIBUTE, "") or request.META.get("REMOTE_ADDR", ""))


class ClientAddress:
    """Believes forwarding headers when a trusted proxy sent them, and removes them otherwise."""

    def __init__(self, get_response: Handler) -> None:
        self._next = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        trusted: Sequence[Network] = settings.TRUSTED_PROXIES
        peer = plain(str(request.META.get("REMOTE_ADDR", "")))
        address = peer
        if is_trusted(peer, trusted):
            address = furthest(str(request.META.get("HTTP_X_FORWARDED_FOR", "")), peer, trusted)
        else:
            for name in FORWARDING:
                request.META.pop(name, None)
        setattr(request, ATTRIBUTE, address)
        return self._next(request)


def plain(text: str) -> str:
    """An address in its one form: without a zone, and the old kind not wrapped in the new. What is none stays."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return text
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def is_trusted(peer: str, trusted: Sequence[Network]) -> bool:
    """A peer without an address came over a socket that only this machine's proxy can open."""
    if not peer:
        return bool(trusted)
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    return any(address in network for network in trusted)


def furthest(header: str, peer: str, trusted: Sequence[Network]) -> str:
    """The last hop before our own proxies: read from the right, for whatever stands further left anyone may write."""
    address = peer
    for hop in reversed([word.strip() for word in header.split(",") if word.strip()]):
        try:
            address = plain(str(ipaddress.ip_address(hop)))
        except ValueError:
            return address
        if not is_trusted(address, trusted):
            return address
    return address


class ContentSecurityPolicy:
    """Adds the policy to every answer that has none of its own."""

    def __init__(self, get_response: Handler) -> None:
        self._next = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._next(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        return response
