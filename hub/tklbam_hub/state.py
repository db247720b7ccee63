"""What one Hub keeps outside its database: the directory, and the secrets that make a stolen database worth little."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "TKLBAM_HUB_STATE"
SYSTEM_STATE = Path("/var/lib/tklbam-hub")
SECRET_BYTES = 48


def directory(environment: Mapping[str, str]) -> Path:
    """The state directory: what the environment names, else the system's for root, else the user's own."""
    named = environment.get(VARIABLE)
    if named:
        return Path(named).absolute()
    if os.geteuid() == 0:
        return SYSTEM_STATE
    data = environment.get("XDG_DATA_HOME") or str(Path.home() / ".local/share")
    return Path(data) / "tklbam-hub"


def prepare(state: Path) -> None:
    """Makes the directory, for its owner alone."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    if state.stat().st_uid == os.geteuid():
        state.chmod(0o700)


def secret(state: Path, name: str, environment: Mapping[str, str]) -> str:
    """The secret of that name: from the environment (`TKLBAM_HUB_NAME`), else its file, made at the first call.

    Two processes that start at once get the same: the file appears whole under its name, or another's is read.
    """
    given = environment.get(f"TKLBAM_HUB_{name.upper().replace('-', '_')}")
    if given:
        return given
    path = state / name
    if not path.exists():
        prepare(state)
        draft = state / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(SECRET_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return path.read_text().strip()
        finally:
            draft.unlink()
    return path.read_text().strip()


def derived(master: str, purpose: str) -> bytes:
    """A 32-byte key for one purpose, from the master secret."""
    return hmac.new(master.encode(), purpose.encode(), hashlib.sha256).digest()


def fernet_key(master: str) -> bytes:
    """The key under which stored cloud secrets are encrypted, in Fernet's form."""
    return base64.urlsafe_b64encode(derived(master, "stored credentials"))
