"""The Hub as a source of profiles: the one for this system's id, or an id that was asked for, completed."""

from __future__ import annotations

import re
import tempfile
from typing import BinaryIO, cast

from tklbam_core.api import HubError, ProfileInfo, ProfileRequest, hookimpl

MISSING = "BackupArchive.NotFound"
ELSEWHERE = ("empty", "dpkg")
"""Words that other sources of profiles answer to."""
_TURNKEY = re.compile(r"turnkey-.+?-(\d[^/\s-]*(?:-[a-z]+)?)-([a-z0-9]+)")
_PREFIX = "turnkey-"


class HubProfiles:
    @hookimpl
    def tklbam_profile_find(self, request: ProfileRequest) -> ProfileInfo | None:
        """None where the Hub has none, or none that is newer than `request.known`. Raises HubError, ProfileError."""
        wanted = request.wanted
        if request.account is None or (wanted is not None and (wanted in ELSEWHERE or "/" in wanted or ":" in wanted)):
            return None
        from tklbam_core.api.profiles import adopt_archive, check_profile_id

        from .client import HubClient

        client = HubClient(request.account.hub, request.account.subkey)
        for profile_id in candidates(wanted, request.profile_id):
            check_profile_id(profile_id)
            try:
                timestamp = client.archive_timestamp(profile_id)
            except HubError as error:
                if error.name == MISSING:
                    continue
                raise
            if request.known is not None and timestamp <= request.known:
                return None

            def spool() -> BinaryIO:
                # Beside the profile: where there is room for it, there is for this.
                return cast(BinaryIO, tempfile.TemporaryFile(dir=request.directory))

            with spool() as archive:
                client.archive(profile_id, archive, spool)
                adopt_archive(
                    archive, f"the Hub's profile {profile_id}", request.directory, profile_id, timestamp=timestamp
                )
            return ProfileInfo(profile_id=profile_id, source="the Hub", timestamp=timestamp)
        return None


def candidates(wanted: str | None, own: str) -> list[str]:
    """The ids to ask for, in this order: what was asked for as it is, then completed from this system's own id.

    On turnkey-core-16.0-buster-amd64 `wordpress` and `turnkey-wordpress` are also turnkey-wordpress-16.0-buster-amd64.
    """
    if wanted is None:
        return [own]
    system = _TURNKEY.fullmatch(own)
    if system is None or _TURNKEY.fullmatch(wanted):
        return [wanted]
    release, architecture = system.groups()
    name = wanted.removeprefix(_PREFIX)
    versioned = re.fullmatch(r".+?-\d[^/\s-]*(?:-[a-z]+)?", name)
    completed = f"{_PREFIX}{name}-{architecture}" if versioned else f"{_PREFIX}{name}-{release}-{architecture}"
    return list(dict.fromkeys([wanted, completed]))
