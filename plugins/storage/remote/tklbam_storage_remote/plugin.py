"""The plugin: answers for every address of a server that duplicity can reach, but S3's and plain directories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tklbam_core.api import SchemeInfo, Target, TargetError, TargetRequest, hookimpl

if TYPE_CHECKING:
    from .kinds.base import Family


class RemoteStorage:
    """Storage on servers. Opening touches nothing; what is needed is imported and looked for then."""

    @hookimpl
    def tklbam_storage_target(self, request: TargetRequest) -> Target | None:
        """Raises TargetError for an address that makes no sense, or one that can't be served, with the reason."""
        from .schemes import ALIASES, BY_NAME, REFUSED

        scheme = request.address.partition(":")[0].lower()
        if scheme in REFUSED:
            raise TargetError(
                f"{scheme}:// addresses can't be used: {REFUSED[scheme]}",
                "Reach the place another way (rclone://, sftp://), or choose another target.",
            )
        if ALIASES.get(scheme, scheme) not in BY_NAME:
            return None
        from .access import Access
        from .address import parse
        from .target import RemoteTarget

        return RemoteTarget(_family(Access(parse(request.address), request.credentials, request.options)))

    @hookimpl
    def tklbam_storage_schemes(self) -> Sequence[SchemeInfo]:
        from .describe import describe

        return describe()


def _family(access: object) -> Family:
    from importlib import import_module

    from .access import Access
    from .schemes import BY_NAME

    assert isinstance(access, Access)
    module, name = FAMILIES[BY_NAME[access.address.scheme].kind]
    made: Family = getattr(import_module(f".kinds.{module}", __package__), name)(access)
    return made


FAMILIES = {
    "ssh": ("ssh", "Ssh"),
    "rsync": ("rsync", "Rsync"),
    "lftp": ("lftp", "Lftp"),
    "webdav": ("webdav", "WebDav"),
    "imap": ("imap", "Imap"),
    "swift": ("swift", "Swift"),
    "rclone": ("rclone", "Rclone"),
    "other": ("other", "Other"),
}
"""Module and class of each kind of `schemes.Kind`."""
