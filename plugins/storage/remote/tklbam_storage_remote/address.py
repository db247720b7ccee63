"""Reading an address: every form that classic `--address` took, in one shape, with its password taken out."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from tklbam_core.api import TargetError

from .schemes import ALIASES, BY_NAME, HOSTLESS

_NETLOC = re.compile(
    r"(?:(?P<user>[^:@]*)(?::(?P<password>.*))?@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:@/\[\]\s]+)(?::(?P<port>\d*))?(?P<daemon>::(?P<module>[^:]*))?"
)
_ODD = re.compile(r"[\s'\"`$\\;|&<>()*?!]|[\0-\x1f]")
"""Characters of a path that some of duplicity's back ends hand on to a shell-like parser."""


@dataclass(frozen=True, slots=True)
class RemoteAddress:
    """An address taken apart. `shown` is as the administrator wrote it, without a password.

    `written` is its scheme as written, `scheme` the one it stands for. `path` is decoded and begins with the `/` after
    the host: `/dir` is relative to where a login lands, `//dir` absolute. For schemes without a host it is all that
    follows `//`. `daemon` marks rsync's `::`; the path is then `/module/…`.
    """

    shown: str
    written: str
    scheme: str
    path: str
    user: str = ""
    password: str = field(default="", repr=False)
    host: str = ""
    port: int | None = None
    daemon: bool = False

    def url(self, scheme: str | None = None, *, user: str | None = None, path: str | None = None) -> str:
        """The address as duplicity reads it, with no password."""
        name = scheme or self.scheme
        if BY_NAME[self.scheme].kind == "other":
            return f"{name}://{self.path}"
        folder = quote(self.path if path is None else path, safe="/~+,=@:")
        if not self.host:
            return f"{name}://{folder}"
        who = quote(self.user if user is None else user, safe="")
        port = f":{self.port}" if self.port is not None else ""
        separator = "::" if self.daemon else ""
        return f"{name}://{who and who + '@'}{self.host}{port}{separator}{folder}"


def parse(address: str) -> RemoteAddress:
    """Raises TargetError for what makes no sense."""
    head, colon, rest = address.partition("://")
    written = head.lower()
    scheme = ALIASES.get(written, written)
    if not colon:
        raise TargetError(f"{written}: is not an address", f"Write it as {written}://….")
    if scheme in HOSTLESS:
        shown = re.sub(r"^([^/@:]*):[^/]*@", r"\1@", rest)
        password = re.match(r"^[^/@:]*:([^/]*)@", rest)
        # What other back ends make of the rest (queries, escapes) is theirs to say.
        path = shown if BY_NAME[scheme].kind == "other" else unquote(shown, errors="surrogateescape")
        if BY_NAME[scheme].kind != "other":
            _check_path(address_without(address), path)
        if not path.strip("/"):
            raise TargetError(f"{address_without(address)} names no place", "Name a container, a remote, or a folder.")
        return RemoteAddress(
            shown=f"{head}://{shown}",
            written=written,
            scheme=scheme,
            path=path,
            password=unquote(password[1]) if password else "",
        )
    netloc, slash, tail = rest.partition("/")
    match = _NETLOC.fullmatch(netloc)
    if match is None:
        raise TargetError(
            f"{address_without(address)} is not an address",
            f"Write it as {head}://user@host/folder; special characters in the user's name as %XX.",
        )
    if match["daemon"] and scheme != "rsync":
        raise TargetError(f"{address_without(address)}: only rsync:// addresses have `::`", "Leave it out.")
    path = unquote(slash + tail, errors="surrogateescape")
    if match["module"]:
        path = f"/{match['module']}{path}"
    _check_path(address_without(address), path)
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 0 < port < 65536:
        raise TargetError(f"{address_without(address)}: there is no port {port}", "Ports are 1 to 65535.")
    return RemoteAddress(
        shown=address_without(address),
        written=written,
        scheme=scheme,
        path=path,
        user=unquote(match["user"] or ""),
        password=unquote(match["password"] or ""),
        host=match["host"],
        port=port,
        daemon=bool(match["daemon"]),
    )


def address_without(address: str) -> str:
    """The address without the password in it."""
    return re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*://[^/@:]*):[^/]*@", r"\1@", address)


def _check_path(shown: str, path: str) -> None:
    odd = _ODD.search(path)
    if odd:
        raise TargetError(
            f"{shown}: duplicity can't use a folder with {odd[0]!r} in its name", "Choose a folder with a plain name."
        )
    if ".." in path.split("/"):
        raise TargetError(f"{shown}: a path must be plain, without `..`", "Name the folder itself.")
