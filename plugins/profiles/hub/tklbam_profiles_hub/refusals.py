"""What a Hub's errors mean: `Name: description` in plain text becomes an error that says what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from tklbam_core.api import HubError, HubUnavailableError

LONGEST = 300
_NAMED = re.compile(r"\s*([A-Za-z]+\.[A-Za-z]+)\s*:?\s*(.*)", re.DOTALL)
_LINK_AGAIN = "Link this system anew: tklbam init --force API-KEY, with the key from your profile at {home}"
REMEDIES = {
    "HubAccount.InvalidApiKey": "Copy the API key from your profile at {home}",
    "HubAccount.Forbidden": "Look at your account at {home}",
    "BackupAccount.InvalidSubKey": _LINK_AGAIN,
    "BackupAccount.MalformedSubKey": _LINK_AGAIN,
    "BackupAccount.NotFound": _LINK_AGAIN,
    "BackupAccount.NotSubscribed": "Subscribe to backups at {home} and try again, or use storage of your own: an "
    "`address URL` line in the configuration.",
    "BackupRecord.LimitExceeded": "Delete a backup that you no longer need, or get room for more, at {home}",
    "BackupRecord.NotFound": "`tklbam list` shows the backups that the Hub knows.",
}


def refusal(status: int, body: str, url: str) -> HubError:
    """The error that an answer stands for: HubUnavailableError where it gives no reason that the API knows."""
    found = _NAMED.match(body)
    home = home_page(url)
    if status >= 500 or status == 429 or found is None:
        busy = "is too busy" if status in (429, 503) else "is out of order"
        return HubUnavailableError(
            f"the Hub at {home} {busy}, status {status}" + (f": {one_line(found[2])} ({found[1]})" if found else ""),
            "Try again later; if it stays so, check that `hub-url` is the address of a Hub's API.",
        )
    name, description = found[1], one_line(found[2])
    remedy = REMEDIES.get(name, "Look at your account at {home}").format(home=home)
    return HubError(f"the Hub refuses: {description or name} ({name})", remedy, name)


def home_page(url: str) -> str:
    """Where people meet the Hub: the front page of the API's server."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/"


def one_line(text: str) -> str:
    """A stranger's text as one line of bounded length, fit for a terminal."""
    return plain(" ".join(text.split()))[:LONGEST]


def plain(text: str) -> str:
    """Text without what moves a terminal's cursor, hides, or turns the direction of writing."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def without(text: str, secrets: Iterable[str]) -> str:
    """Text in which secrets that a Hub may have sent back are not to be seen."""
    for secret in secrets:
        if secret:
            text = re.sub(re.escape(secret), "***", text, flags=re.IGNORECASE)
    return text
