"""The calls, to the letter of the API: method, path, where the fields travel, what comes back, what refusals mean."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.hub_api import API_KEY, MOMENT, SUBKEY, Api, Asked, encoded, served
from tklbam_core.api import (
    Account,
    BackupRecord,
    Credentials,
    EscrowRequest,
    HubError,
    HubLocation,
    HubSession,
    HubUnavailableError,
    NotInitializedError,
    UsageError,
)
from tklbam_profiles_hub.client import DEFAULT_URL, base_url
from tklbam_profiles_hub.escrow import HubEscrow
from tklbam_profiles_hub.records import HubRecords

CREATED = datetime(2026, 11, 25, 3, tzinfo=UTC)
SESSION = HubSession(kind="full", outcome="complete", size=12, added=7, verified=True)
TOLD = {"kind": "full", "outcome": "complete", "size": "12", "added": "7", "verified": "True"}
hub = HubRecords()


@pytest.fixture(scope="module")
def server() -> Iterator[Api]:
    with served(Api()) as api:
        yield api


@pytest.fixture
def api(server: Api) -> Api:
    server.records, server.credentials, server.asked, server.subscribed = {}, {}, [], True
    return server


@pytest.fixture
def account(api: Api) -> Account:
    return Account(subkey=SUBKEY, hub=HubLocation(url=api.url))


def test_linking_sends_the_key_alone_and_gets_the_subkey(api: Api) -> None:
    assert hub.tklbam_records_link(API_KEY.lower(), HubLocation(url=api.url)).subkey == SUBKEY
    assert api.asked == [Asked("GET", "subkey/", {"apikey": API_KEY}, None)]


def test_a_key_that_is_none_never_leaves_the_machine(api: Api) -> None:
    with pytest.raises(UsageError):
        hub.tklbam_records_link("MISTYPED", HubLocation(url=api.url))
    assert api.asked == []


def test_a_record_is_made_found_listed_and_told_of(api: Api, account: Account) -> None:
    made = hub.tklbam_records_create(account, "debian-12", "KEY+/=", "")
    assert made == BackupRecord(
        backup_id="1",
        address="file:///nowhere/1",
        key="KEY+/=",
        profile_id="debian-12",
        created=CREATED,
        updated=None,
        label="label 1",
    )
    hub.tklbam_records_create(account, "debian-12", "KEY", "server7")
    hub.tklbam_records_mark(account, "1", True, "")
    assert hub.tklbam_records_update(account, "1", "file:///nowhere/1", None, SESSION) is True
    hub.tklbam_records_mark(account, "1", False, "no room")
    changed = hub.tklbam_records_update(account, "1", "file:///nowhere/1", "NEWKEY", None)
    found = hub.tklbam_records_find(account, "1")
    assert found == changed
    assert found is not None
    assert (found.key, found.updated) == ("NEWKEY", CREATED)
    assert [record.backup_id for record in hub.tklbam_records_list(account)] == ["1", "2"]
    assert api.asked == [
        Asked("POST", "record/create/", {"key": "KEY+/=", "turnkey_version": "debian-12"}, SUBKEY),
        Asked("POST", "record/create/", {"key": "KEY", "turnkey_version": "debian-12", "server_id": "server7"}, SUBKEY),
        Asked("PUT", "record/1/inprogress/", {"bool": "True"}, SUBKEY),
        Asked("PUT", "record/update/", {"address": "file:///nowhere/1", **TOLD}, SUBKEY),
        Asked("PUT", "record/1/inprogress/", {"bool": "False", "message": "no room"}, SUBKEY),
        Asked("PUT", "record/1/", {"key": "NEWKEY"}, SUBKEY),
        Asked("GET", "record/1/", {}, SUBKEY),
        Asked("GET", "records/", {}, SUBKEY),
    ]


def test_the_classic_hub_gets_the_classic_api_alone(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tklbam_profiles_hub.client.DEFAULT_URL", api.url)
    account = Account(subkey=SUBKEY)
    hub.tklbam_records_create(account, "debian-12", "KEY", "")
    hub.tklbam_records_credentials(account, "1")
    hub.tklbam_records_mark(account, "1", False, "no room")
    hub.tklbam_records_update(account, "1", "file:///nowhere/1", None, SESSION)
    sent = [asked.sent for asked in api.asked[1:]]
    assert sent == [{}, {"bool": "False"}, {"address": "file:///nowhere/1"}]


def test_a_record_that_is_gone_is_no_error(account: Account) -> None:
    assert hub.tklbam_records_find(account, "99") is None
    assert hub.tklbam_records_update(account, "99", "file:///x", "KEY", None) is None


def test_a_label_is_never_part_of_a_path(api: Api, account: Account) -> None:
    for name in ("../credentials", "web server", "1/inprogress", "", "²", "%2e%2e"):
        assert hub.tklbam_records_find(account, name) is None
    assert {asked.path for asked in api.asked} == {"records/"}


@pytest.mark.parametrize(
    ("answer", "kind", "fields"),
    [
        (
            {"type": "iamrole", "accesskey": "A", "secretkey": "B", "sessiontoken": "C", "expiration": MOMENT},
            "iamrole",
            {"accesskey": "A", "secretkey": "B", "sessiontoken": "C", "expiration": MOMENT},
        ),
        ({"type": "sftp", "user": "backup", "port": 22, "password": None}, "sftp", {"user": "backup", "port": "22"}),
        ({"accesskey": "A"}, "", {"accesskey": "A"}),
        ({}, "", {}),
        ({"type": "iamuser", "accesskey": "", "secretkey": "", "sessiontoken": ""}, "", {}),
    ],
)
def test_credentials_of_any_type_are_passed_on(
    api: Api, account: Account, answer: dict[str, object], kind: str, fields: dict[str, str]
) -> None:
    api.credentials = answer
    assert hub.tklbam_records_credentials(account, "1") == Credentials(kind=kind, fields=fields)
    assert api.asked == [Asked("GET", "credentials/", {"backup_id": "1"}, SUBKEY)]


def test_a_refusal_says_what_to_do_and_where(api: Api, account: Account) -> None:
    api.subscribed = False
    with pytest.raises(HubError) as caught:
        hub.tklbam_records_credentials(account, "1")
    assert not isinstance(caught.value, HubUnavailableError)
    assert caught.value.name == "BackupAccount.NotSubscribed"
    assert caught.value.what == "the Hub refuses: this account has no backups (BackupAccount.NotSubscribed)"
    assert f"Subscribe to backups at {api.url.removesuffix('api/backup/')} " in caught.value.remedy
    with pytest.raises(HubError, match="InvalidApiKey"):
        hub.tklbam_records_link(encoded(8, b"12345678"), HubLocation(url=api.url))


def test_a_damaged_subkey_is_not_sent(api: Api) -> None:
    with pytest.raises(HubError, match="sub_apikey"):
        hub.tklbam_records_list(Account(subkey="SUB\r\nX: y", hub=HubLocation(url=api.url)))
    assert api.asked == []


def test_the_hub_keeps_a_key_for_its_own_system_alone(api: Api, account: Account) -> None:
    escrow = HubEscrow()
    hub.tklbam_records_create(account, "debian-12", "KEY", "")
    own = EscrowRequest(place="hub:", account=account, backup_id="1")
    assert escrow.tklbam_escrow_fetch(own) == b"KEY"
    assert escrow.tklbam_escrow_fetch(EscrowRequest(place="hub:1", account=account)) == b"KEY"
    assert escrow.tklbam_escrow_fetch(EscrowRequest(place="hub:9", account=account)) is None
    assert escrow.tklbam_escrow_fetch(EscrowRequest(place="/a/file", account=account)) is None
    with pytest.raises(UsageError, match="already"):
        escrow.tklbam_escrow_store(own, b"OTHER")
    with pytest.raises(UsageError, match="not this system's"):
        escrow.tklbam_escrow_store(EscrowRequest(place="hub:2", account=account, backup_id="1", overwrite=True), b"X")
    with pytest.raises(NotInitializedError):
        escrow.tklbam_escrow_fetch(EscrowRequest(place="hub:1"))
    store = EscrowRequest(place="hub:", account=account, backup_id="1", overwrite=True)
    assert escrow.tklbam_escrow_store(store, b"OTHER\n") == "the Hub, with backup #1"
    assert api.records["1"]["key"] == "OTHER"


def test_the_base_is_a_url_that_keeps_secrets() -> None:
    assert base_url("") == DEFAULT_URL
    assert base_url("https://hub.example.org") == "https://hub.example.org/api/backup/"
    assert base_url("https://hub.example.org/x/api/backup") == "https://hub.example.org/x/api/backup/"
    assert base_url("http://localhost:8000/api/backup/") == "http://localhost:8000/api/backup/"
    for bad in (
        "http://hub.example.org/",
        "file:///etc/passwd",
        "https://user:secret@hub.example.org/",
        "https://hub.example.org/?a=b",
        "https://hub.example.org:99999/",
        "https:///x",
        "http://127.0.0.1.example.org/",
        "hub.example.org",
        "https://[::1/",
    ):
        with pytest.raises(HubUnavailableError, match="https://"):
            base_url(bad)


def test_nothing_that_speaks_http_is_imported_before_a_call() -> None:
    program = (
        "import sys; import tklbam_profiles_hub.records, tklbam_profiles_hub.profiles, tklbam_profiles_hub.escrow; "
        "print({'httpx', 'pydantic', 'ssl'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=Path("/"))
    assert ran.stdout == "set()\n"
