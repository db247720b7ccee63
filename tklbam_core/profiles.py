"""The profile in force: asked for from the plugins, kept in the registry, renewed when a better one is to be had."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

from .api.errors import HubError, PluginError, ProfileError, TklbamError
from .api.models import ProfileInfo, ProfileRequest
from .api.progress import Progress, silent
from .host import Host
from .hub_account import hub_account
from .plugins import Plugins
from .registry import Registry, StoredProfile

NEVER_RENEWED = ("empty", "custom:")
PARTS = ("dirindex.conf", "packages")
"""A profile has at least one of these: without the first no files are compared, without the second no packages."""


def _unheard(text: str) -> None:
    """For callers with nobody to tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsuredProfile:
    """The profile to use. `changed` says whether it was put in place just now; `why` is a line for people."""

    profile: StoredProfile
    changed: bool
    why: str
    warnings: tuple[str, ...] = ()

    @property
    def directory(self) -> Path:
        return self.profile.directory


def ensure_profile(
    host: Host,
    registry: Registry,
    plugins: Plugins,
    wanted: str | None = None,
    profile_id: str | None = None,
    *,
    renew: bool = False,
    note: Callable[[str], None] = _unheard,
    warn: Callable[[str], None] = _unheard,
    progress: Progress = silent,
) -> EnsuredProfile:
    """Makes sure that the registry has the profile to compare with, and returns it.

    `wanted` is `force-profile`: an id, `empty`, `dpkg`, a path; None takes what is there, or the best for this system
    (`profile_id`, by default the system's own). What is there stays, unless `wanted` is another, `wanted` is a path
    (whose content may have changed), a Hub that this server is linked to has a newer one of the same id, or `renew`.
    `note` is told which profile was put in place and why, `warn` what its plugin or the Hub had to say.

    The caller holds the lock of the root. Raises ProfileError where none can be had, PluginError where a plugin gives
    one that can't be used; then the one in force stays.
    """
    stored = registry.profile
    if stored is not None and not renew and _serves(stored, wanted):
        found = _newer(host, registry, plugins, stored, warn, progress)
        if found is None:
            return EnsuredProfile(profile=stored, changed=False, why=f"profile {stored.profile_id}, as before")
        return _told(found, note, warn)
    if profile_id is None:
        from .system.identity import detect_profile_id

        profile_id = detect_profile_id(host.root)
    found = _find(host, registry, plugins, wanted=wanted, profile_id=profile_id, progress=progress)
    if found is None:
        raise _nothing_found(plugins, wanted, profile_id)
    return _told(found, note, warn)


def _told(found: EnsuredProfile, note: Callable[[str], None], warn: Callable[[str], None]) -> EnsuredProfile:
    note(found.why)
    for warning in found.warnings:
        warn(warning)
    return found


def _serves(stored: StoredProfile, wanted: str | None) -> bool:
    if wanted is None:
        return True
    return not wanted.startswith((".", "/")) and wanted in (stored.wanted, stored.profile_id)


def _newer(
    host: Host,
    registry: Registry,
    plugins: Plugins,
    stored: StoredProfile,
    warn: Callable[[str], None],
    progress: Progress,
) -> EnsuredProfile | None:
    derived = stored.source.startswith("dpkg")  # from this very system, so no Hub has a better one
    if registry.account is None or stored.timestamp is None or derived or stored.profile_id.startswith(NEVER_RENEWED):
        return None
    try:
        return _find(
            host,
            registry,
            plugins,
            wanted=stored.wanted,
            profile_id=stored.profile_id,
            progress=progress,
            than=stored,
        )
    except (HubError, PluginError, ProfileError) as error:
        # A Hub that can't be reached today is no reason to make no backup.
        warn(f"whether there is a newer profile could not be found out: {error.what}")
        return None


def _find(
    host: Host,
    registry: Registry,
    plugins: Plugins,
    *,
    wanted: str | None,
    profile_id: str,
    progress: Progress,
    than: StoredProfile | None = None,
) -> EnsuredProfile | None:
    """Asks the plugins; None where none has a profile or, with `than`, a newer one of that same id."""
    try:
        with registry.new_profile() as directory:
            request = ProfileRequest(
                wanted=wanted,
                profile_id=profile_id,
                directory=directory,
                root=host.root,
                known=than.timestamp if than else None,
                progress=progress,
                account=hub_account(host, registry),
            )
            info: ProfileInfo | None = plugins.first("profiles", "tklbam_profile_find", request=request)
            if info is None or (than is not None and not _is_newer(info, than)):
                raise _NotTakenError("")
            _complete(directory, info, wanted)
    except _NotTakenError:
        return None
    profile = registry.profile
    assert profile is not None
    asked = f", asked for as {wanted}" if wanted else f" for {profile_id}"
    return EnsuredProfile(
        profile=profile,
        changed=True,
        why=f"using profile {info.profile_id}{', newer than the one here' if than else asked} ({info.source})",
        warnings=info.warnings,
    )


class _NotTakenError(TklbamError):
    """Leaves `new_profile` with the old profile in force."""


def _is_newer(info: ProfileInfo, than: StoredProfile) -> bool:
    # A plugin that has nothing newer might answer with another kind of profile: that would change what a backup is.
    return info.profile_id == than.profile_id and than.timestamp is not None and info.timestamp > than.timestamp


def _complete(directory: Path, info: object, wanted: str | None) -> None:
    """Checks what a plugin gave and adds what the registry keeps with it. Raises PluginError."""
    if not isinstance(info, ProfileInfo):
        raise PluginError(
            f"a profile plugin answered with a {type(info).__name__}, not a ProfileInfo", "Disable or repair it."
        )
    if not info.profile_id or info.profile_id.split() != [info.profile_id] or info.timestamp.tzinfo is None:
        raise PluginError(
            f"the profile from {info.source} has a bad id ({info.profile_id!r}) or time ({info.timestamp})",
            "Disable or repair the plugin that provides it.",
        )
    if not any((directory / part).is_file() for part in PARTS):
        raise PluginError(
            f"the profile {info.profile_id} from {info.source} has neither {' nor '.join(PARTS)}",
            "Choose another with --force-profile, or repair this one.",
        )
    (directory / "profile_id").write_text(info.profile_id + "\n")
    origin = {"source": info.source, "wanted": wanted}
    (directory / "origin").write_text(json.dumps(origin, indent=1) + "\n")
    stamp = directory / "stamp"
    stamp.touch()
    moment = info.timestamp.astimezone(UTC).timestamp()
    os.utime(stamp, (moment, moment))


def _nothing_found(plugins: Plugins, wanted: str | None, profile_id: str) -> ProfileError:
    sources = sorted({plugin.name for plugin in plugins.load("profiles")})
    if not sources:
        return ProfileError(
            "no profile can be had: no plugin that provides profiles is installed",
            "Install tklbam-profiles-local (`empty`, `dpkg`, folders and archives) or tklbam-profiles-hub.",
        )
    asked = ", ".join(sources)
    if wanted:
        return ProfileError(
            f"no profile {wanted!r} was found (asked: {asked})",
            "Name an id, `empty`, `dpkg`, or the path of a profile.",
        )
    return ProfileError(
        f"no profile for {profile_id} was found (asked: {asked})",
        "Choose one: --force-profile=dpkg for any Debian or Ubuntu system, or `empty`, an id, or a path.",
    )
