"""One run at a time on a root."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from .api.errors import LockedError
from .host import Host


def lock_file(host: Host) -> Path:
    """For root one file a root below /run, which no other user can hold; for others one in their registry."""
    if os.geteuid() == 0 and os.access("/run", os.W_OK):
        return Path("/run") / f"tklbam-{hashlib.sha256(bytes(host.root)).hexdigest()[:12]}.lock"
    return host.registry_dir / "lock"


@contextlib.contextmanager
def locked(host: Host) -> Iterator[None]:
    """Holds the lock of this root for the length of the block; the kernel lets go of it however the process ends.

    Raises LockedError, naming the process that holds it, at once.
    """
    path = lock_file(host)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise LockedError(f"the lock {path} can't be taken: {error.strerror}", "Run as root.") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
            who = f" (process {holder})" if holder else ""
            raise LockedError(
                f"another run of tklbam{who} is at work on {host.root}", "Wait until it has ended, then try again."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
