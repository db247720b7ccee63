"""The user database of a host read, copied into a backup, and written under the locks that every tool respects."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from ..api.errors import LockedError
from ..api.files import UNFINISHED, atomic_write
from ..host import Host
from .rooted import inside
from .userdb_files import (
    FILES,
    Table,
    parse_group,
    parse_gshadow,
    parse_passwd,
    parse_ranges,
    parse_shadow,
)
from .userdb_ids import IdPolicy
from .users import MergeResult, UserDatabase, merge

LOCK_TIMEOUT = 15.0
"""Seconds that lckpwdf(3) waits, too."""

_MODES = {"passwd": 0o644, "group": 0o644, "shadow": 0o640, "gshadow": 0o640, "subuid": 0o644, "subgid": 0o644}
T = TypeVar("T")


def read(etc: Path, source: str | None = None) -> UserDatabase:
    """The user database in a directory: a system's `etc`, or a backup's. `source` names it in reports.

    Files that are not there are None (passwd and group: empty), and so is what a link out of `etc` leads to. Lines that
    make no sense are kept as odd lines.
    Raises OSError for a file that is there and can't be read.
    """
    return _read(lambda name: inside(etc, name), source or str(etc))


def read_host(host: Host) -> UserDatabase:
    """The user database of the host's system; links are followed as that system would."""
    return _read(lambda name: inside(host.root, f"etc/{name}"), str(host.path("/etc")))


def read_policy(host: Host) -> IdPolicy:
    """Which ids the host's system gives out, by its login.defs."""
    return _policy(_bytes(inside(host.root, "etc/login.defs")))


def save_for_backup(host: Host, extras_etc: Path) -> tuple[str, ...]:
    """Copies the six files, as they are, into `extras_etc` (made 0700; files 0600). Answers which were there."""
    extras_etc.mkdir(mode=0o700, parents=True, exist_ok=True)
    saved = []
    for name in FILES:
        data = _bytes(inside(host.root, f"etc/{name}"))
        if data is not None:
            with atomic_write(extras_etc / name, 0o600) as file:
                file.write(data)
            saved.append(name)
    return tuple(saved)


def apply(host: Host, old: UserDatabase) -> MergeResult:
    """Reads the host's database, merges `old` into it and writes it, all under one lock: nothing comes between."""
    with locked(host):
        result = merge(old, read_host(host))
        _write(host, result)
    return result


def write(host: Host, result: MergeResult) -> None:
    """Writes a merged database under the locks; files that would not change are left alone.

    Each file is replaced whole, with the owner, mode and attributes it had, its former content becoming the `-` copy,
    as the shadow tools do. Raises LockedError, OSError.
    """
    with locked(host):
        _write(host, result)


@contextlib.contextmanager
def locked(host: Host, timeout: float = LOCK_TIMEOUT) -> Iterator[None]:
    """Holds `etc/.pwd.lock` (lckpwdf) and the shadow tools' own lock files for the length of the block.

    Raises LockedError, naming who holds them where that is known, after `timeout` seconds.
    """
    etc = inside(host.root, "etc")
    deadline = time.monotonic() + timeout
    descriptor = os.open(inside(host.root, "etc/.pwd.lock"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with contextlib.ExitStack() as held:
        held.callback(os.close, descriptor)
        _retry(deadline, lambda: _lock_descriptor(descriptor), etc / ".pwd.lock")
        for name in FILES:
            lock = etc / f"{name}.lock"
            _retry(deadline, lambda lock=lock: _take_lock_file(lock), lock)  # type: ignore[misc]
            held.callback(lock.unlink, missing_ok=True)
            _remove_left_behind(etc, name)
        yield


def replace_file(place: Path, data: bytes, like: os.stat_result | None, mode: int, mtime: int | None = None) -> None:
    """Puts `data` at `place`, atomically; owner and mode of `like`, or `mode`; `mtime` in nanoseconds if given."""
    with atomic_write(place, stat.S_IMODE(like.st_mode) if like else mode) as file:
        if like is not None and (like.st_uid, like.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(file.fileno(), like.st_uid, like.st_gid)
        for name, value in _attributes(place).items():
            os.setxattr(file.fileno(), name, value)
        file.write(data)
        file.flush()
        if mtime is not None:
            os.utime(file.fileno(), ns=(mtime, mtime))


def _write(host: Host, result: MergeResult) -> None:
    shadow_group = result.database.group.by_key().get("shadow")
    for name, table in result.database.tables().items():
        place = inside(host.root, f"etc/{name}")
        data = table.to_bytes()
        current = _bytes(place)
        if current is not None and (data == current or data == current + b"\n"):
            continue
        like = place.stat() if current is not None else None
        if current is not None and like is not None:
            replace_file(inside(host.root, f"etc/{name}-"), current, like, 0o600, like.st_mtime_ns)
        replace_file(place, data, like, _MODES[name])
        if like is None and _MODES[name] == 0o640 and shadow_group is not None and os.geteuid() == 0:
            os.chown(place, 0, shadow_group.gid)


def _read(place: Callable[[str], Path], source: str) -> UserDatabase:
    def table(name: str, parse: Callable[[bytes], T]) -> T | None:
        data = _bytes(place(name))
        return None if data is None else parse(data)

    return UserDatabase(
        table("passwd", parse_passwd) or Table(),
        table("group", parse_group) or Table(),
        table("shadow", parse_shadow),
        table("gshadow", parse_gshadow),
        table("subuid", parse_ranges),
        table("subgid", parse_ranges),
        _policy(_bytes(place("login.defs"))),
        source,
    )


def _policy(login_defs: bytes | None) -> IdPolicy:
    return IdPolicy.from_login_defs((login_defs or b"").decode("utf-8", "surrogateescape"))


def _bytes(path: Path) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with open(descriptor, "rb") as file:
        return file.read() if stat.S_ISREG(os.fstat(descriptor).st_mode) else None


def _attributes(path: Path) -> dict[str, bytes]:
    try:
        return {name: os.getxattr(path, name) for name in os.listxattr(path)}
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTSUP):
            return {}
        raise


def _retry(deadline: float, attempt: Callable[[], str | None], lock: Path) -> None:
    while (holder := attempt()) is not None:
        if time.monotonic() >= deadline:
            raise LockedError(
                f"the user database is being changed by {holder} ({lock})", "Wait until that is done, and try again."
            )
        time.sleep(0.1)


def _lock_descriptor(descriptor: int) -> str | None:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        return "another program"
    return None


def _take_lock_file(lock: Path) -> str | None:
    """The shadow tools' protocol: a file of our own that holds our process id, linked to the lock's name.

    Answers who holds it, None when we do. A lock whose process is gone is nobody's.
    """
    # Not of a name as theirs: empty still, when we are killed, it would be anybody's file.
    own = lock.with_name(f"{UNFINISHED}{secrets.token_hex(6)}")
    own.write_bytes(b"%d\0" % os.getpid())
    try:
        os.link(own, lock)
    except FileExistsError:
        if (holder := _holder(lock)) is not None:
            return f"process {holder}"
        lock.unlink(missing_ok=True)
        return "a process that is gone"
    finally:
        own.unlink()
    return None


def clear_left_locks(host: Host) -> None:
    """Removes the locks of processes that are gone; those of others stay, and nobody is waited for."""
    etc = inside(host.root, "etc")
    for name in FILES:
        lock = etc / f"{name}.lock"
        if lock.is_file() and _holder(lock) is None:
            lock.unlink(missing_ok=True)
        _remove_left_behind(etc, name)


def _holder(lock: Path) -> int | None:
    """The process that holds a lock file, None when that is gone."""
    pid = (_bytes(lock) or b"").rstrip(b"\0\n")
    return int(pid) if pid.isdigit() and _is_running(int(pid)) else None


def _remove_left_behind(etc: Path, name: str) -> None:
    """Files of that protocol whose makers were killed before they could remove them."""
    for path in etc.glob(f"{name}.[0-9]*"):
        pid = path.suffix[1:]
        if pid.isdigit() and (_bytes(path) or b"").rstrip(b"\0\n") == pid.encode() and not _is_running(int(pid)):
            path.unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
