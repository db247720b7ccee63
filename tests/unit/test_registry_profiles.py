"""The profile in force: what stays, what is renewed, and what a plugin can't spoil."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tklbam_core.api.errors import PluginError, ProfileError
from tklbam_core.api.marker import hookimpl
from tklbam_core.api.models import Account, ProfileInfo, ProfileRequest
from tklbam_core.host import Host
from tklbam_core.plugins import Plugins
from tklbam_core.profiles import EnsuredProfile, ensure_profile
from tklbam_core.registry import Registry

THEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass(eq=False)
class Source:
    """A profile plugin that answers as it is told to, and notes what it was asked."""

    answer: ProfileInfo | Exception | None = None
    asked: list[ProfileRequest] = field(default_factory=list)

    @hookimpl
    def tklbam_profile_find(self, request: ProfileRequest) -> ProfileInfo | None:
        self.asked.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is not None:
            (request.directory / "dirindex.conf").write_text(f"/etc # {len(self.asked)}\n")
        return self.answer


@dataclass
class World:
    host: Host
    registry: Registry
    plugins: Plugins
    source: Source
    said: list[str] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)

    def ensure(self, wanted: str | None = None, **more: bool) -> EnsuredProfile:
        return ensure_profile(
            self.host,
            self.registry,
            self.plugins,
            wanted,
            "debian-12",
            note=self.said.append,
            warn=self.warned.append,
            **more,
        )

    @property
    def content(self) -> str:
        return (self.registry.profile_dir / "dirindex.conf").read_text()


@pytest.fixture
def world(tmp_path: Path) -> World:
    source = Source(info())
    plugins = Plugins(["tklbam-profiles-local", "tklbam-profiles-hub"])
    plugins.manager.register(source, name="profiles:test")
    host = Host.from_environment(tmp_path)
    return World(host, Registry(tmp_path / "registry"), plugins, source)


def info(profile_id: str = "debian-12", timestamp: datetime = THEN) -> ProfileInfo:
    return ProfileInfo(profile_id=profile_id, source="here", timestamp=timestamp, warnings=("mind the gap",))


def test_first_profile_is_found_for_this_system(world: World) -> None:
    found = world.ensure()
    (asked,) = world.source.asked
    assert (asked.wanted, asked.profile_id, asked.known, asked.root) == (None, "debian-12", None, world.host.root)
    assert found.changed
    assert found.directory == world.registry.directory / "profile"
    assert found.profile.timestamp == THEN
    assert world.said == ["using profile debian-12 for debian-12 (here)"]
    assert world.warned == ["mind the gap"]


def test_profile_in_force_stays_and_no_plugin_is_asked(world: World) -> None:
    world.ensure()
    for wanted in (None, "debian-12"):
        found = world.ensure(wanted)
        assert not found.changed
    assert len(world.source.asked) == 1
    assert len(world.said) == 1


def test_wanted_profile_replaces_another_and_then_stays(world: World) -> None:
    world.ensure()
    world.source.answer = info("debian-12-derived")
    assert world.ensure("dpkg").changed
    assert world.said[-1] == "using profile debian-12-derived, asked for as dpkg (here)"
    assert not world.ensure("dpkg").changed
    assert not world.ensure("debian-12-derived").changed
    assert not world.ensure(None).changed
    assert world.registry.profile is not None
    assert world.registry.profile.wanted == "dpkg"


@pytest.mark.parametrize("wanted", ["/some/where", "./here", "../there"])
def test_profile_of_a_path_is_read_each_time_for_it_may_have_changed(world: World, wanted: str) -> None:
    world.ensure(wanted)
    first = world.content
    assert world.ensure(wanted).changed
    assert world.content != first


def test_renew_asks_again(world: World) -> None:
    world.ensure()
    assert world.ensure(renew=True).changed
    assert len(world.source.asked) == 2


def test_linked_server_takes_a_newer_profile_of_the_same_id_only(world: World) -> None:
    world.ensure()
    first = world.content
    world.registry.write_account(Account(subkey="S"))
    for answer in (None, info(), info("another", THEN + timedelta(days=1)), info("dpkg", THEN + timedelta(days=1))):
        world.source.answer = answer
        found = world.ensure()
        assert not found.changed
        assert found.profile.profile_id == "debian-12"
        assert world.content == first
        assert world.source.asked[-1].known == THEN
    world.source.answer = info("debian-12", THEN + timedelta(days=1))
    found = world.ensure()
    assert found.changed
    assert found.profile.timestamp == THEN + timedelta(days=1)
    assert world.content != first
    assert "newer than the one here" in world.said[-1]


@pytest.mark.parametrize("profile_id", ["empty", "custom:mine"])
def test_empty_and_custom_profiles_are_never_renewed_from_a_hub(world: World, profile_id: str) -> None:
    world.source.answer = info(profile_id)
    world.ensure()
    world.registry.write_account(Account(subkey="S"))
    world.source.answer = info(profile_id, THEN + timedelta(days=1))
    assert not world.ensure().changed
    assert len(world.source.asked) == 1


@pytest.mark.parametrize("failure", [ProfileError("the Hub is down"), ValueError("bug")])
def test_hub_that_fails_costs_a_warning_and_no_backup(world: World, failure: Exception) -> None:
    world.ensure()
    world.registry.write_account(Account(subkey="S"))
    world.source.answer = failure
    found = world.ensure()
    assert (found.changed, found.profile.profile_id) == (False, "debian-12")
    assert "newer profile could not be found out" in world.warned[-1]


def test_nothing_found_is_an_error_and_the_old_one_stays(world: World) -> None:
    world.ensure()
    world.source.answer = None
    with pytest.raises(ProfileError, match="no plugin that provides profiles is installed"):
        world.ensure("nowhere")
    assert world.content == "/etc # 1\n"
    world.source.answer = OSError("bug")
    with pytest.raises(PluginError):
        world.ensure("nowhere")
    assert world.content == "/etc # 1\n"


def test_classic_profile_is_taken_as_it_is(world: World) -> None:
    place = world.registry.directory / "profile"
    place.mkdir(parents=True)
    (place / "profile_id").write_text("turnkey-core-14.0-jessie-amd64")
    (place / "stamp").touch()
    os.utime(place / "stamp", (THEN.timestamp(),) * 2)
    for wanted in (None, "turnkey-core-14.0-jessie-amd64"):
        found = world.ensure(wanted)
        assert (found.changed, found.profile.timestamp) == (False, THEN)
    assert world.source.asked == []
