"""The API as classic clients know it: calls, fields, names of errors; and what ours add."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.hub_client import KEY_PACKET, HubClient
from tests.hub_server import HubServer

CLASSIC = {
    *("key", "address", "backup_id", "server_id", "turnkey_version", "date_created", "date_updated", "size"),
    "description",
}
MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


def unpacked(key: str) -> bytes:
    return base64.b32decode(key.rjust(20, "A") + "====")


def test_a_subkey_is_what_the_format_says(client: HubClient) -> None:
    account, secret = unpacked(client.api_key)[:4], unpacked(client.api_key)[4:]
    assert int.from_bytes(account, "big") == client.account.id
    assert unpacked(client.subkey) == account + hashlib.sha1(b"tklbam" + secret).digest()[:8]
    assert not client.subkey.startswith("A")


def test_the_course_of_a_classic_backup(client: HubClient, hub: HubServer) -> None:
    assert client.get("credentials/").json == {"type": "iamuser", "accesskey": "", "secretkey": "", "sessiontoken": ""}
    made = client.post("record/create/", key=KEY_PACKET, turnkey_version="turnkey-core-18.0-bookworm-amd64").json
    assert made.keys() >= CLASSIC
    assert (made["backup_id"], made["size"], made["date_updated"]) == ("1", 0, "")
    assert made["address"].startswith(f"file://{hub.storage}/{client.account.id}-1-")
    created = datetime.strptime(made["date_created"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    assert abs(datetime.now(UTC) - created) < timedelta(minutes=1)

    assert client.put("record/1/inprogress/", bool=True).json["in_progress"] is True
    stored = client.put("record/update/", address=made["address"]).json
    assert MOMENT.fullmatch(stored["date_updated"])
    assert client.put("record/1/inprogress/", bool=False).json["in_progress"] is False

    changed = client.put("record/1/", key="another packet").json
    assert changed["key"] == "another packet"
    (listed,) = client.get("records/").json
    assert listed == client.get("record/1/").json == changed
    assert [session.outcome for session in client.account.backups.get().sessions.all()] == ["complete"]


def test_our_clients_say_how_it_went(client: HubClient) -> None:
    address = client.create(server_id="web1")["address"]
    client.put("record/1/inprogress/", bool="true")
    client.put("record/update/", address=address, kind="full", size=5_000_000_000, added=5_000_000_000)
    client.put("record/1/inprogress/", bool="false")
    client.put("record/1/inprogress/", bool="true")
    answer = client.put(
        *("record/update/",),
        address=address,
        kind="incremental",
        size=5_000_001_000,
        added=1000,
        outcome="incomplete",
        message="/etc/shadow: unreadable",
        verified="yes",
    ).json
    assert (answer["size"], answer["outcome"], answer["verified"]) == (5_000_001_000, "incomplete", "good")
    backup = client.account.backups.get()
    assert (backup.chain_increments, backup.label) == (1, "web1")
    second, first = backup.sessions.all()
    assert backup.chain_began_at == first.started_at
    assert (second.kind, second.added, second.total, second.outcome) == (
        "incremental",
        1000,
        5_000_001_000,
        "incomplete",
    )
    assert second.message == "/etc/shadow: unreadable"
    assert client.put("record/1/verified/", bool="no").json["verified"] == "bad"


def test_asking_twice_for_one_record_makes_one(client: HubClient) -> None:
    first = client.create(key="a packet", server_id="web1")
    assert client.create(key="a packet", server_id="web1") == first
    assert client.create(key="a packet", server_id="web2")["backup_id"] == "2"
    client.put("record/1/inprogress/", bool=True)
    assert client.create(key="a packet", server_id="web1")["backup_id"] == "3", "the first is in use"


def test_a_run_that_stored_nothing_has_failed(client: HubClient) -> None:
    client.create()
    client.put("record/1/inprogress/", bool=True)
    client.put("record/1/inprogress/", bool=True)  # the first was killed
    ended = client.put("record/1/inprogress/", bool=False, message="the target is full").json
    assert (ended["outcome"], ended["date_updated"]) == ("failed", "")
    second, first = client.account.backups.get().sessions.all()
    assert (first.outcome, first.message) == ("failed", "it was never heard of again")
    assert (second.outcome, second.message) == ("failed", "the target is full")


def test_profiles_are_served_by_id_newest_first(make_client: Callable[..., HubClient], archive: bytes) -> None:
    from tklbam_hub.audit.log import OPERATOR
    from tklbam_hub.profiles import archives

    client, other = make_client(), make_client()
    mine = f"custom-{client.account.id}"
    assert client.get("archive/", turnkey_version=mine).error == (404, "BackupArchive.NotFound")
    archives.add(mine, archive, OPERATOR)
    early = client.get("archive/timestamp/", turnkey_version=mine).json["archive_timestamp"]
    own = archives.add(mine, archive, OPERATOR, account=client.account, signature="made elsewhere")
    second = archives.add(mine, archive, OPERATOR, account=client.account)
    served = client.get("archive/", turnkey_version=mine).json
    assert base64.urlsafe_b64decode(served["archive_content"]) == archive
    assert served["archive_version"] == 2
    assert served["archive_timestamp"] == int(second.timestamp.timestamp()) > int(own.timestamp.timestamp()) >= early
    archives.withdraw(second, OPERATOR)
    assert client.get("archive/", turnkey_version=mine).json["archive_signature"] == "made elsewhere"
    # The account's own is nobody else's.
    assert other.get("archive/timestamp/", turnkey_version=mine).json["archive_timestamp"] == early


def test_errors_have_the_names_that_clients_know(hub: HubServer, make_client: Callable[..., HubClient]) -> None:
    client = make_client()
    address = client.create()["address"]
    nobody = HubClient(hub.api_url)
    assert nobody.get("records/").error == (400, "Request.MissingHeader")
    assert nobody.get("subkey/").error == (400, "Request.MissingArgument")
    for wrong in ("not a key!", "A", "KB2XYZ", "9" * 500, client.subkey):
        assert nobody.get("subkey/", apikey=wrong).error == (400, "HubAccount.InvalidApiKey"), wrong
    assert HubClient(hub.api_url, subkey="1").get("records/").error == (401, "BackupAccount.MalformedSubKey")
    assert HubClient(hub.api_url, subkey="K" * 14).get("records/").error == (400, "BackupAccount.InvalidSubKey")
    assert HubClient(hub.api_url, subkey=client.api_key).get("records/").error == (400, "BackupAccount.InvalidSubKey")
    for fields in ({"key": "k"}, {"turnkey_version": "x"}, {}):
        assert client.post("record/create/", **fields).error == (400, "Request.MissingArgument")
    assert client.put("record/1/").error == (400, "Request.MissingArgument")
    assert client.put("record/1/inprogress/").error == (400, "Request.MissingArgument")
    assert client.put("record/1/inprogress/", bool="perhaps").error == (400, "Request.BadArgument")
    assert client.put("record/update/", address=address, size="-1").error == (400, "Request.BadArgument")
    assert client.put("record/update/", address=address, size="9" * 19).error == (400, "Request.BadArgument")
    for number in ("2", "0", "x", "9" * 60, "-1", "%00", "1%20or%201=1"):
        assert client.get(f"record/{number}/").error == (404, "BackupRecord.NotFound"), number
    assert client.put("record/update/", address="file:///elsewhere").error == (404, "BackupRecord.NotFound")
    assert client.get("archive/timestamp/", turnkey_version="x").error == (404, "BackupArchive.NotFound")
    assert client.get("no/such/call/").error == (404, "Request.NotFound")
    refused = client.call("DELETE", "record/1/")
    assert refused.error == (405, "Request.MethodNotAllowed")
    assert refused.headers["Allow"] == "GET, PUT"


def test_accounts_without_subscription_read_and_restore_and_back_up_nothing(client: HubClient) -> None:
    client.create()
    type(client.account).objects.filter(pk=client.account.pk).update(subscribed=False)
    assert client.get("records/").json[0]["key"] == KEY_PACKET
    assert client.get("credentials/").json["type"] == "iamuser"
    assert client.post("record/create/", key="k", turnkey_version="x").error == (401, "BackupAccount.NotSubscribed")
    assert client.put("record/1/inprogress/", bool=True).error == (401, "BackupAccount.NotSubscribed")


def test_an_account_without_subscription_or_backups_learns_it_when_linking(
    make_client: Callable[..., HubClient],
) -> None:
    assert make_client(subscribed=False).get("credentials/").error == (401, "BackupAccount.NotSubscribed")


def test_quotas_hold(make_client: Callable[..., HubClient]) -> None:
    few = make_client(max_backups=1)
    few.create()
    assert few.post("record/create/", key="k", turnkey_version="x").error == (401, "BackupRecord.LimitExceeded")
    small = make_client(max_bytes=1000)
    address = small.create()["address"]
    small.put("record/update/", address=address, size=999)
    small.create()
    small.put("record/update/", address=address, size=1000)
    assert small.post("record/create/", key="k", turnkey_version="x").error == (401, "BackupRecord.LimitExceeded")
    assert small.put("record/1/inprogress/", bool=True).error == (401, "BackupRecord.LimitExceeded")


@pytest.mark.parametrize("path", ["records", "record/1", "archive/timestamp?turnkey_version=x"])
def test_the_slash_at_the_end_may_be_left_out(client: HubClient, path: str) -> None:
    client.create()
    assert client.get(path).status == (404 if path.startswith("archive") else 200)
