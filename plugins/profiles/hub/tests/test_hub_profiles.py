"""Profiles from a Hub: the right one, when it is newer, and never more than a profile."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.hub_api import PROFILE, SUBKEY, Api, archive, hostile, response, served
from tklbam_core.api import (
    Account,
    HubLocation,
    HubUnavailableError,
    ProfileError,
    ProfileInfo,
    ProfileRequest,
    hookimpl,
)
from tklbam_core.testing.profiles import ProfileCase, ProfileContract
from tklbam_profiles_hub.profiles import HubProfiles, candidates

OWN = "turnkey-core-16.0-buster-amd64"
TIME = 1764039600
"""2025-11-25 03:00:00 UTC"""


@pytest.fixture(scope="module")
def server() -> Iterator[Api]:
    with served(Api()) as api:
        yield api


@pytest.fixture
def api(server: Api) -> Api:
    server.archives = {OWN: (TIME, archive(PROFILE))}
    server.asked = []
    return server


@pytest.fixture
def request_for(api: Api, tmp_path: Path) -> ProfileRequest:
    directory = tmp_path / "profile"
    directory.mkdir(mode=0o700)
    account = Account(subkey=SUBKEY, hub=HubLocation(url=api.url))
    return ProfileRequest(wanted=None, profile_id=OWN, directory=directory, root=tmp_path, account=account)


def find(request: ProfileRequest) -> ProfileInfo | None:
    return HubProfiles().tklbam_profile_find(request)


def held(request: ProfileRequest) -> set[str]:
    return {str(path.relative_to(request.directory)) for path in request.directory.rglob("*")}


class TestContract(ProfileContract):
    @pytest.fixture
    def plugin(self, api: Api) -> object:
        account = Account(subkey=SUBKEY, hub=HubLocation(url=api.url))

        class Linked:
            """The plugin on a system that is linked."""

            @hookimpl
            def tklbam_profile_find(self, request: ProfileRequest) -> ProfileInfo | None:
                return find(replace(request, account=account))

        return Linked()

    @pytest.fixture
    def case(self, tmp_path: Path) -> ProfileCase:
        (tmp_path / "system/srv").mkdir(parents=True)
        return ProfileCase(root=tmp_path / "system", profile_id=OWN, wanted=None)


@pytest.mark.parametrize("stamp", [TIME, TIME + 0.7, str(TIME), f"{TIME}.7", "2025-11-25 03:00:00"])
def test_a_profile_is_fetched_when_it_is_newer_than_the_one_here(
    api: Api, request_for: ProfileRequest, stamp: object
) -> None:
    api.archives[OWN] = (stamp, api.archives[OWN][1])
    moment = datetime.fromtimestamp(TIME, UTC)
    info = find(request_for)
    assert info is not None
    assert (info.profile_id, info.source, info.timestamp) == (OWN, "the Hub", moment)
    assert held(request_for) >= {"dirindex.conf", "dirindex", "packages"}
    assert api.calls() == ["GET archive/timestamp/", "GET archive/"]
    assert find(replace(request_for, known=moment)) is None
    assert api.calls() == ["GET archive/timestamp/"], "what is current is not fetched again"
    older = replace(request_for, known=datetime.fromtimestamp(TIME - 1, UTC))
    assert find(older) is not None


def test_where_the_hub_has_none_other_sources_are_asked(api: Api, request_for: ProfileRequest) -> None:
    api.archives = {}
    assert find(request_for) is None
    assert held(request_for) == set()


def test_what_is_not_the_hub_s_is_never_asked_of_it(api: Api, request_for: ProfileRequest) -> None:
    for wanted in ("empty", "dpkg", "/srv/profile", "./profile", "custom:mine"):
        assert find(replace(request_for, wanted=wanted)) is None
    assert find(replace(request_for, account=None)) is None
    assert api.asked == []


def test_an_id_is_completed_from_the_system_s_own() -> None:
    full = "turnkey-wordpress-16.0-buster-amd64"
    assert candidates(None, OWN) == [OWN]
    assert candidates("wordpress", OWN) == ["wordpress", full]
    assert candidates("turnkey-wordpress", OWN) == ["turnkey-wordpress", full]
    assert candidates("wordpress-15.1-stretch", OWN) == [
        "wordpress-15.1-stretch",
        "turnkey-wordpress-15.1-stretch-amd64",
    ]
    assert candidates(full, OWN) == [full]
    assert candidates("wordpress", "debian-12") == ["wordpress"]
    assert candidates("wordpress", "turnkey-core-16.0-amd64") == ["wordpress", "turnkey-wordpress-16.0-amd64"]


def test_a_completed_id_is_the_profile_s(api: Api, request_for: ProfileRequest) -> None:
    full = "turnkey-wordpress-16.0-buster-amd64"
    api.archives = {full: (TIME, archive(PROFILE))}
    info = find(replace(request_for, wanted="wordpress"))
    assert info is not None
    assert info.profile_id == full
    assert [asked.sent["turnkey_version"] for asked in api.asked] == ["wordpress", full, full]


# --- archives --------------------------------------------------------------------------------------------------------


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


HOSTILE = {
    "absolute": member("/etc/cron.d/evil"),
    "up": member("../../../etc/cron.d/evil"),
    "up-inside": member("hooks.d/../../evil"),
    "link-out": member("dirindex.conf", tarfile.SYMTYPE, "/etc/shadow"),
    "hard-link": member("packages", tarfile.LNKTYPE, "/etc/shadow"),
    "device": member("dirindex", tarfile.BLKTYPE),
    "fifo": member("hooks.d/fifo", tarfile.FIFOTYPE),
    "link-as-folder": member("hooks.d", tarfile.SYMTYPE, "/etc"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_archive_that_holds_what_no_profile_holds_is_refused_whole(
    api: Api, request_for: ProfileRequest, tmp_path: Path, name: str
) -> None:
    content = {key: value for key, value in PROFILE.items() if key != HOSTILE[name].name}
    api.archives[OWN] = (TIME, archive({**content, "evil": HOSTILE[name]}))
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(request_for.directory)}
    with pytest.raises(ProfileError, match="the Hub's profile"):
        find(request_for)
    assert {path for path in tmp_path.rglob("*") if not path.is_relative_to(request_for.directory)} == before
    assert held(request_for) == set()


def test_a_small_archive_fills_neither_disk_nor_memory(
    api: Api, request_for: ProfileRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tklbam_core.delta.profile_import.MOST_BYTES", 4 << 20)
    api.archives[OWN] = (TIME, archive({**PROFILE, "hooks.d/zeros": bytes(8 << 20)}))
    with pytest.raises(ProfileError, match="unpacked"):
        find(request_for)
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 3 << 20
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        tar.addfile(header, io.BytesIO(bytes(header.size)))
    api.archives[OWN] = (TIME, out.getvalue())
    with pytest.raises(ProfileError, match="extended headers"):
        find(request_for)
    nested = io.BytesIO()
    with tarfile.open(fileobj=nested, mode="w:gz") as tar:
        for _ in range(2000):
            tar.addfile(member("./@LongLink", tarfile.GNUTYPE_LONGNAME))
    api.archives[OWN] = (TIME, nested.getvalue())
    with pytest.raises(ProfileError):
        find(request_for)
    assert held(request_for) == set()


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", archive(PROFILE)[:-20], archive({"other": b"x"})],
    ids=["empty", "other", "cut", "no-profile"],
)
def test_an_archive_that_is_none(api: Api, request_for: ProfileRequest, content: bytes) -> None:
    api.archives[OWN] = (TIME, content)
    with pytest.raises((ProfileError, HubUnavailableError)):
        find(request_for)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'{"archive_content": 7}', b'{"archive_content": "a+b/"}', b'{"archive_content": "abcde"}', b"<html>"],
    ids=["empty", "no-field", "number", "alphabet", "length", "html"],
)
def test_an_answer_without_an_archive(request_for: ProfileRequest, body: bytes) -> None:
    stamps = response(b'{"archive_timestamp": 1764039600}')

    def script(connection: object) -> None:
        (stamps if len(hub.requests) == 1 else response(body))(connection)  # type: ignore[arg-type]

    with hostile(script) as hub:
        account = Account(subkey=SUBKEY, hub=HubLocation(url=hub.url))
        with pytest.raises(HubUnavailableError, match="archive"):
            find(replace(request_for, account=account))


def test_a_profile_s_hooks_come_along_and_are_executable_for_root_alone(api: Api, request_for: ProfileRequest) -> None:
    api.archives[OWN] = (TIME, archive({**PROFILE, "hooks.d/10-hook": b"#!/bin/sh\n", "hooks.d/10-hook.sig": b"sig"}))
    assert find(request_for) is not None
    assert os.stat(request_for.directory / "hooks.d/10-hook").st_mode & 0o777 == 0o700
    assert (request_for.directory / "hooks.d/10-hook.sig").read_bytes() == b"sig"
