"""What a run does with its Hub: the record, the credentials and the key, remembered and used when the Hub is gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.hub_api import SUBKEY, Api, hostile, response, served
from tklbam_core.api import Account, HubError, HubLocation, HubSession, HubUnavailableError
from tklbam_core.context import Context
from tklbam_core.host import Host
from tklbam_core.hub import change_key, find_backup, hub_backup
from tklbam_core.hub_account import hub_location
from tklbam_core.keys import packet
from tklbam_core.plugins import Plugins
from tklbam_core.registry import Registry

SESSION = HubSession(kind="full", outcome="complete", size=9, added=9, verified=True)
KEYS = {
    "type": "iamrole",
    "accesskey": "A",
    "secretkey": "B",
    "sessiontoken": "C",
    "expiration": "2026-12-01T00:00:00Z",
}


KEY, OTHER = packet.seal("secret", ""), packet.seal("another", "")


@dataclass
class System:
    """A linked system, its Hub, and what it said."""

    api: Api
    context: Context
    said: list[str] = field(default_factory=list)

    @property
    def registry(self) -> Registry:
        return self.context.registry

    def move_hub(self, url: str) -> None:
        self.registry.write_account(Account(subkey=SUBKEY, hub=HubLocation(url=url)))

    def backup(self) -> tuple[str, dict[str, str]]:
        """Id and credentials of a backup that stores something."""
        with hub_backup(self.context, "debian-12") as storage:
            storage.session = SESSION
        return storage.record.backup_id, dict(storage.credentials)


@pytest.fixture(scope="module")
def server() -> Iterator[Api]:
    with served(Api()) as api:
        yield api


@pytest.fixture
def system(server: Api, tmp_path: Path) -> System:
    server.records, server.asked, server.subscribed = {}, [], True
    server.credentials, server.place = KEYS, "s3://bucket/some"
    said: list[str] = []
    host = Host.from_environment(tmp_path)
    registry = Registry(host.registry_dir)
    registry.write_key_packet(KEY)
    made = System(
        server,
        Context(host=host, registry=registry, plugins=Plugins(), warn=said.append, note=said.append),
        said,
    )
    made.move_hub(server.url)
    return made


@pytest.fixture
def nowhere() -> Iterator[str]:
    """A Hub that answers everything with an error page."""
    with hostile(response(b"<html>gone</html>", "404 Not Found")) as found:
        yield found.url


ROUND = [
    "GET record/1/",
    "GET credentials/",
    "PUT record/1/inprogress/",
    "PUT record/update/",
    "PUT record/1/inprogress/",
]


def test_a_record_is_made_once_and_used_from_then_on(system: System) -> None:
    assert system.backup() == ("1", KEYS)
    assert system.api.calls() == ["POST record/create/", *ROUND[1:]]
    assert system.api.records["1"]["key"] == KEY.decode()
    assert system.backup() == ("1", KEYS)
    assert system.api.calls() == ROUND
    assert system.said == []


def test_without_the_hub_record_and_credentials_are_those_remembered(system: System, nowhere: str) -> None:
    system.backup()
    system.move_hub(nowhere)
    assert system.backup() == ("1", KEYS)
    first, *others = system.said
    assert "goes on with what is remembered of the Hub" in first
    assert others == [], "one warning is enough"
    known = system.registry.hub_backup
    assert known is not None
    assert known.updated is not None


def test_a_first_backup_needs_the_hub(system: System, nowhere: str) -> None:
    system.move_hub(nowhere)
    with pytest.raises(HubUnavailableError):
        system.backup()
    assert system.registry.hub_backup is None


def test_a_hub_that_dies_during_the_backup_fails_nothing(system: System) -> None:
    system.backup()
    with hub_backup(system.context, "debian-12"):
        system.api.records.clear()  # whatever is asked about it now is an error
    assert [text for text in system.said if "could not be told that a session was stored" in text]


def test_a_backup_that_fails_is_told_with_its_reason(system: System) -> None:
    with pytest.raises(HubError), hub_backup(system.context, "debian-12"):
        raise HubError("the disk\nis full")
    last = system.api.asked[-1]
    assert (last.path, last.sent) == ("record/1/inprogress/", {"bool": "False", "message": "the disk is full"})
    assert "PUT record/update/" not in system.api.calls()


def test_a_refusal_stops_a_backup_and_is_no_reason_to_use_what_is_remembered(system: System) -> None:
    system.backup()
    system.api.subscribed = False
    with pytest.raises(HubError, match="NotSubscribed") as caught:
        system.backup()
    assert not isinstance(caught.value, HubUnavailableError)
    assert "Subscribe" in caught.value.remedy


def test_fresh_credentials_are_asked_for_and_kept(system: System) -> None:
    with hub_backup(system.context, "debian-12") as storage:
        system.api.credentials = {**KEYS, "accesskey": "FRESH"}
        assert storage.renew()["accesskey"] == "FRESH"
    kept = system.registry.credentials
    assert kept is not None
    assert kept.fields["accesskey"] == "FRESH"


@pytest.mark.parametrize("place", ["file:///etc", "sftp://-oProxyCommand=id", "rsync://"])
def test_an_address_that_would_do_harm_is_used_for_neither_backup_nor_restore(system: System, place: str) -> None:
    system.api.place = place
    for _ in range(2):
        with pytest.raises(HubError, match="Hub"):
            system.backup()
    assert list(system.api.records) == ["1"], "nor is another record made each time"
    with pytest.raises(HubError, match="Hub"):
        find_backup(system.context, "1")


def test_a_moved_address_is_told(system: System) -> None:
    system.backup()
    system.api.records["1"]["address"] = "s3://elsewhere/1"
    system.backup()
    assert system.said == ["the Hub has moved backup #1 from s3://bucket/some/1 to s3://elsewhere/1"]


def change(system: System, key: bytes) -> None:
    change_key(system.context.plugins, system.context.host, system.registry, key, system.said.append)


def test_a_new_key_reaches_the_hub_at_once_or_with_the_next_backup(system: System, nowhere: str) -> None:
    change(system, b"RIRST")
    assert system.api.asked == [], "there is no record yet that it could go to"
    system.backup()
    change(system, b"U0VDT05E")
    assert system.api.records["1"]["key"] == "U0VDT05E"
    system.move_hub(nowhere)
    change(system, b"VEhJUkQ")
    assert "until the next backup" in system.said[-1]
    assert system.registry.key_packet == b"VEhJUkQ\n"
    system.move_hub(system.api.url)
    assert system.api.records["1"]["key"] == "U0VDT05E"
    system.backup()
    assert system.api.records["1"]["key"] == "VEhJUkQ"
    assert not system.registry.key_is_unsent


def test_another_system_s_key_is_not_overwritten_by_a_backup_of_ours(system: System) -> None:
    system.backup()
    system.api.records["1"]["key"] = "T1RIRVI"  # by the other of two systems that share the record
    system.backup()
    assert system.api.records["1"]["key"] == "T1RIRVI"


def test_a_backup_is_found_by_id_or_by_a_label_that_is_the_only_one(system: System, nowhere: str) -> None:
    system.backup()
    assert find_backup(system.context, "1").record.backup_id == "1"
    assert find_backup(system.context, "label 1").record.backup_id == "1"
    for name in ("2", "label", "../1"):
        with pytest.raises(Exception, match="no backup called"):
            find_backup(system.context, name)
    system.move_hub(nowhere)
    assert find_backup(system.context, "1").record.address == "s3://bucket/some/1", "its own is remembered"
    with pytest.raises(HubUnavailableError):
        find_backup(system.context, "2")


def test_which_hub_is_said_by_environment_configuration_or_the_link(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    def located() -> HubLocation:
        return hub_location(system.context.host, system.registry)

    system.registry.write_account(
        Account(subkey=SUBKEY, hub=HubLocation(url="https://linked/", ca_file=Path("/linked.pem")))
    )
    assert located() == HubLocation(url="https://linked/", ca_file=Path("/linked.pem"))
    conf = system.context.host.conf_dir / "conf"
    conf.parent.mkdir(parents=True)
    conf.write_text("hub-url https://configured/\nhub-ca-file /etc/hub.pem\n")
    assert located() == HubLocation(url="https://configured/", ca_file=system.context.host.path("/etc/hub.pem"))
    monkeypatch.setenv("TKLBAM_APIURL", "https://environment/")
    monkeypatch.setenv("TKLBAM_HUB_CA_FILE", "/environment.pem")
    assert located() == HubLocation(url="https://environment/", ca_file=Path("/environment.pem"))


def test_the_link_is_kept_with_its_hub(system: System) -> None:
    account = Account(subkey=SUBKEY, hub=HubLocation(url="https://hub.example.org/"))
    system.registry.write_account(account)
    assert system.registry.account == account
    system.registry.write_account(Account(subkey=SUBKEY))
    assert system.registry.account == Account(subkey=SUBKEY)
    assert not (system.registry.directory / "hub").exists()


def test_a_key_that_the_hub_exchanged_opens_nothing(system: System) -> None:
    system.backup()
    system.api.records["1"]["key"] = OTHER.decode()
    with pytest.raises(HubError, match="not that of this system") as caught:
        find_backup(system.context, "1")
    assert "--address s3://bucket/some/1" in caught.value.remedy
    system.api.records["1"]["key"] = "bm8ga2V5"
    with pytest.raises(HubError, match="the Hub's key"):
        find_backup(system.context, "1")
    assert system.said == []


def test_another_system_s_key_without_a_passphrase_is_warned_of(system: System) -> None:
    system.backup()
    system.api.records["2"] = {**system.api.records["1"], "backup_id": "2", "key": OTHER.decode()}
    find_backup(system.context, "2")
    assert "has no passphrase" in system.said[-1]
    system.said.clear()
    system.api.records["2"]["key"] = packet.seal("another", "pass").decode()
    find_backup(system.context, "2")
    assert system.said == []
