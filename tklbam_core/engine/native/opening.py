"""Opening a file of the source for reading without following a link anywhere in its path.

A directory that its owner swaps for a link while a session is written would else lead to files of others, whose content
would come back as his. Linux has one call for that, openat2(2), since 5.6; where it is missing or forbidden, each
directory on the way is opened.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from typing import Any

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Whatever may lie there by now: nothing waits for a pipe's other end."""
_OPENAT2 = 437
_AT_FDCWD = -100
_NO_SYMLINKS = 4
_ABSENT = (errno.ENOSYS, errno.EPERM)
"""EPERM is what filters of containers say to calls that they don't know."""


class _How(ctypes.Structure):
    """struct open_how of linux/openat2.h."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_without_links(place: bytes) -> int:
    """A descriptor of what lies at an absolute path. Raises OSError, with ELOOP or ENOTDIR where there is a link."""
    call = _call()
    if call is not None:
        number = errno.EINTR
        while number == errno.EINTR:
            descriptor = call(_OPENAT2, _AT_FDCWD, place, ctypes.byref(_HOW), ctypes.sizeof(_HOW))
            if descriptor >= 0:
                return int(descriptor)
            number = ctypes.get_errno()
        if number not in _ABSENT:
            raise OSError(number, os.strerror(number), os.fsdecode(place))
    return _step_by_step(place)


_HOW = _How(_FLAGS, 0, _NO_SYMLINKS)


@functools.cache
def _call() -> Any:
    try:
        return ctypes.CDLL(None, use_errno=True).syscall
    except (OSError, AttributeError):
        return None


def _step_by_step(place: bytes) -> int:
    *parents, name = place.split(b"/")[1:]
    descriptor = os.open(b"/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for each in parents:
            inner = os.open(each, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        return os.open(name, _FLAGS, dir_fd=descriptor)
    finally:
        os.close(descriptor)
