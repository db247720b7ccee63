"""Extended attributes: POSIX ACLs, file capabilities and the rest, read and set without following links.

Which classes are carried, and the `attributes` file of a profile, are specified in docs/formats/carry.md.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..api.errors import SpaceError
from ..api.files import atomic_write
from .escape import HEADER
from .records import attribute_columns, attributes_of, read_records, write_record

Attributes = Mapping[str, bytes]
"""Full attribute name → value."""

NAME = "attributes"
"""The file's name, in a profile as in the extras."""

CLASSES = ("user.", "trusted.", "security.")
ACLS = ("system.posix_acl_access", "system.posix_acl_default")
CAPABILITY = "security.capability"
# Computed by the machine's own security policy, or by a layered file system: another machine's would be wrong here.
_NOT_CARRIED = (
    "security.selinux",
    "security.SMACK64",
    "security.apparmor",
    "security.ima",
    "security.evm",
    "trusted.overlay.",
    "user.overlay.",
)
_UNSUPPORTED = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


def is_carried(name: str) -> bool:
    """Whether an attribute of this name travels with a backup."""
    return name in ACLS or (name.startswith(CLASSES) and not name.startswith(_NOT_CARRIED))


def read_attributes(path: bytes) -> dict[str, bytes]:
    """The carried attributes of a path, in order of name; a final link is not followed.

    Empty where the file system has none to give. Raises OSError otherwise (FileNotFoundError, PermissionError…).
    """
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return {}
        raise
    found = {}
    for name in sorted(names):
        if is_carried(name):
            try:
                found[name] = os.getxattr(path, name, follow_symlinks=False)
            except OSError as error:
                # Removed since it was listed.
                if error.errno != errno.ENODATA:
                    raise
    return found


def set_attributes(path: bytes, wanted: Attributes) -> list[str]:
    """Makes the carried attributes of a path exactly `wanted`; a final link is not followed.

    Returns what could not be done, in words, one an attribute: a file system without them, or without room for
    them, is no reason to lose the file. Raises OSError where the path itself can't be had, SpaceError on a full quota.
    """
    failures = []
    present = read_attributes(path)
    for name in present:
        if name not in wanted:
            try:
                os.removexattr(path, name, follow_symlinks=False)
            except OSError as error:
                if error.errno != errno.ENODATA:
                    failures.append(f"attribute {name} can't be removed: {error.strerror}")
    for name, value in wanted.items():
        if present.get(name) == value or not is_carried(name):
            continue
        try:
            os.setxattr(path, name, value, follow_symlinks=False)
        except OSError as error:
            if error.errno == errno.EDQUOT:
                raise SpaceError(
                    f"no quota left for the attributes of {os.fsdecode(path)}", "Raise the quota."
                ) from error
            if error.errno == errno.ENOENT:
                raise
            failures.append(f"attribute {name} can't be set: {error.strerror}")
    return failures


class ProfileAttributesWriter:
    """Writes a profile's `attributes` while its paths are walked: `add` each path, in the index's order."""

    def __init__(self, file: Path, root: Path) -> None:
        self._file = file
        self._prefix = os.fsencode(root).rstrip(b"/")
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> ProfileAttributesWriter:
        self._out = self._stack.enter_context(atomic_write(self._file))
        self._out.write(HEADER)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.__exit__(*exception)  # type: ignore[arg-type]

    def add(self, path: bytes) -> None:
        """Notes the attributes of `path` (absolute within the root), if any. One that has vanished has none."""
        try:
            found = read_attributes(self._prefix + path)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return
        if found:
            write_record(self._out, [path, *attribute_columns(found)])


class ProfileAttributes:
    """The attributes a profile recorded; asked by the scan and by the carrier.

    Kept are a path and a 16-byte digest for each path that had any, which few have. `known` is False for a profile
    that recorded none at all (v1): then nothing ever differs.
    """

    def __init__(self, file: Path, root: Path) -> None:
        """Reads `file` whole. Raises FormatError, UnsafePathError where it is not what carry.md says."""
        self._prefix = os.fsencode(root).rstrip(b"/")
        self.known = file.exists()
        self._digests: dict[bytes, bytes] = {}
        if self.known:
            self._digests = {record.path(): _digest(attributes_of(record, 1)) for record in read_records(file)}

    @classmethod
    def load(cls, directory: Path, root: Path) -> ProfileAttributes:
        """Those of the profile in `directory`."""
        return cls(directory / NAME, root)

    def __contains__(self, path: bytes) -> bool:
        return path in self._digests

    def differs(self, path: bytes) -> bool:
        """Whether the attributes of `path` (absolute within the root) are others than the profile's.

        False where the path has vanished. Raises OSError where they can't be read.
        """
        if not self.known:
            return False
        try:
            current = read_attributes(self._prefix + path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        recorded = self._digests.get(path)
        return _digest(current) != recorded if current else recorded is not None


def _digest(attributes: Attributes) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in _parts(attributes):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()


def _parts(attributes: Attributes) -> Iterator[bytes]:
    for name in sorted(attributes):
        yield os.fsencode(name)
        yield attributes[name]
