"""The database that an address names: `sqlite:///path` or `postgresql://user:password@host:port/name?sslmode=…`."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit


class BadDatabaseUrl(ValueError):
    """The address names no database that the Hub can use."""


def settings(url: str, state: Path) -> dict[str, Any]:
    """Django's settings for one database; an empty address is SQLite in the state directory. Raises BadDatabaseUrl."""
    if not url:
        return _sqlite(str(state / "hub.sqlite3"))
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        if not parts.path.startswith("/"):
            raise BadDatabaseUrl("DATABASE_URL: write sqlite:///absolute/path")
        return _sqlite(unquote(parts.path))
    if parts.scheme not in ("postgresql", "postgres"):
        raise BadDatabaseUrl(f"DATABASE_URL: {parts.scheme or 'no scheme'}: write postgresql://… or sqlite:///path")
    options = dict(parse_qsl(parts.query))
    name = unquote(parts.path.removeprefix("/"))
    if not name:
        raise BadDatabaseUrl("DATABASE_URL names no database: postgresql://user:password@host/NAME")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        # A socket's directory may stand as ?host=/run/postgresql, as libpq has it.
        "HOST": options.pop("host", "") or unquote(parts.hostname or ""),
        "PORT": str(parts.port or options.pop("port", "")),
        "OPTIONS": options,
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }


def _sqlite(path: str) -> dict[str, Any]:
    return {"ENGINE": "tklbam_hub.sqlite", "NAME": path, "CONN_MAX_AGE": 60}
