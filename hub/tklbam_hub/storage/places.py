"""Which storage a new backup gets, and the place of its own inside."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from django.db.models import Q

from tklbam_hub.accounts.models import Account
from tklbam_hub.storage.models import Storage

CLASSIC = ("file", "ssh", "scp", "sftp", "rsync", "ftp", "ftps", "ftpes", "webdav", "webdavs", "imap", "imaps", "swift")
SCHEMES = frozenset((*CLASSIC, "cf+http", "rclone", "s3", "s3+http", "s3+https"))


class BadAddress(ValueError):
    """The address can't be a storage's; says why."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """What an S3 address names: `endpoint` is a host or ""; `prefix` has no slash at its ends."""

    endpoint: str
    name: str
    prefix: str


def check_address(address: str) -> None:
    """Raises BadAddress for what no client could use, or what would hand a password to every server."""
    parts = urlsplit(address)
    if parts.scheme not in SCHEMES:
        raise BadAddress(f"{address}: write a URL, such as file:///srv/backups, sftp://host/backups or s3://bucket")
    if parts.password:
        raise BadAddress("an address is shown to every server: leave the password out")
    if parts.query or parts.fragment:
        raise BadAddress(f"{address}: nothing may follow the path")
    if parts.scheme == "file" and (parts.netloc or not parts.path.strip("/")):
        raise BadAddress(f"{address}: write file:///absolute/path")
    if parts.scheme.startswith("s3") and not bucket_of(address).name:
        raise BadAddress(f"{address}: write s3://bucket/prefix or s3://host/bucket/prefix")


def bucket_of(address: str) -> Bucket:
    """Takes `s3://[host/]bucket[/prefix]` apart; a first part with a dot or a colon, or localhost, is a host."""
    parts = urlsplit(address)
    first, path = parts.netloc.rpartition("@")[2], [unquote(word) for word in parts.path.split("/") if word]
    if parts.scheme != "s3+http" and ("." in first or ":" in first or first == "localhost"):
        name, *rest = path or [""]
        return Bucket(first, name, "/".join(rest))
    return Bucket("", first, "/".join(path))


def default_for(account: Account) -> Storage | None:
    """Where new backups go: the account's own default, else the default for everybody, else the only one there is."""
    usable = list(Storage.objects.filter(Q(account=account) | Q(account=None)))
    defaults = sorted((each for each in usable if each.is_default), key=lambda each: each.account_id is None)
    if defaults:
        return defaults[0]
    return usable[0] if len(usable) == 1 else None


def new_address(storage: Storage, account_id: int, number: int) -> str:
    """An address of its own for a backup: one level deep, for clients make one directory; not to be guessed."""
    return f"{storage.address.rstrip('/')}/{account_prefix(account_id)}{number}-{secrets.token_hex(10)}"


def account_prefix(account_id: int) -> str:
    """What the names of all the account's places begin with, and no other account's."""
    return f"{account_id}-"
