"""Small file systems of their own, mounted for one test."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MNT_DETACH = 2


@contextmanager
def tmpfs(directory: Path, size: str) -> Iterator[Path]:
    """A tmpfs of `size` ("2m") at `directory`, which is made; gone when the block ends. Needs root."""
    directory.mkdir(exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", os.fsencode(directory), b"tmpfs", 0, f"size={size},mode=0700".encode()) != 0:
        raise OSError(ctypes.get_errno(), "tmpfs can't be mounted")
    try:
        yield directory
    finally:
        libc.umount2(os.fsencode(directory), MNT_DETACH)
