"""What the operator says, in environment variables; `docs/hub.md` lists them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")


class BadSetting(ValueError):
    """A variable's value can't be used; says which and what to write instead."""


@dataclass(frozen=True)
class PublicUrl:
    """Where people and clients reach this Hub, as they type it."""

    url: str
    host: str
    secure: bool

    @property
    def origin(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"


def public_url(environment: Mapping[str, str]) -> PublicUrl:
    url = environment.get("TKLBAM_HUB_URL", "http://127.0.0.1:8000").rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadSetting(f"TKLBAM_HUB_URL: {url}: write https://hub.example.org")
    if parts.path:
        raise BadSetting("TKLBAM_HUB_URL: a Hub lives at the top of its host: leave the path out")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return PublicUrl(url, host, parts.scheme == "https")


def words(environment: Mapping[str, str], name: str) -> list[str]:
    return environment.get(name, "").replace(",", " ").split()


def networks(environment: Mapping[str, str], name: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(word, strict=False) for word in words(environment, name))
    except ValueError as error:
        raise BadSetting(f"{name}: {error}: write addresses or networks, such as 127.0.0.1 10.0.0.0/8") from None


def number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit():
        raise BadSetting(f"{name}: {text}: write a whole number")
    return int(text)


def flag(environment: Mapping[str, str], name: str) -> bool:
    text = environment.get(name, "").lower()
    if text in ("1", "yes", "true", "on"):
        return True
    if text in ("", "0", "no", "false", "off"):
        return False
    raise BadSetting(f"{name}: {text}: write yes or no")


def email(environment: Mapping[str, str]) -> dict[str, Any]:
    """Django's e-mail settings from `TKLBAM_HUB_EMAIL_URL`: smtp://, smtp+tls:// (STARTTLS), smtps://, file:///dir."""
    url = environment.get("TKLBAM_HUB_EMAIL_URL", "")
    if not url:
        return {"EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend"}
    parts = urlsplit(url)
    if parts.scheme == "file":
        return {
            "EMAIL_BACKEND": "django.core.mail.backends.filebased.EmailBackend",
            "EMAIL_FILE_PATH": unquote(parts.path),
        }
    if parts.scheme not in ("smtp", "smtp+tls", "smtps") or not parts.hostname:
        raise BadSetting("TKLBAM_HUB_EMAIL_URL: write smtp+tls://user:password@mail.example.org:587")
    usual = {"smtp": 25, "smtp+tls": 587, "smtps": 465}
    return {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": parts.port or usual[parts.scheme],
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_TLS": parts.scheme == "smtp+tls",
        "EMAIL_USE_SSL": parts.scheme == "smtps",
        "EMAIL_TIMEOUT": int(dict(parse_qsl(parts.query)).get("timeout", "20")),
    }
