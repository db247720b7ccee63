"""What system lies under a root: its profile id, and the facts about it that a backup keeps."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..host import Host
from .dpkg import native_architecture
from .rooted import inside

GENERIC = "generic"
_TURNKEY = re.compile(r"turnkey-(?P<codename>[^\s/]+)-(?P<release>\d[^\s/-]*(?:-[a-z]+)?)-(?P<arch>[a-z0-9]+)")


@dataclass(frozen=True, slots=True)
class TurnkeyId:
    """The parts of a TurnKey id, `turnkey-CODENAME-RELEASE-ARCH`; the appliance's codename may hold dashes.

    RELEASE begins with a digit and may end in a Debian release name (`16.0`, `16.0-buster`, `11.0rc1`).
    """

    codename: str
    release: str
    architecture: str

    @classmethod
    def parse(cls, profile_id: str) -> TurnkeyId | None:
        """None where the id is not a TurnKey appliance's."""
        found = _TURNKEY.fullmatch(profile_id)
        return cls(found["codename"], found["release"], found["arch"]) if found else None


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What is known of a system, for `backup-conf` and reports. Empty strings where it can't be told.

    `kernel` is the running kernel's release, and so only known of the machine this runs on.
    """

    profile_id: str
    distribution: str
    release: str
    codename: str
    architecture: str
    hostname: str
    kernel: str


def detect_profile_id(root: Path) -> str:
    """The id by which a profile for the system under `root` is looked up; `generic` where nothing identifies it."""
    turnkey = _first_line(root, "etc/turnkey_version")
    if turnkey:
        return turnkey
    os_release = read_os_release(root)
    if os_release.get("ID"):
        return _os_id(os_release["ID"], os_release, root)
    lsb = _assignments(root, "etc/lsb-release")
    if lsb.get("DISTRIB_ID"):
        return _joined(lsb["DISTRIB_ID"].lower(), lsb.get("DISTRIB_RELEASE", ""))
    debian = _debian_major(root)
    return f"debian-{debian}" if debian else GENERIC


def profile_candidates(profile_id: str) -> list[str]:
    """Ids to look a profile up by, best first: the id itself, then ever less of it, down to the codename alone.

    `turnkey-wordpress-16.0-buster-amd64` gives itself, `turnkey-wordpress-16.0-buster`, `turnkey-wordpress-16.0`,
    `turnkey-wordpress` and `wordpress`; `debian-12` gives itself and `debian`.
    """
    turnkey = TurnkeyId.parse(profile_id)
    if turnkey is None:
        name, dash, _ = profile_id.rpartition("-")
        return [profile_id, name] if dash and name else [profile_id]
    full = f"turnkey-{turnkey.codename}"
    number = turnkey.release.partition("-")[0]
    names = [profile_id, f"{full}-{turnkey.release}", f"{full}-{number}", full, turnkey.codename]
    return list(dict.fromkeys(names))


def codename(profile_id: str) -> str:
    """The appliance's codename of a TurnKey id (`wordpress`), the distribution of any other (`debian`)."""
    return profile_candidates(profile_id)[-1]


def read_os_release(root: Path) -> Mapping[str, str]:
    """The fields of os-release (`etc`, else `usr/lib`), unquoted; none where there is no such file."""
    return _assignments(root, "etc/os-release") or _assignments(root, "usr/lib/os-release")


def host_facts(host: Host) -> HostFacts:
    """The facts of the system under the host's root."""
    os_release = read_os_release(host.root)
    lsb = _assignments(host.root, "etc/lsb-release")
    debian = _first_line(host.root, "etc/debian_version")
    distribution = os_release.get("ID") or lsb.get("DISTRIB_ID", "").lower() or ("debian" if debian else "")
    return HostFacts(
        profile_id=detect_profile_id(host.root),
        distribution=distribution,
        release=os_release.get("VERSION_ID") or lsb.get("DISTRIB_RELEASE") or debian,
        codename=os_release.get("VERSION_CODENAME") or lsb.get("DISTRIB_CODENAME", ""),
        architecture=native_architecture(host.root),
        hostname=os.uname().nodename if host.is_live else _first_line(host.root, "etc/hostname"),
        kernel=os.uname().release if host.is_live else "",
    )


def _os_id(distribution: str, os_release: Mapping[str, str], root: Path) -> str:
    version = os_release.get("VERSION_ID", "")
    # Debian testing and unstable have no VERSION_ID, but their base-files may still name a release.
    if not version and distribution == "debian":
        version = _debian_major(root)
    return _joined(distribution, version)


def _joined(name: str, version: str) -> str:
    return "-".join(re.sub(r"[^A-Za-z0-9._~+-]", "_", part) for part in (name, version) if part)


def _debian_major(root: Path) -> str:
    version = _first_line(root, "etc/debian_version")
    found = re.match(r"\d+", version)
    return found[0] if found else version.partition("/")[0]


def _first_line(root: Path, name: str) -> str:
    try:
        with open(inside(root, name), encoding="utf-8", errors="surrogateescape") as file:
            return file.readline().strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _assignments(root: Path, name: str) -> dict[str, str]:
    values: dict[str, str] = {}
    try:
        text = inside(root, name).read_text(encoding="utf-8", errors="surrogateescape")
    except (FileNotFoundError, NotADirectoryError):
        return values
    for line in text.split("\n"):
        key, equals, value = line.strip().partition("=")
        if not equals or key.startswith("#"):
            continue
        try:
            words = shlex.split(value)
        except ValueError:  # an unbalanced quote: taken as it stands
            words = [value.strip("\"'")]
        values[key] = words[0] if words else ""
    return values
