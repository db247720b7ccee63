"""The four sources of profiles, each a plugin of its own: `empty`, `custom`, `archive` and `dpkg`.

Asked for the best profile of a system (`wanted` None), `archive` answers where it has one for the system's id; else
`dpkg` on a system that has dpkg, `empty` on one that has none.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

from tklbam_core.api import ProfileError, ProfileInfo, ProfileRequest, atomic_write, hookimpl

FOLDERS = ("var/lib/tklbam/profiles", "usr/share/tklbam/profiles")
SUFFIX = ".tar.gz"
_ENDINGS = (SUFFIX, ".tgz")


def general_conf() -> bytes:
    """The dirindex.conf for a general server."""
    return resources.files("tklbam_profiles_local").joinpath("data/dirindex.conf").read_bytes()


class EmptyProfile:
    """`empty`: nothing is as installed, so that everything below the general conf is stored."""

    @hookimpl(trylast=True)
    def tklbam_profile_find(self, request: ProfileRequest) -> ProfileInfo | None:
        from tklbam_core.api.profiles import CONF, EMPTY_ID, has_dpkg, write_empty_index, write_identity, write_packages

        if request.wanted is None:
            if has_dpkg(request.root):
                return None
            source = "empty: no profile for this system and no dpkg to derive one from; everything counts as changed"
        elif request.wanted == EMPTY_ID:
            source = "empty: everything counts as changed"
        else:
            return None
        with atomic_write(request.directory / CONF) as file:
            file.write(general_conf())
        write_packages(request.directory, ())
        write_empty_index(request.directory, request.root)
        # Always the same time: it never changes, so it is never newer than the one already here.
        timestamp = datetime.fromtimestamp(0, UTC)
        write_identity(request.directory, EMPTY_ID, timestamp)
        return ProfileInfo(profile_id=EMPTY_ID, source=source, timestamp=timestamp)


class CustomProfile:
    """`custom`: a profile directory or archive named by path, or by `custom:NAME` in a local folder."""

    @hookimpl
    def tklbam_profile_find(self, request: ProfileRequest) -> ProfileInfo | None:
        from tklbam_core.api.profiles import CUSTOM_PREFIX, adopt_archive, adopt_profile, check_profile_id

        wanted = request.wanted
        if wanted is None:
            return None
        if wanted.startswith(CUSTOM_PREFIX):
            place = _in_folders(request.root, wanted.removeprefix(CUSTOM_PREFIX))
        elif "/" in wanted:
            place = Path(os.path.abspath(wanted))
        else:
            return None
        name = place.name
        for ending in _ENDINGS:
            name = name.removesuffix(ending)
        profile_id = CUSTOM_PREFIX + name
        check_profile_id(name)
        if place.is_dir():
            timestamp = adopt_profile(place, request.directory, profile_id)
        elif place.is_file():
            with open(place, "rb") as archive:
                timestamp = adopt_archive(archive, str(place), request.directory, profile_id)
        else:
            raise ProfileError(f"there is no profile {place}", "Name a directory or a .tar.gz that holds a profile.")
        return ProfileInfo(profile_id=profile_id, source=f"custom: {place}", timestamp=timestamp)


class ArchiveProfile:
    """`archive`: profile archives in a local folder, by id, with less and less of it down to the codename."""

    @hookimpl
    def tklbam_profile_find(self, request: ProfileRequest) -> ProfileInfo | None:
        from tklbam_core.api.profiles import (
            CUSTOM_PREFIX,
            EMPTY_ID,
            adopt_archive,
            check_profile_id,
            profile_candidates,
        )

        wanted = request.wanted or request.profile_id
        if wanted in (EMPTY_ID, "dpkg") or "/" in wanted or wanted.startswith(CUSTOM_PREFIX):
            return None
        check_profile_id(wanted)
        for candidate in profile_candidates(wanted):
            place = _in_folders(request.root, candidate + SUFFIX)
            if place.is_file():
                break
        else:
            return None
        with open(place, "rb") as archive:
            timestamp = adopt_archive(archive, str(place), request.directory, wanted)
        warnings = []
        if candidate != wanted:
            warnings.append(f"there is no profile archive for {wanted}; that of {candidate} is used")
        return ProfileInfo(profile_id=wanted, source=f"archive: {place}", timestamp=timestamp, warnings=tuple(warnings))


class DpkgProfile:
    """`dpkg`: derived from the package manager of the system itself."""

    @hookimpl(trylast=True)
    def tklbam_profile_find(self, request: ProfileRequest) -> ProfileInfo | None:
        from tklbam_core.api.profiles import PathRules, has_dpkg, write_identity

        # What is in force is never older than what could be derived now, which might take later changes for pristine.
        if request.wanted not in (None, "dpkg") or request.known is not None:
            return None
        if not has_dpkg(request.root):
            if request.wanted is None:
                return None
            raise ProfileError(
                f"there is no dpkg under {request.root} to derive a profile from",
                "Use --force-profile=empty, or name a profile directory.",
            )
        from .debian.derive import derive_profile
        from .debian.left_out import data_left_out

        conf = general_conf()
        derived = derive_profile(request.root, conf, request.directory, request.progress)
        timestamp = datetime.now(UTC).replace(microsecond=0)
        write_identity(request.directory, request.profile_id, timestamp)
        warnings = list(data_left_out(request.root, PathRules.from_text(conf, "dirindex.conf")))
        if derived.report.problem_count:
            first = derived.report.problems[0]
            warnings.append(
                f"{derived.report.problem_count} paths could not be read and count as changed, "
                f"{os.fsdecode(first.path)} among them ({first.reason})"
            )
        if derived.unclean:
            warnings.append(f"{derived.unclean} lines in packages' lists of checksums are no checksums")
        return ProfileInfo(
            profile_id=request.profile_id,
            source=f"dpkg: derived from {derived.packages} packages of {request.profile_id}",
            timestamp=timestamp,
            warnings=tuple(warnings),
        )


def _in_folders(root: Path, name: str) -> Path:
    """The first of the local folders' entries of this name, as an archive too; where there is none, the first place."""
    from tklbam_core.api.profiles import check_profile_id, inside

    check_profile_id(name)
    places = [inside(root, folder) / (name + ending) for folder in FOLDERS for ending in ("", *_ENDINGS)]
    return next((place for place in places if place.exists()), places[0])
