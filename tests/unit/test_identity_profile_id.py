"""The id of a system's profile, and the facts about it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tklbam_core.host import Host
from tklbam_core.system.identity import TurnkeyId, codename, detect_profile_id, host_facts, profile_candidates
from tklbam_core.system.rooted import inside


def system(root: Path, **files: str) -> Path:
    for name, text in files.items():
        place = root / name.replace("__", "/").replace("_dash_", "-")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return root


OS_RELEASE = 'NAME="Debian GNU/Linux"\nID=debian\nVERSION_ID="12"\n'


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"etc__turnkey_version": "turnkey-wordpress-16.0-buster-amd64\nmore\n", "etc__os_dash_release": OS_RELEASE},
            "turnkey-wordpress-16.0-buster-amd64",
        ),
        ({"etc__turnkey_version": "\n", "etc__os_dash_release": OS_RELEASE}, "debian-12"),
        ({"etc__os_dash_release": OS_RELEASE}, "debian-12"),
        ({"usr__lib__os_dash_release": "ID='ubuntu'\nVERSION_ID='24.04'\n"}, "ubuntu-24.04"),
        ({"etc__os_dash_release": "# comment\nID=arch\nBUILD_ID=rolling\n"}, "arch"),
        ({"etc__os_dash_release": "ID=debian\n", "etc__debian_version": "trixie/sid\n"}, "debian-trixie"),
        ({"etc__os_dash_release": 'ID="de bian/x"\nVERSION_ID="1\n'}, "de_bian_x-1"),
        ({"etc__lsb_dash_release": "DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=10.04\n"}, "ubuntu-10.04"),
        ({"etc__debian_version": "5.0.4\n"}, "debian-5"),
        ({"etc__debian_version": "squeeze/sid\n"}, "debian-squeeze"),
        ({}, "generic"),
    ],
)
def test_profile_id_comes_from_the_first_file_that_tells(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    assert detect_profile_id(system(tmp_path, **files)) == expected


def test_os_release_of_a_root_is_read_through_its_own_links(tmp_path: Path) -> None:
    system(tmp_path, usr__lib__os_dash_release="ID=alpine\nVERSION_ID=3.20\n")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").symlink_to("/usr/lib/os-release")
    assert detect_profile_id(tmp_path) == "alpine-3.20"


@pytest.mark.parametrize(
    ("profile_id", "candidates"),
    [
        (
            "turnkey-wordpress-16.0-buster-amd64",
            [
                "turnkey-wordpress-16.0-buster-amd64",
                "turnkey-wordpress-16.0-buster",
                "turnkey-wordpress-16.0",
                "turnkey-wordpress",
                "wordpress",
            ],
        ),
        ("turnkey-core-18.0-amd64", ["turnkey-core-18.0-amd64", "turnkey-core-18.0", "turnkey-core", "core"]),
        ("debian-12", ["debian-12", "debian"]),
        ("generic", ["generic"]),
    ],
)
def test_fallback_goes_from_the_full_id_to_the_codename(profile_id: str, candidates: list[str]) -> None:
    assert profile_candidates(profile_id) == candidates
    assert codename(profile_id) == candidates[-1]


def test_codename_may_hold_dashes_and_numbers() -> None:
    assert TurnkeyId.parse("turnkey-web2py-app-3-11.0rc1-lucid-x86") == TurnkeyId(
        "web2py-app-3", "11.0rc1-lucid", "x86"
    )
    assert TurnkeyId.parse("debian-12") is None


def test_facts_of_a_root_are_its_own_not_this_machines(tmp_path: Path) -> None:
    status = "Package: dpkg\nStatus: install ok installed\nArchitecture: arm64\nVersion: 1\n"
    system(tmp_path, etc__os_dash_release=OS_RELEASE, etc__hostname="alpha\n", var__lib__dpkg__status=status)
    facts = host_facts(Host.from_environment(tmp_path))
    assert (facts.distribution, facts.release, facts.architecture) == ("debian", "12", "arm64")
    assert (facts.hostname, facts.kernel) == ("alpha", "")


def test_facts_of_the_live_system_name_its_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TKLBAM_ROOT", raising=False)
    facts = host_facts(Host.from_environment())
    assert (facts.hostname, facts.kernel) == (os.uname().nodename, platform.release())


def test_command_prints_the_id(tmp_path: Path) -> None:
    system(tmp_path, etc__os_dash_release=OS_RELEASE)
    tklbam = Path(sys.executable).with_name("tklbam")
    plain, as_json = (
        subprocess.run(
            [tklbam, "internal", "detect-profile-id", "--root", tmp_path, *more],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for more in ([], ["--json"])
    )
    assert plain == "debian-12\n"
    assert json.loads(as_json) == {"profile_id": "debian-12", "candidates": ["debian-12", "debian"]}


def test_links_of_a_root_never_lead_out_of_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "srv/etc").mkdir(parents=True)
    (root / "etc").symlink_to("/srv/etc")
    (root / "up").symlink_to("../../../../..")
    assert inside(root, "/etc/passwd") == root / "srv/etc/passwd"
    assert inside(root, "up/etc/shadow") == root / "srv/etc/shadow"
    assert inside(root, "srv/../../x") == root / "x"


def test_links_in_a_circle_are_an_error(tmp_path: Path) -> None:
    from tklbam_core.api.errors import UnsafePathError

    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(UnsafePathError, match="too many symbolic links"):
        inside(tmp_path, "a/passwd")
