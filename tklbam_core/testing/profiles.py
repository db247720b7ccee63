"""A contract suite for profile plugins: what the core relies on, run against a system under a directory.

In a plugin's own tests:

    class TestContract(ProfileContract):
        @pytest.fixture
        def plugin(self):
            return MyProfiles()

        @pytest.fixture
        def case(self, tmp_path):
            return ProfileCase(root=my_system(tmp_path), profile_id="debian-12", wanted="my-profile")

Each test then keeps one promise. A plugin of which a promise can't hold overrides that test and says why.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pluggy
import pytest

from .. import hookspecs
from ..api import ProfileError, ProfileInfo, ProfileRequest
from ..api.progress import ProgressEvent
from ..delta.attributes import ProfileAttributes
from ..delta.dirindex import read_index
from ..delta.escape import sort_key
from ..delta.profile import Profile, write_identity


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileCase:
    """A system, and a profile that the plugin has for it.

    `root` is the system, `profile_id` its id, `wanted` what the administrator asks for (None: the best). `unknown` is
    something of which the plugin must have no profile: an id, or a path.
    """

    root: Path
    profile_id: str
    wanted: str | None
    unknown: str = "no-such-profile-1"


def find_profile(plugins: Iterable[Any], request: ProfileRequest) -> ProfileInfo | None:
    """Asks plugins for a profile as the core does."""
    manager = pluggy.PluginManager("tklbam")
    manager.add_hookspecs(hookspecs)
    for plugin in plugins:
        manager.register(plugin)
    answer = manager.hook.tklbam_profile_find(request=request)
    assert answer is None or isinstance(answer, ProfileInfo), f"{answer!r} is neither a ProfileInfo nor None"
    return answer


class ProfileContract:
    """Inherit, give it the fixtures `plugin` and `case`."""

    @pytest.fixture
    def plugin(self) -> Any:
        raise NotImplementedError("a fixture `plugin` that returns the plugin's object")

    @pytest.fixture
    def case(self) -> ProfileCase:
        raise NotImplementedError("a fixture `case` that returns a ProfileCase")

    @pytest.fixture
    def request_for(self, case: ProfileCase, tmp_path: Path) -> ProfileRequest:
        directory = tmp_path / "contract-profile"
        directory.mkdir(mode=0o700)
        return ProfileRequest(
            wanted=case.wanted, profile_id=case.profile_id, directory=directory, root=case.root, progress=_check_event
        )

    @pytest.fixture
    def found(self, plugin: Any, request_for: ProfileRequest) -> tuple[ProfileInfo, Profile]:
        """The plugin's answer, and the profile it wrote, completed as the core completes it."""
        info = find_profile([plugin], request_for)
        assert info is not None, f"no answer to {request_for.wanted!r}"
        write_identity(request_for.directory, info.profile_id, info.timestamp)
        return info, Profile.load(request_for.directory)

    def test_says_which_profile_from_where_and_of_when(self, found: tuple[ProfileInfo, Profile]) -> None:
        info, _ = found
        assert info.profile_id.split() == [info.profile_id]
        assert info.source.strip()
        assert "\n" not in info.source
        assert info.timestamp.tzinfo is not None
        assert info.timestamp <= datetime.now(UTC) + timedelta(seconds=2)
        assert all(isinstance(warning, str) and warning for warning in info.warnings)

    def test_the_profile_can_be_used(self, found: tuple[ProfileInfo, Profile], case: ProfileCase) -> None:
        _, profile = found
        assert profile.index is not None or profile.packages is not None
        if profile.index is not None:
            assert profile.rules.has_includes
            for _ in read_index(profile.index):
                pass
            ProfileAttributes.load(profile.directory, case.root)

    def test_the_index_is_in_the_order_of_a_walk(self, found: tuple[ProfileInfo, Profile]) -> None:
        _, profile = found
        if profile.index is not None:
            keys = [sort_key(entry.path) for entry in read_index(profile.index)]
            assert keys == sorted(set(keys))

    def test_the_index_holds_nothing_that_is_not_scanned(
        self, found: tuple[ProfileInfo, Profile], case: ProfileCase
    ) -> None:
        _, profile = found
        if profile.index is not None:
            rules = profile.rules.resolve(case.root)
            assert [entry.path for entry in read_index(profile.index) if not rules.includes(entry.path)] == []

    def test_no_one_else_can_read_the_profile(self, found: tuple[ProfileInfo, Profile]) -> None:
        _, profile = found
        wide = [path for path in profile.directory.rglob("*") if stat.S_IMODE(path.lstat().st_mode) & 0o077]
        assert wide == []

    def test_leaves_no_scratch_behind(self, found: tuple[ProfileInfo, Profile]) -> None:
        _, profile = found
        assert [path for path in profile.directory.iterdir() if path.name.startswith(".")] == []

    def test_the_system_stays_as_it_is(self, plugin: Any, request_for: ProfileRequest, case: ProfileCase) -> None:
        before = list(_state(case.root))
        assert find_profile([plugin], request_for) is not None
        assert list(_state(case.root)) == before

    def test_has_no_answer_for_what_is_not_its_own(
        self, plugin: Any, request_for: ProfileRequest, case: ProfileCase
    ) -> None:
        try:
            answer = find_profile([plugin], replace(request_for, wanted=case.unknown))
        except ProfileError:
            return  # a path that is its own to read, and holds no profile
        assert answer is None

    def test_a_second_answer_is_the_same(self, plugin: Any, request_for: ProfileRequest, tmp_path: Path) -> None:
        again = tmp_path / "contract-again"
        again.mkdir(mode=0o700)
        first = find_profile([plugin], request_for)
        second = find_profile([plugin], replace(request_for, directory=again))
        assert first is not None
        assert second is not None
        assert (first.profile_id, first.source) == (second.profile_id, second.source)
        for name in ("dirindex.conf", "dirindex", "packages", "attributes"):
            places = [directory / name for directory in (request_for.directory, again)]
            contents = [place.read_bytes() if place.exists() else None for place in places]
            assert contents[0] == contents[1], name

    def test_what_is_in_force_is_not_newer_than_itself(
        self, plugin: Any, request_for: ProfileRequest, tmp_path: Path
    ) -> None:
        first = find_profile([plugin], request_for)
        assert first is not None
        again = tmp_path / "contract-known"
        again.mkdir(mode=0o700)
        answer = find_profile([plugin], replace(request_for, directory=again, known=first.timestamp))
        assert answer is None or answer.timestamp <= first.timestamp


def _check_event(event: ProgressEvent) -> None:
    assert event.phase
    assert event.done >= 0


def _state(root: Path) -> Iterator[tuple[str, int, int, int]]:
    for base, directories, names in os.walk(root):
        directories.sort()
        for name in sorted(names + directories):
            status = os.lstat(os.path.join(base, name))
            yield os.path.join(base, name), status.st_mode, status.st_size, status.st_mtime_ns
