"""Starts a program that dies with its parent and, where asked, can change nothing outside given directories.

Run by path with nothing but the standard library, so that it starts at once under any Python:

    python confined.py --parent PID [--bind FROM ONTO] [--writable DIR]… -- PROGRAM ARGUMENT…

`--bind` shows FROM at ONTO in a mount namespace of the program's own. With `--writable` two walls are put up, since
neither is enough alone: a mount namespace in which everything but those directories is read-only (it stops chmod,
chown and utime, which Landlock does not see) and whose writable directories open no device nodes, and Landlock (it
stops writing to device nodes and pipes elsewhere, which a read-only mount does not). Users other than root get the
mount namespace through a user namespace. Without the first wall the program is not started: status 125 and a line on
standard error that begins with `confined:`.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Sequence

REFUSED = 125
"""Exit status when the walls can't be put up."""

# From linux/sched.h, linux/mount.h, linux/prctl.h and linux/landlock.h; the numbers of system calls above 424 are the
# same on every architecture.
CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 0x1, 0x2, 0x4
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
SYS_MOUNT_SETATTR = 442
SYS_LANDLOCK_CREATE_RULESET, SYS_LANDLOCK_ADD_RULE, SYS_LANDLOCK_RESTRICT_SELF = 444, 445, 446
LANDLOCK_CREATE_RULESET_VERSION, LANDLOCK_RULE_PATH_BENEATH = 1, 1
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
# Everything that writes: write file, remove dir/file, make char/dir/reg/sock/fifo/block/sym (bits 1, 4–12), and by
# version: refer (2, bit 13), truncate (3, bit 14), ioctl on devices (5, bit 15).
LANDLOCK_WRITES_V1 = (1 << 1) | 0b1_1111_1111 << 4
LANDLOCK_WRITE_FILE, LANDLOCK_TRUNCATE = 1 << 1, 1 << 14


class MountAttributes(ctypes.Structure):
    """struct mount_attr of linux/mount.h."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


class PathBeneath(ctypes.Structure):
    """struct landlock_path_beneath_attr of linux/landlock.h."""

    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


class Kernel:
    """The few system calls that Python does not have; each raises OSError."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.syscall.restype = ctypes.c_long

    def _check(self, result: int, what: str) -> int:
        if result < 0:
            error = ctypes.get_errno()
            raise OSError(error, f"{what}: {os.strerror(error)}")
        return result

    def unshare(self, flags: int) -> None:
        self._check(self._libc.unshare(flags), "unshare")

    def mount(self, source: bytes, target: bytes, flags: int) -> None:
        self._check(self._libc.mount(source, target, None, ctypes.c_ulong(flags), None), f"mount {os.fsdecode(target)}")

    def set_mount(self, path: bytes, *, add: int = 0, remove: int = 0, recursive: bool = False) -> None:
        attributes = MountAttributes(add, remove, 0, 0)
        flags = AT_RECURSIVE if recursive else 0
        result = self._libc.syscall(
            SYS_MOUNT_SETATTR, AT_FDCWD, path, flags, ctypes.byref(attributes), ctypes.sizeof(attributes)
        )
        self._check(result, f"mount_setattr {os.fsdecode(path)}")

    def prctl(self, option: int, value: int) -> None:
        self._check(self._libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), "prctl")

    def landlock_version(self) -> int:
        """0 where the kernel has no Landlock or it is off."""
        version: int = self._libc.syscall(SYS_LANDLOCK_CREATE_RULESET, None, 0, LANDLOCK_CREATE_RULESET_VERSION)
        return max(0, version)

    def landlock(self, rules: Sequence[tuple[bytes, int]], handled: int) -> None:
        """Forbids `handled` everywhere but below the paths of `rules`, each with what it allows."""
        attributes = ctypes.c_uint64(handled)
        ruleset = self._check(
            self._libc.syscall(SYS_LANDLOCK_CREATE_RULESET, ctypes.byref(attributes), ctypes.sizeof(attributes), 0),
            "landlock_create_ruleset",
        )
        for path, allowed in rules:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            rule = PathBeneath(allowed, descriptor)
            result = self._libc.syscall(
                SYS_LANDLOCK_ADD_RULE, ruleset, LANDLOCK_RULE_PATH_BENEATH, ctypes.byref(rule), 0
            )
            self._check(result, f"landlock_add_rule {os.fsdecode(path)}")
            os.close(descriptor)
        self.prctl(PR_SET_NO_NEW_PRIVS, 1)
        self._check(self._libc.syscall(SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
        os.close(ruleset)


def own_mounts(kernel: Kernel) -> None:
    """A mount namespace of our own; without privileges, inside a user namespace in which we keep our ids."""
    uid, gid = os.geteuid(), os.getegid()
    try:
        kernel.unshare(CLONE_NEWNS)
    except PermissionError:
        kernel.unshare(CLONE_NEWUSER | CLONE_NEWNS)
        for file, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{file}", "w") as place:
                place.write(text)
    kernel.mount(b"none", b"/", MS_REC | MS_PRIVATE)


def wall_of_mounts(kernel: Kernel, writable: Sequence[bytes]) -> None:
    """Makes every mount read-only but the directories of `writable`, which get mounts of their own."""
    for path in writable:
        kernel.mount(path, path, MS_BIND)
    kernel.set_mount(b"/", add=MOUNT_ATTR_RDONLY, recursive=True)
    for path in writable:
        kernel.set_mount(path, add=MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID, remove=MOUNT_ATTR_RDONLY)


def wall_of_landlock(kernel: Kernel, writable: Sequence[bytes]) -> None:
    """Forbids writing anywhere but below `writable` and to /dev/null; nothing where the kernel has no Landlock."""
    version = kernel.landlock_version()
    if version == 0:
        return
    handled = LANDLOCK_WRITES_V1
    for since, bit in ((2, 13), (3, 14), (5, 15)):
        if version >= since:
            handled |= 1 << bit
    rules = [(path, handled) for path in writable]
    rules.append((b"/dev/null", handled & (LANDLOCK_WRITE_FILE | LANDLOCK_TRUNCATE)))
    kernel.landlock(rules, handled)


def main(words: list[str]) -> None:
    """Puts up what was asked for and becomes the program."""
    kernel = Kernel()
    kernel.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    binds: list[tuple[bytes, bytes]] = []
    writable: list[bytes] = []
    while (word := words.pop(0)) != "--":
        value = os.fsencode(words.pop(0))
        if word == "--parent" and os.getppid() != int(value):
            sys.exit(REFUSED)  # it died before we could ask to die with it
        elif word == "--bind":
            binds.append((value, os.fsencode(words.pop(0))))
        elif word == "--writable":
            writable.append(os.path.realpath(value))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most) if most != resource.RLIM_INFINITY else (4096, most))
    os.umask(0o077)
    os.chdir("/")
    os.environ.pop("PYTHONOPTIMIZE", None)  # duplicity refuses to run with it
    try:
        if binds or writable:
            own_mounts(kernel)
        for source, place in binds:
            kernel.mount(source, place, MS_BIND | MS_REC)
        if writable:
            wall_of_mounts(kernel, writable)
            wall_of_landlock(kernel, writable)
    except OSError as error:
        print(f"confined: {error.strerror or error}", file=sys.stderr)  # noqa: T201 - this is a program
        sys.exit(REFUSED)
    os.execv(words[0], words)


if __name__ == "__main__":
    main(sys.argv[1:])
