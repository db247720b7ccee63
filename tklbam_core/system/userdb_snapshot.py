"""The user database files saved before a restore and put back by its rollback, byte for byte."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from ..api.errors import FormatError
from ..api.files import atomic_write
from ..host import Host
from .rooted import inside
from .userdb_files import FILES
from .userdb_io import locked

_MANIFEST = "userdb.json"
_NAMES = tuple(name + suffix for name in FILES for suffix in ("", "-"))


def snapshot(host: Host, area: Path) -> None:
    """Saves the six files and their `-` copies into `area` (made 0700): content, owner, mode, mtime, attributes.

    That a file is not there is noted, too. `area` is complete once its `userdb.json` is there, the last to be written.
    """
    area.mkdir(mode=0o700, parents=True, exist_ok=True)
    manifest: dict[str, Any] = {}
    with locked(host):
        for name in _NAMES:
            place = inside(host.root, f"etc/{name}")
            if not place.is_file():
                manifest[name] = None
                continue
            with atomic_write(area / name, 0o600) as file:
                file.write(place.read_bytes())
            status = place.stat()
            manifest[name] = {
                "uid": status.st_uid,
                "gid": status.st_gid,
                "mode": stat.S_IMODE(status.st_mode),
                "mtime_ns": status.st_mtime_ns,
                "xattrs": {each: os.getxattr(place, each).hex() for each in os.listxattr(place)},
            }
    with atomic_write(area / _MANIFEST, 0o600) as file:
        file.write(json.dumps({"format": 1, "files": manifest}, indent=1).encode() + b"\n")


def put_back(host: Host, area: Path) -> tuple[str, ...]:
    """Brings back what `snapshot` saved; answers the names of the files that had changed. Can be run again at any time.

    Raises FormatError for a damaged snapshot, LockedError, OSError.
    """
    files = _manifest(area / _MANIFEST)
    changed = []
    with locked(host):
        for name in _NAMES:
            place = inside(host.root, f"etc/{name}")
            if _restore(place, area / name, files.get(name)):
                changed.append(name)
    return tuple(changed)


def _restore(place: Path, saved: Path, entry: dict[str, Any] | None) -> bool:
    if entry is None:
        if not place.exists():
            return False
        place.unlink()
        return True
    data = saved.read_bytes()
    if _is_same(place, data, entry):
        return False
    with atomic_write(place, entry["mode"]) as file:
        descriptor = file.fileno()
        if (entry["uid"], entry["gid"]) != (os.geteuid(), os.getegid()):
            os.fchown(descriptor, entry["uid"], entry["gid"])
        os.fchmod(descriptor, entry["mode"])
        for name, value in entry["xattrs"].items():
            os.setxattr(descriptor, name, bytes.fromhex(value))
        file.write(data)
        file.flush()
        os.utime(descriptor, ns=(entry["mtime_ns"], entry["mtime_ns"]))
    return True


def _is_same(place: Path, data: bytes, entry: dict[str, Any]) -> bool:
    if not place.is_file():
        return False
    status = place.stat()
    found = (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), status.st_mtime_ns)
    wanted = (entry["uid"], entry["gid"], entry["mode"], entry["mtime_ns"])
    xattrs = {each: os.getxattr(place, each).hex() for each in os.listxattr(place)}
    return found == wanted and xattrs == entry["xattrs"] and place.read_bytes() == data


def _manifest(path: Path) -> dict[str, dict[str, Any] | None]:
    remedy = "This file is written by a restore; without it the user database can't be rolled back."
    try:
        value = json.loads(path.read_bytes())
        files = value["files"]
        if value["format"] != 1 or set(files) != set(_NAMES):
            raise FormatError(path, None, "a user database snapshot of another format", remedy)
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(path, None, f"not a user database snapshot ({error})", remedy) from error
    return dict(files)
