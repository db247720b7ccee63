"""The plugin: answers for `file:` addresses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from tklbam_core.api import SchemeInfo, Target, TargetError, TargetRequest, hookimpl

from .target import LocalTarget

REMEDY = "Write it as file:///path, with three slashes."


class LocalStorage:
    """Storage in a directory. The path is one of the machine this runs on, also where another root is backed up."""

    @hookimpl
    def tklbam_storage_target(self, request: TargetRequest) -> Target | None:
        """`file:///path` or `file://localhost/path`; `%XX` is a byte of the path. Raises TargetError."""
        scheme, colon, rest = request.address.partition(":")
        if scheme.lower() != "file" or not colon:
            return None
        if not rest.startswith("//"):
            raise TargetError(f"{request.address} is not an address", REMEDY)
        host, slash, path = rest[2:].partition("/")
        if host not in ("", "localhost"):
            raise TargetError(f"{request.address} names a host, {host}, which a directory has not", REMEDY)
        plain = unquote(path, errors="surrogateescape").strip("/")
        if not slash or not plain:
            raise TargetError(f"{request.address} names no directory", REMEDY)
        if "\0" in plain or ".." in plain.split("/"):
            raise TargetError(f"{request.address}: a path must be plain, without `..`", REMEDY)
        return LocalTarget(request.address, Path("/") / plain)

    @hookimpl
    def tklbam_storage_schemes(self) -> Sequence[SchemeInfo]:
        return (
            SchemeInfo(
                scheme="file",
                what="a directory of this machine: another disk, or a share that is mounted (NFS, CIFS, sshfs)",
                forms=("file:///mnt/backup/web1",),
                credentials="none; backups run as root, who must be allowed to write there",
            ),
        )
