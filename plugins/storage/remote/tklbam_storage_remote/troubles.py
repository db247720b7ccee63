"""From what a server, a program or a library said to an error a person can act on."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from tklbam_core.api import SpaceError, TargetError, TklbamError

from .address import RemoteAddress
from .schemes import BY_NAME

LOGIN, KEY, TLS, FULL, REFUSED, AWAY, ABSENT, MODULE, FORBIDDEN = (
    "login",
    "key",
    "tls",
    "full",
    "refused",
    "away",
    "missing",
    "module",
    "forbidden",
)

_PATTERNS: tuple[tuple[str, str], ...] = (
    (KEY, r"host key verification failed|server's key|host key for server|remote host identification"),
    (TLS, r"certificate|ssl: wrong|tlsv1 alert|wrong version number|tls.*(handshake|error|fatal)|ssl_error"),
    (FULL, r"no space left|insufficient storage|quota|\b(552|507)\b|disk full|errno 28|errno 122|entity too large"),
    (
        LOGIN,
        r"authentication failed|auth failed|authenticationfailed|login (failed|incorrect)|\b401\b|unauthorized"
        r"|no authentication methods|permission denied \(|too many authentication|not logged in|\b530\b"
        r"|private key file is encrypted|invalid credentials|no password",
    ),
    (FORBIDDEN, r"module is read only"),
    (REFUSED, r"connection refused|errno 111|unable to connect to port"),
    (
        AWAY,
        r"timed? ?out|no route to host|unreachable|name or service not known|name resolution|not known|getaddrinfo"
        r"|connection (reset|closed|aborted|lost|unexpectedly)|broken pipe|server not connected|eof occurred"
        r"|remote end closed|peer has closed|socket is closed|session not active|error reading ssh"
        r"|server connection dropped|socket error|eoferror|unexpected eof|abort: |temporary|\b(502|503|504|421)\b"
        r"|max-retries exceeded|kex_exchange|banner|bye",
    ),
    (ABSENT, r"unknown module|no such file|not found|\b(404|409)\b|does(n't| not) exist|no such|didn't find section"),
    (FORBIDDEN, r"permission denied|\b(403|405|550|553)\b|forbidden|read.?only|operation not permitted|access denied"),
)
_COMPILED = tuple((kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in _PATTERNS)

_NOISE = re.compile(r"rsync error: .*code \d+\)|@  |<--- [123]")

WORTH_ANOTHER_TRY = frozenset({REFUSED, AWAY})


@dataclass(frozen=True)
class Trouble(Exception):
    """A failed operation: what kind of trouble, and the words for it."""

    kind: str
    text: str

    def __str__(self) -> str:
        return self.text


def judge(text: str, kind: str = "") -> Trouble:
    """The kind is what a store knew, else what the words say; "" where they say nothing."""
    pattern = None
    if not kind:
        kind, pattern = next(((name, pattern) for name, pattern in _COMPILED if pattern.search(text)), ("", None))
    return Trouble(kind, _telling(text, pattern))


def _telling(text: str, pattern: re.Pattern[str] | None) -> str:
    """The words that tell most, in one line: those of the kind, else the first that are not mere noise."""
    lines = [line.strip() for line in text.splitlines() if line.strip(" @*=")]
    lines = [line for line in lines if not _NOISE.match(line)] or lines or ["no reason was given"]
    told = [line for line in lines if pattern and pattern.search(line)]
    return (told or lines)[0][:400]


def explain(trouble: Trouble, address: RemoteAddress) -> TklbamError:
    """The error for the person at the keyboard."""
    shown, scheme = address.shown, BY_NAME[address.scheme]
    if trouble.kind == FULL:
        return SpaceError(f"{shown} is full: {trouble.text}", "Free some space there, or choose another target.")
    if trouble.kind == MODULE:
        extra = next((extra for module, extra in scheme.modules if module == trouble.text and extra), "")
        remedy = (
            f"Install tklbam-storage-remote[{extra}], or Debian's python3-{trouble.text}, for duplicity's Python."
            if extra
            else f"Install the Python module {trouble.text} for duplicity's Python."
        )
        return TargetError(f"{shown} needs the Python module {trouble.text}, which is not installed", remedy)
    remedies: dict[str, Callable[[], str]] = {
        LOGIN: lambda: _login(address),
        KEY: lambda: _key(address),
        TLS: lambda: (
            "Check the host's name and the certificate; for one of your own authority set storage-option ca-file=PATH."
        ),
        REFUSED: lambda: "Check that the server runs and the port is right.",
        AWAY: lambda: "Check the host's name and the network, then try again.",
        ABSENT: lambda: "Check the address: nothing of that name is there.",
        FORBIDDEN: lambda: "Let this user write there, or choose another folder.",
    }
    remedy = remedies.get(trouble.kind, lambda: "Check the address and the server, then try again.")()
    return TargetError(f"{shown} can't be used: {trouble.text}", remedy)


def _login(address: RemoteAddress) -> str:
    if address.scheme in ("sftp", "scp", "lftp+sftp") or (address.scheme == "rsync" and not address.daemon):
        return "Check the user and the key (ssh-copy-id, an agent, storage-option ssh-key-file=PATH) or the password."
    return "Check the user and the password."


def _key(address: RemoteAddress) -> str:
    port = f"-p {address.port} " if address.port else ""
    return (
        f"Get the key with `ssh-keyscan {port}{address.host}`, compare it with the server's own, and add it to "
        "~/.ssh/known_hosts (a changed one: remove the old line first)."
    )
