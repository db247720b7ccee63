"""Owner, mode, time and extended attributes of a path: read, mapped to other ids, and set in the order that lasts."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..api.errors import SpaceError
from .attributes import ACLS, Attributes, read_attributes, set_attributes
from .safepath import Place, show

_ACL_HEADER = struct.Struct("<I")
_ACL_ENTRY = struct.Struct("<HHI")
_ACL_VERSION = 2
_ACL_USER = 0x02
_ACL_GROUP = 0x08


@dataclass(frozen=True, slots=True)
class IdMaps:
    """Ids of the system backed up → ids here. An id that is not in a map stays as it is."""

    uids: Mapping[int, int] = field(default_factory=dict)
    gids: Mapping[int, int] = field(default_factory=dict)

    def uid(self, old: int) -> int:
        return self.uids.get(old, old)

    def gid(self, old: int) -> int:
        return self.gids.get(old, old)

    def attributes(self, old: Attributes) -> dict[str, bytes]:
        """Extended attributes with the ids in their ACLs mapped."""
        return {name: self.acl(value) if name in ACLS else value for name, value in old.items()}

    def acl(self, value: bytes) -> bytes:
        """A POSIX ACL as the kernel gives it (docs/formats/carry.md), its qualifiers mapped.

        Where two qualifiers become the same id, the kernel's and libacl's rules allow only one: the first stays.
        What is not an ACL of version 2 comes back as it is, for the kernel to judge.
        """
        entries = len(value) - _ACL_HEADER.size
        if entries < 0 or entries % _ACL_ENTRY.size or _ACL_HEADER.unpack_from(value) != (_ACL_VERSION,):
            return value
        mapped: dict[tuple[int, int], int] = {}
        for tag, permissions, old in _ACL_ENTRY.iter_unpack(value[_ACL_HEADER.size :]):
            new = self.uid(old) if tag == _ACL_USER else self.gid(old) if tag == _ACL_GROUP else old
            mapped.setdefault((tag, new), permissions)
        # In the order of tags and ids, which is the canonical one.
        packed = [_ACL_ENTRY.pack(tag, permissions, new) for (tag, new), permissions in sorted(mapped.items())]
        return _ACL_HEADER.pack(_ACL_VERSION) + b"".join(packed)


@dataclass(frozen=True, slots=True)
class Metadata:
    """`mode` is the whole st_mode; `mtime` nanoseconds, None to leave it; `attributes` None to keep what is there."""

    mode: int
    uid: int
    gid: int
    mtime: int | None
    attributes: Attributes | None

    @classmethod
    def read(cls, place: Place, status: os.stat_result) -> Metadata:
        return cls(status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, read_attributes(place.proc))


def apply_metadata(place: Place, wanted: Metadata, *, insist: bool = True) -> list[str]:
    """Gives what is at `place` the metadata `wanted`, doing only what differs; never through a link.

    lchown clears setuid bits and file capabilities, so owner comes first, then attributes, then the mode (as an ACL's
    mask is the mode's group bits), then the time. A symbolic link's mode is never touched. Returns what could not be
    done, in words. With `insist` False a process that is not root is forgiven for not giving files away.
    Raises OSError where nothing is there, SpaceError on a full quota.
    """
    problems = []
    permissions = stat.S_IMODE(wanted.mode)
    status = os.lstat(place.name, dir_fd=place.fd)
    attributes = read_attributes(place.proc) if wanted.attributes is None else wanted.attributes
    if (status.st_uid, status.st_gid) != (wanted.uid, wanted.gid):
        try:
            os.chown(place.name, wanted.uid, wanted.gid, dir_fd=place.fd, follow_symlinks=False)
        except PermissionError as error:
            if insist or os.geteuid() == 0:
                problems.append(f"owner can't be set to {wanted.uid}:{wanted.gid}: {error.strerror}")
        except OSError as error:
            problems.append(f"owner can't be set to {wanted.uid}:{wanted.gid}: {error.strerror}")
        status = os.lstat(place.name, dir_fd=place.fd)
        if (status.st_uid, status.st_gid) != (wanted.uid, wanted.gid):
            # Set for another owner, these bits would hand out the wrong one's rights.
            permissions &= ~(stat.S_ISUID | stat.S_ISGID)
    problems += set_attributes(place.proc, attributes)
    status = os.lstat(place.name, dir_fd=place.fd)
    if not stat.S_ISLNK(status.st_mode) and stat.S_IMODE(status.st_mode) != permissions:
        problems += _set_mode(place, permissions)
    if wanted.mtime is not None and status.st_mtime_ns != wanted.mtime:
        os.utime(place.name, ns=(status.st_atime_ns, wanted.mtime), dir_fd=place.fd, follow_symlinks=False)
    return problems


def _set_mode(place: Place, permissions: int) -> list[str]:
    # fchmodat has no "don't follow" on older kernels, so the mode is set on what was opened as not a link.
    fd = os.open(place.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place.fd)
    try:
        if not stat.S_ISLNK(os.fstat(fd).st_mode):
            os.chmod(f"/proc/self/fd/{fd}", permissions)
        return []
    except OSError as error:
        return [f"mode can't be set to {permissions:04o}: {error.strerror}"]
    finally:
        os.close(fd)


def out_of_space(error: OSError, path: bytes) -> SpaceError | None:
    """The error to raise instead, where `error` says that a file system or quota is full."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    where = "quota" if error.errno == errno.EDQUOT else "space"
    return SpaceError(
        f"no {where} left for {show(path)}", "Free some on the file system that it lies on, then restore again."
    )
