"""A server and its Hub: everything by an API key alone, and nothing lost when the Hub is."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.hub import postgresql
from tests.e2e.machine import Machine
from tests.e2e.small import Unchanged, assert_clear, conf, small_system
from tests.hub_api import PROFILE, archive
from tests.hub_server import HubServer, hub_server

pytestmark = pytest.mark.root

CORE = "turnkey-core-18.0-bookworm-amd64"
WORDPRESS = "turnkey-wordpress-18.0-bookworm-amd64"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """A real Hub: a server process with SQLite, whose storage is a directory that all machines reach."""
    with hub_server(tmp_path_factory.mktemp("hub")) as server:
        add_profile(server, CORE, 0)
        yield server


@pytest.fixture(scope="module")
def hub_of_many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """The same on PostgreSQL."""
    with postgresql() as cluster:
        url = f"postgresql://postgres@127.0.0.1:{cluster.port}/hub"
        with hub_server(tmp_path_factory.mktemp("hub-of-many"), url) as server:
            add_profile(server, CORE, 0)
            yield server


def add_profile(server: HubServer, profile_id: str, number: int) -> None:
    place = server.directory / f"profile-{number}.tar.gz"
    place.write_bytes(archive({**PROFILE, "packages": f"base-files\nextra{number}\n".encode()}))
    server.command("profile", "add", profile_id, str(place))


def system(root: Path, hub: HubServer, profile_id: str = CORE) -> Machine:
    """An appliance that was told which Hub, and where that one's storage is mounted."""
    made = small_system(root)
    made.write("/etc/turnkey_version", f"{profile_id}\n")
    conf(made, f"hub-url {hub.api_url}", f"hub-directory {hub.storage}")
    return made


def link(made: Machine, hub: HubServer) -> None:
    made.tklbam("init", "--api-key-file", "-", input=f"{hub.api_key}\n")


def own_id(made: Machine) -> str:
    fields = dict(line.split("=", 1) for line in made.path("/var/lib/tklbam/hbr").read_text().splitlines())
    return fields["backup_id"]


def plan(made: Machine, *words: str, passphrase: str = "") -> int:
    """How many files a restore would put in place."""
    done = made.tklbam("restore", *words, "--simulate", "--json", input=f"{passphrase}\n")
    found: int = json.loads(done.out)["plan"]["overlay"]
    return found


def test_an_api_key_is_all_it_takes_and_the_hub_may_die(hub: HubServer, tmp_path: Path) -> None:
    a = system(tmp_path / "a", hub)
    a.write("/srv/text", "A's text\n")
    a.write("/srv/noise", os.urandom(64 << 10))
    link(a, hub)
    assert a.path("/var/lib/tklbam/profile/profile_id").read_text() == f"{CORE}\n", (
        "the Hub's profile for this appliance"
    )
    a.tklbam("passphrase", input="first\n")
    first = a.json("backup")
    assert first["outcome"] == "complete"
    number = own_id(a)
    assert first["sessions"][0]["address"].startswith(f"file://{hub.storage}/")
    assert a.tklbam("status", "--short").out.startswith(f"TKLBAM:  Backup ID #{number}, Updated ")

    # A second server of the account restores it by its id; the Hub kept the key.
    b = system(tmp_path / "b", hub)
    link(b, hub)
    b.tklbam("restore", number, "--noninteractive", input="first\n")
    assert b.path("/srv/text").read_text() == "A's text\n"

    # A new passphrase is pushed: the old one opens the Hub's key no more.
    a.tklbam("passphrase", input="second\n")
    assert_clear(b.tklbam("restore", "--quiet", number, status=11, input="first\n"), "Incorrect passphrase")

    # The list knows size and label; the label finds the backup, too.
    (line,) = [each for each in b.tklbam("list").out.splitlines() if each.split()[0] == number]
    assert line.split()[1] == "Yes"
    _, _, _, _, size, label = line.split(maxsplit=5)
    assert 0.06 <= float(size) < 0.2
    assert plan(b, label, passphrase="second") == 2

    # The key leaves the Hub's reach, and the Hub dies.
    a.tklbam("escrow", str(tmp_path / "a.key"), input="escrowed\n")
    address = first["sessions"][0]["address"]
    hub.stop(signal.SIGKILL)
    try:
        a.write("/srv/later", "after the Hub's death\n")
        began = time.monotonic()
        done = a.tklbam("backup")
        assert time.monotonic() - began < 60
        warnings = [each for each in done.err.splitlines() if each.startswith("warning: ")]
        assert 1 <= len(warnings) <= 3, done
        assert [each for each in warnings if "what is remembered of the Hub" in each], done
        assert "newer profile could not be found out" in done.err
        assert a.tklbam("status", "--short").out.startswith(f"TKLBAM:  Backup ID #{number}, Updated ")
        assert_clear(a.tklbam("list", status=1), "can't be reached", "Try again later")
        assert "the old passphrase" in a.tklbam("passphrase", input="third\n").err
        assert plan(a, number) == 3, "a system's own backup is found without the Hub"

        # Another system, never linked: the address and the escrowed key alone.
        c = small_system(tmp_path / "c")
        c.tklbam("restore", "--address", address, "--keyfile", str(tmp_path / "a.key"), input="escrowed\n")
        assert c.path("/srv/text").read_text() == "A's text\n"
        assert c.path("/srv/later").read_text() == "after the Hub's death\n"
    finally:
        hub.start()

    # The Hub is back: it gets the key that it missed, and a newer profile comes along.
    add_profile(hub, CORE, 2)
    done = a.tklbam("backup")
    assert "newer than the one here (the Hub)" in done.err
    assert "extra2" in a.path("/var/lib/tklbam/profile/packages").read_text()
    assert plan(b, number, passphrase="third") == 3
    no_key_anywhere(a, hub)


def no_key_anywhere(made: Machine, hub: HubServer) -> None:
    """The keys are in the registry's own file and nowhere else: no log, no record, no other state."""
    subkey = made.path("/var/lib/tklbam/sub_apikey").read_text().strip()
    for path in made.root.rglob("*"):
        if path.is_file() and path.name != "sub_apikey":
            content = path.read_bytes()
            assert hub.api_key.encode() not in content, path
            assert subkey.encode() not in content, path


def test_another_appliance_s_backup_is_restored_only_when_that_is_meant(hub_of_many: HubServer, tmp_path: Path) -> None:
    hub = hub_of_many
    a = system(tmp_path / "a", hub)
    a.write("/srv/text", "text\n")
    link(a, hub)
    a.tklbam("backup")
    number = own_id(a)
    other = system(tmp_path / "other", hub, WORDPRESS)
    other.tklbam("init", hub.api_key, "--force-profile=core")
    assert other.path("/var/lib/tklbam/profile/profile_id").read_text() == f"{CORE}\n", "the id was completed"
    with Unchanged(other):
        refused = other.tklbam("restore", "--quiet", number, "--noninteractive", status=10)
        assert_clear(refused, "core", "wordpress", "--force", "has no passphrase", lines=3)
    other.tklbam("restore", number, "--noninteractive", "--force")
    assert other.path("/srv/text").read_text() == "text\n"


def test_a_record_that_was_deleted_is_made_anew_and_a_refusal_says_where_to_turn(
    hub_of_many: HubServer, tmp_path: Path
) -> None:
    hub = hub_of_many
    a = system(tmp_path / "a", hub)
    a.write("/srv/text", "text\n")
    link(a, hub)
    a.tklbam("backup", "--quiet")
    number = own_id(a)
    hub.run(
        f"from tklbam_hub.records.models import BackupRecord; BackupRecord.objects.filter(number={number}).delete()"
    )
    done = a.tklbam("backup", "--quiet")
    assert f"the Hub has no backup #{number} any more" in done.err
    assert own_id(a) != number
    number = own_id(a)
    hub.command("user", "set", hub.username, "--not-subscribed")
    try:
        refused = a.tklbam("backup", "--quiet", status=1)
        assert_clear(refused, "BackupAccount.NotSubscribed", f"Subscribe to backups at {hub.url}/")
        assert plan(a, number) == 1, "what is there can be restored"
    finally:
        hub.command("user", "set", hub.username, "--subscribed")
