"""What a path holds: a file's bytes and their digest, a link's target. What was replaced meanwhile counts as gone."""

from __future__ import annotations

import errno
import hashlib
import os
import stat

_DIGEST_BYTES = 16
# What open(2) and readlink(2) say where something of another type has taken the path.
_REPLACED = (errno.ELOOP, errno.EINVAL, errno.ENXIO, errno.ENOTDIR)


def open_regular(place: bytes) -> int:
    """A descriptor for reading a regular file; the caller closes it. Never follows a link, never waits for a fifo.

    Raises FileNotFoundError where there is no regular file (any more), another OSError where it can't be read.
    """
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise _gone_or(error, place) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _gone(place)
    return descriptor


def file_digest(place: bytes) -> str:
    """BLAKE2b of 16 bytes over the content of a regular file, in hexadecimal; streams. Raises as `open_regular`."""
    with open(open_regular(place), "rb", buffering=0) as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_DIGEST_BYTES)).hexdigest()


def link_target(place: bytes) -> bytes:
    """Raises FileNotFoundError where there is no link (any more), another OSError where it can't be read."""
    try:
        return os.readlink(place)
    except OSError as error:
        raise _gone_or(error, place) from None


def _gone_or(error: OSError, place: bytes) -> OSError:
    return _gone(place) if error.errno in _REPLACED else error


def _gone(place: bytes) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fsdecode(place))
