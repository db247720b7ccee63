"""init, as people and scripts use it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.unit.command_line import Tklbam, tklbam  # noqa: F401 - fixture
from tests.unit.key_systems import HUB, profiles, registry, root  # noqa: F401 - fixtures
from tests.unit.killing import killed_at_every_step
from tests.unit.plugin_folder import Install, install  # noqa: F401 - fixture
from tklbam_core.host import Host
from tklbam_core.initialize import InitRequest, initialize
from tklbam_core.keys import packet
from tklbam_core.plugins import Plugins
from tklbam_core.registry import Registry

# ruff: noqa: F811

# --- init ------------------------------------------------------------------------------------------------------------


def test_init_solo_makes_secret_key_and_profile_and_says_which(tklbam: Tklbam, registry: Registry) -> None:
    done = tklbam("init", "--solo")
    assert done.status == 0, done.err
    assert done.out == ""
    assert "using profile debian-12 for debian-12 (the test folder)" in done.err
    assert "warning: looks old" in done.err
    assert "The key has no passphrase" in done.err
    secret, key, profile = registry.secret, registry.key_packet, registry.profile
    assert secret is not None
    assert len(bytes.fromhex(secret)) == 32
    assert key is not None
    assert packet.open_packet(key, "") == secret
    assert profile is not None
    assert (profile.profile_id, profile.source) == ("debian-12", "the test folder")
    assert profile.timestamp is not None
    assert profile.timestamp.isoformat() == "2026-01-02T00:00:00+00:00"
    assert registry.directory.stat().st_mode & 0o7777 == 0o700


def test_quiet_init_says_nothing_but_warnings(tklbam: Tklbam) -> None:
    assert tklbam("init", "--solo", "-q").err == "warning: looks old\n"


def test_init_again_is_refused_and_changes_nothing(tklbam: Tklbam, registry: Registry) -> None:
    tklbam("init", "--solo")
    secret = registry.secret
    done = tklbam("init", "--solo")
    assert done.status == 1
    assert "already initialized" in done.err
    assert "--force" in done.err
    assert tklbam("init").status == 1
    assert registry.secret == secret


@pytest.mark.parametrize("arguments", [["--force"], ["--force-profile=special"], ["--solo", "--force"]])
def test_forced_init_gets_the_profile_anew_and_keeps_the_secret(
    tklbam: Tklbam, registry: Registry, arguments: list[str]
) -> None:
    tklbam("init", "--solo")
    secret, key = registry.secret, registry.key_packet
    (registry.profile_dir / "dirindex").write_text("spoilt")
    assert tklbam("init", *arguments).status == 0
    assert (registry.secret, registry.key_packet) == (secret, key)
    assert (registry.profile_dir / "dirindex").read_text() == ""
    assert registry.profile is not None
    assert registry.profile.profile_id == ("special" if "special" in arguments[0] else "debian-12")


def test_init_with_neither_key_nor_solo_explains(tklbam: Tklbam, registry: Registry) -> None:
    for arguments in ([], ["--force"], ["--force-profile=special"]):
        done = tklbam("init", *arguments)
        assert done.status == 2
        assert "tklbam init API-KEY" in done.err
        assert "tklbam init --solo" in done.err
    assert tklbam("init", "--solo", "KEY").status == 2
    assert not registry.directory.exists()


def test_profile_of_the_configuration_is_taken(tklbam: Tklbam, registry: Registry, root: Path) -> None:
    with open(root / "etc/tklbam/conf", "a") as file:
        file.write("force-profile special\n")
    assert tklbam("init", "--solo").status == 0
    assert registry.profile is not None
    assert registry.profile.profile_id == "special"
    assert "already initialized" in tklbam("init", "--solo").err


def test_api_key_without_hub_plugin_names_the_plugin(tklbam: Tklbam, registry: Registry) -> None:
    done = tklbam("init", "GOODKEY")
    assert done.status == 1
    assert "tklbam-profiles-hub" in done.err
    assert "--solo" in done.err
    assert registry.secret is None


def test_api_key_links_through_the_hub_plugin(tklbam: Tklbam, registry: Registry, install: Install) -> None:
    install("test-hub", {"records": {"test": "test_hub"}}, test_hub=HUB)
    done = tklbam("init", "BADKEY")
    assert done.status == 1
    assert "InvalidApiKey" in done.err
    assert registry.secret is None
    assert tklbam("init", "GOODKEY").status == 0
    assert registry.account is not None
    assert registry.account.subkey == "SUBGOODKEY"
    assert registry.secret is not None


def test_solo_system_can_be_linked_later(tklbam: Tklbam, registry: Registry, install: Install) -> None:
    install("test-hub", {"records": {"test": "test_hub"}}, test_hub=HUB)
    tklbam("init", "--solo")
    secret = registry.secret
    assert tklbam("init", "GOODKEY").status == 0
    assert registry.account is not None
    assert registry.secret == secret
    assert "already initialized" in tklbam("init", "GOODKEY").err


def test_no_profile_to_be_had_makes_nothing_and_says_what_to_do(tklbam: Tklbam, registry: Registry, root: Path) -> None:
    done = tklbam("init", "--solo", "--force-profile=nowhere")
    assert done.status == 1
    assert "no profile 'nowhere' was found (asked: test)" in done.err
    with open(root / "etc/tklbam/conf", "a") as file:
        file.write("disable-plugin test-profiles\n")
    done = tklbam("init", "--solo")
    assert done.status == 1
    assert "Install tklbam-profiles-local" in done.err
    assert registry.secret is None
    assert registry.key_packet is None


@pytest.mark.parametrize(
    "answer",
    [
        "'debian-12'",
        "ProfileInfo(profile_id='', source='x', timestamp=datetime.now(UTC))",
        "ProfileInfo(profile_id='a\\nb', source='x', timestamp=datetime.now(UTC))",
        "ProfileInfo(profile_id='x', source='x', timestamp=datetime(2026, 1, 1))",
        "ProfileInfo(profile_id='x', source='x', timestamp=datetime.now(UTC))",
        "1 / 0",
    ],
)
def test_bad_answer_of_a_profile_plugin_leaves_the_old_profile(
    tklbam: Tklbam, registry: Registry, install: Install, root: Path, answer: str
) -> None:
    tklbam("init", "--solo")
    source = (
        "from datetime import UTC, datetime\nfrom tklbam_core.api import ProfileInfo, hookimpl\n\n@hookimpl\n"
        f"def tklbam_profile_find(request):\n    return {answer}\n"
    )
    install("bad-profiles", {"profiles": {"bad": "bad_profiles"}}, bad_profiles=source)
    with open(root / "etc/tklbam/conf", "a") as file:
        file.write("disable-plugin test-profiles\n")
    done = tklbam("init", "--force")
    assert done.status == 1, done
    assert done.err.startswith("error: ")
    assert registry.profile is not None
    assert registry.profile.profile_id == "debian-12"


def test_bad_configuration_stops_init_before_anything(tklbam: Tklbam, registry: Registry, root: Path) -> None:
    (root / "etc/tklbam/conf").write_text("volsize huge\n")
    done = tklbam("init", "--solo")
    assert done.status == 2
    assert f"{root}/etc/tklbam/conf:1: volsize 'huge'" in done.err
    assert not registry.directory.exists()


def test_init_killed_at_any_step_leaves_nothing_or_what_the_next_init_completes(root: Path, registry: Registry) -> None:
    host = Host.from_environment(root)

    def init() -> None:
        plugins = Plugins(["tklbam-profiles-local"])
        initialize(InitRequest(solo=True), host, registry, plugins, note=str, warn=str)

    def prepare() -> None:
        shutil.rmtree(registry.directory, ignore_errors=True)

    init()  # everything is imported before a child is forked
    completed = 0
    for _ in killed_at_every_step(init, prepare, registry.directory):
        secret = registry.secret
        if secret is None:
            init()
            secret = registry.require_secret()
        else:
            completed += 1
        assert registry.key_packet is not None
        assert packet.open_packet(registry.key_packet, "") == secret
        assert registry.profile is not None
        assert (registry.profile.directory / "dirindex.conf").read_text() == "/etc\n"
    assert completed >= 1


def test_key_left_without_its_secret_is_never_overwritten(tklbam: Tklbam, registry: Registry) -> None:
    tklbam("init", "--solo")
    secret = registry.secret
    (registry.directory / "secret").unlink()
    assert tklbam("init", "--solo").status == 0
    assert registry.secret == secret, "an unprotected key gives its secret back"
    tklbam("passphrase", stdin="pw\n")
    key = registry.key_packet
    (registry.directory / "secret").unlink()
    done = tklbam("init", "--solo")
    assert done.status == 1
    assert "may open older backups" in done.err
    assert registry.key_packet == key
    assert registry.secret is None


def test_missing_key_is_made_from_the_secret(tklbam: Tklbam, registry: Registry) -> None:
    tklbam("init", "--solo")
    (registry.directory / "key").unlink()
    assert tklbam("init", "--solo").status == 0
    assert registry.key_packet is not None
    assert packet.open_packet(registry.key_packet, "") == registry.secret
