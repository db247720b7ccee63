"""Keeping secrets out of sight: the password in an address, and a redactor for text that people or logs get."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote

HIDDEN = "***"
SHORTEST = 4
"""Characters below which a secret is not looked for by itself: it would be found everywhere."""

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_IN_TEXT = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]*://[^\s/:@'\"]*):[^\s/'\"]+@")
_SECRET_NAME = re.compile(
    r"pass|pwd|secret|token|credential|(^|[_-])(api|access|account|application|private)?_?key$", re.I
)
_PLACE_NAME = re.compile(r"(file|files|path|dir|home|url|_id)$|^(OLD)?PWD$", re.I)
_PUBLIC_FIELDS = frozenset({"type", "user", "username", "accesskey", "access-key", "expiration", "region", "endpoint"})


def split_password(address: str) -> tuple[str, str]:
    """An address without the password in it, and that password, percent-decoded; "" where there is none.

    A password may hold any character that is written as `%XX`, and unwritten ones as long as it is clear what they
    belong to. The `::` of `rsync://host::module` begins no password.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or match[1].lower() == "rclone":
        return address, ""
    scheme, rest = match.groups()
    authority, slash, _ = rest.partition("/")
    if "@" not in authority:
        _, colon, port = authority.partition(":")
        # A slash in the password: what looks like a port is none.
        if not (slash and colon and port and "@" in rest and not port.isdigit()) or "[" in authority:
            return address, ""
        credentials, _, where = rest.partition("@")
    else:
        credentials, _, where = authority.rpartition("@")
        where += rest[len(authority) :]
    user, colon, password = credentials.partition(":")
    if not colon or password.startswith(":"):
        return address, ""
    return f"{scheme}://{user + '@' if user else ''}{where}", unquote(password)


def is_secret_name(name: str) -> bool:
    """Whether an environment variable or an option of this name holds a secret (and not where one is kept)."""
    return bool(_SECRET_NAME.search(name)) and not _PLACE_NAME.search(name)


class Redactor:
    """Knows the secrets of a run and takes them out of text, however they are written: plainly, percent-encoded, or
    quoted as in JSON and in tracebacks. The password of any URL in the text goes, too, known or not."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        """From here on these are secrets."""
        for secret in secrets:
            if len(secret) >= SHORTEST:
                self._forms |= _forms(secret)
        longest_first = sorted(self._forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(_as_pattern, longest_first))) if longest_first else None

    def add_fields(self, fields: Mapping[str, str]) -> None:
        """The values of credentials, but for those that name a user, a file or a kind."""
        self.add(
            *(value for name, value in fields.items() if name not in _PUBLIC_FIELDS and not name.endswith("-file"))
        )

    def add_environment(self, environment: Mapping[str, str]) -> None:
        """The values of variables whose names say that they hold a secret."""
        self.add(*(value for name, value in environment.items() if is_secret_name(name) and len(value) > SHORTEST + 1))

    def scrub(self, text: str) -> str:
        """The text with `***` in the place of every secret."""
        if self._pattern is not None:
            text = self._pattern.sub(HIDDEN, text)
        return _IN_TEXT.sub(rf"\1:{HIDDEN}@", text)

    def scrub_json(self, value: Any) -> Any:
        """The same for every string in a value as it is written to JSON."""
        if isinstance(value, str):
            return self.scrub(value)
        if isinstance(value, Mapping):
            return {key: self.scrub_json(item) for key, item in value.items()}
        return [self.scrub_json(item) for item in value] if isinstance(value, list | tuple) else value


def _forms(secret: str) -> set[str]:
    utf8 = secret.encode("utf-8", "surrogateescape")
    encoded = {quote(utf8, safe=""), quote(utf8), quote_plus(utf8)}
    return {secret, *encoded, json.dumps(secret)[1:-1], repr(secret)[1:-1]}


def _as_pattern(form: str) -> str:
    # Both %2F and %2f are written.
    return re.sub(r"%[0-9A-F]{2}", lambda match: f"(?i:{match[0]})", re.escape(form))
