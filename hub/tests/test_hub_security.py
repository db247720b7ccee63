"""Nobody gets what is another's, by guessing, injecting, pretending or stealing the database."""

from __future__ import annotations

import base64
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest

from tests.hub_client import KEY_PACKET, HubClient
from tests.hub_server import HubServer, hub_server

HOSTILE = (
    "'; DROP TABLE records_backuprecord; --",
    "<script>alert(1)</script>\"'>",
    "{{ 7*7 }}${7*7}",
    "%s%n\\",
    "☃ ü",
)


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """A Hub as the world sees it, behind a proxy that speaks TLS, where five wrong keys are enough."""
    with hub_server(
        tmp_path_factory.mktemp("proxied"),
        TKLBAM_HUB_URL="https://hub.example.org",
        TKLBAM_HUB_TRUSTED_PROXIES="127.0.0.1",
        TKLBAM_HUB_KEY_FAILURES="5",
    ) as server:
        yield server


def from_address(client: HubClient, forwarded: str, path: str = "records/") -> int:
    headers = {"X-Forwarded-For": forwarded, "X-Forwarded-Proto": "https"}
    return client.call("GET", path, headers=headers).status


def test_another_accounts_things_are_out_of_reach(make_client: Callable[..., HubClient], archive: bytes) -> None:
    from tklbam_hub.audit.log import OPERATOR
    from tklbam_hub.profiles import archives

    victim, thief = make_client(), make_client()
    theirs = [victim.create(server_id=f"s{number}") for number in range(3)]
    own = thief.create()
    archives.add("private", archive, OPERATOR, account=victim.account)
    # Numbers count within the account: there is nothing to guess at.
    assert own["backup_id"] == theirs[0]["backup_id"] == "1"
    pks = [str(pk) for pk in victim.account.backups.values_list("pk", flat=True)]
    for number in ["2", "3", *(pk for pk in pks if pk != "1")]:
        assert thief.get(f"record/{number}/").error == (404, "BackupRecord.NotFound")
        assert thief.put(f"record/{number}/", key="mine now").error == (404, "BackupRecord.NotFound")
        assert thief.put(f"record/{number}/inprogress/", bool=True).error == (404, "BackupRecord.NotFound")
        assert thief.put(f"record/{number}/verified/", bool=True).error == (404, "BackupRecord.NotFound")
        assert thief.get("credentials/", backup_id=number).error == (404, "BackupRecord.NotFound")
    for record in theirs:
        assert thief.put("record/update/", address=record["address"], size=0).error == (404, "BackupRecord.NotFound")
    assert thief.get("archive/", turnkey_version="private").error == (404, "BackupArchive.NotFound")
    assert thief.get("records/").json == [own]
    assert victim.get("records/").json == theirs


def test_a_key_of_its_own_backups_sees_no_others(make_client: Callable[..., HubClient]) -> None:
    owner = make_client()
    server = make_client(owner.account, own_records_only=True)
    first, second = owner.create(), server.create()
    assert server.get("records/").json == [second]
    assert server.get("record/1/").error == (404, "BackupRecord.NotFound")
    assert server.get("credentials/", backup_id=1).error == (404, "BackupRecord.NotFound")
    assert server.put("record/update/", address=first["address"]).error == (404, "BackupRecord.NotFound")
    assert owner.get("records/").json == [first, second]


def test_revoked_keys_open_nothing(make_client: Callable[..., HubClient]) -> None:
    from tklbam_hub.accounts import keys
    from tklbam_hub.audit.log import OPERATOR

    cut, gone, closed = make_client(), make_client(), make_client()
    spared = make_client(gone.account)
    keys.revoke(cut.key, OPERATOR, subkey_only=True)
    keys.revoke(gone.key, OPERATOR)
    type(closed.account).objects.filter(pk=closed.account.pk).update(is_active=False)
    for client in (cut, gone):
        assert client.get("records/").error == (400, "BackupAccount.InvalidSubKey")
    assert closed.get("records/").error == (401, "HubAccount.Forbidden")
    assert cut.get("subkey/", apikey=cut.api_key).error == (401, "HubAccount.Forbidden")
    assert gone.get("subkey/", apikey=gone.api_key).error == (400, "HubAccount.InvalidApiKey")
    assert closed.get("subkey/", apikey=closed.api_key).error == (401, "HubAccount.Forbidden")
    assert spared.get("records/").json == []


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_kept_as_text(client: HubClient, text: str) -> None:
    made = client.post("record/create/", key=text, turnkey_version="debian-12", server_id=text).json
    assert (made["key"], made["server_id"], made["description"]) == (text, text, text)
    assert client.get("records/").json == [made]
    assert client.get("archive/", turnkey_version=text).error == (404, "BackupArchive.NotFound")
    assert client.put("record/update/", address=text).error == (404, "BackupRecord.NotFound")


def test_what_no_text_of_ours_holds_is_refused(client: HubClient) -> None:
    assert client.post("record/create/", key="k\0", turnkey_version="x").error == (400, "Request.BadArgument")
    # A line's end in a label would be one in a mail's subject, too.
    for bad in ("a\nb", "a\rBcc: x", "\x1b[2J", "a\u202eb"):
        answer = client.post("record/create/", key="k", turnkey_version="x", server_id=bad)
        assert answer.error == (400, "Request.BadArgument"), repr(bad)
    assert client.post("record/create/", key="k" * 16385, turnkey_version="x").error == (400, "Request.BadArgument")


def test_large_bodies_are_refused(client: HubClient) -> None:
    large = client.call("POST", "record/create/", body=b"turnkey_version=x&key=" + b"k" * 300_000)
    assert large.error == (413, "Request.TooLarge")
    many = client.call("POST", "record/create/", body=b"&".join(b"f%d=1" % number for number in range(200)))
    assert many.error == (413, "Request.TooLarge")
    assert client.get("records/").json == []


def test_a_stolen_database_holds_no_key(make_client: Callable[..., HubClient], hub: HubServer) -> None:
    from tklbam_hub.storage.models import Storage

    client = make_client()
    client.create()
    Storage.objects.create(name="cloud", address="s3://bucket", account=client.account, secret_key="cloud-secret-9Qx")
    stolen = b"".join(path.read_bytes() for path in (hub.directory / "state").glob("hub.sqlite3*"))
    assert KEY_PACKET.encode() in stolen, "the record must be in what was stolen"
    for text in (client.api_key, client.subkey):
        secret = base64.b32decode(text.rjust(20, "A") + "====")[4:]
        for form in (text.encode(), secret, secret.hex().encode(), base64.b64encode(secret).rstrip(b"=")):
            assert form not in stolen
    assert b"cloud-secret-9Qx" not in stolen
    assert Storage.objects.get(account=client.account).secret_key == "cloud-secret-9Qx"


def test_the_state_is_its_owners_alone(hub: HubServer) -> None:
    state = hub.directory / "state"
    assert state.stat().st_mode & 0o077 == 0
    for name in ("secret-key", "master-key"):
        assert (state / name).stat().st_mode & 0o077 == 0
        assert len((state / name).read_text()) > 60


def test_guessing_keys_is_stopped_by_address_and_nobody_else(proxied: HubServer) -> None:
    client = HubClient(proxied.api_url, proxied.api_key)
    client.subkey = client.call(
        "GET", "subkey/", {"apikey": client.api_key}, {"X-Forwarded-Proto": "https", "X-Forwarded-For": "198.51.100.7"}
    ).json["subkey"]
    guesser = HubClient(proxied.api_url, subkey="KKKKKKKKKKKKKK")
    assert [from_address(guesser, "203.0.113.5") for _ in range(6)] == [400, 400, 400, 400, 400, 429]
    # Now not even the right one is looked at, whatever the guesser claims to forward for.
    assert from_address(client, "203.0.113.5") == 429
    assert from_address(client, "198.51.100.7, 203.0.113.5") == 429
    assert from_address(client, "198.51.100.7") == 200
    assert from_address(client, "203.0.113.5, 198.51.100.7") == 200


def test_behind_a_proxy_only_tls_will_do(proxied: HubServer) -> None:
    request = urllib.request.Request(proxied.url + "/sign-in", headers={"Host": "hub.example.org"})
    opener = urllib.request.build_opener(_NoRedirects)
    with pytest.raises(urllib.error.HTTPError) as caught:
        opener.open(request)
    assert (caught.value.code, caught.value.headers["Location"]) == (301, "https://hub.example.org/sign-in")
    request.add_header("X-Forwarded-Proto", "https")
    with opener.open(request) as answer:
        assert "max-age=31536000" in answer.headers["Strict-Transport-Security"]
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        (cookie,) = [value for name, value in answer.headers.items() if name == "Set-Cookie" and "csrf" in value]
    assert re.search(r"^__Host-csrf=.*HttpOnly.*; Secure", cookie)
    done = proxied.command("manage", "check", "--deploy", "--fail-level", "WARNING")
    assert "no issues" in done


def test_forwarding_headers_of_strangers_are_not_believed(make_client: Callable[..., HubClient]) -> None:
    client = make_client()
    client.call("GET", "records/", headers={"X-Forwarded-For": "203.0.113.9"})
    client.key.refresh_from_db()
    assert client.key.last_used_from == "127.0.0.1"


def test_the_console_wants_its_token_and_the_api_none(hub: HubServer, client: HubClient) -> None:
    request = urllib.request.Request(f"{hub.url}/sign-in", data=b"username=anna&password=x", method="POST")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert caught.value.code == 403
    client.create()
    elsewhere = {"Origin": "https://evil.example", "Referer": "https://evil.example/"}
    # A browser can't be made to send the header, so there is nothing to forge.
    assert client.call("PUT", "record/1/", {"key": "k"}, elsewhere).status == 200
    # And what a browser has, a session's cookie, means nothing to the API.
    nobody = HubClient(hub.api_url)
    assert nobody.call("GET", "records/", headers={"Cookie": "sessionid=x"}).error == (400, "Request.MissingHeader")


@pytest.mark.parametrize("name", ["SCRIPT_NAME", "PATH_INFO", "Script-Name", "REMOTE_ADDR", "X_FORWARDED_FOR"])
def test_no_header_takes_the_place_of_what_the_server_knows(hub: HubServer, client: HubClient, name: str) -> None:
    request = urllib.request.Request(f"{hub.url}/sign-in", headers={name: "/elsewhere"})
    with urllib.request.urlopen(request) as answer:
        assert b"elsewhere" not in answer.read()
    client.call("GET", "records/", headers={name: "203.0.113.9"})
    client.key.refresh_from_db()
    assert client.key.last_used_from == "127.0.0.1"


def test_other_hosts_names_are_refused(hub: HubServer) -> None:
    request = urllib.request.Request(f"{hub.url}/sign-in", headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert caught.value.code == 400


def test_the_audit_log_says_who_did_what(client: HubClient) -> None:
    client.create()
    client.put("record/1/", key="another")
    client.get("credentials/", backup_id=1)
    entries = list(client.account.audit_entries.order_by("pk").values_list("action", "actor", "subject", "address"))
    who = f"key {client.key.pk} (a server)"
    assert entries == [
        ("key.create", "operator", f"key {client.key.pk}", None),
        ("key.link", who, f"key {client.key.pk}", "127.0.0.1"),
        ("backup.create", who, "backup 1", "127.0.0.1"),
        ("backup.key", who, "backup 1", "127.0.0.1"),
        ("credentials.issue", who, "backup 1", "127.0.0.1"),
    ]


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: object) -> None:
        return None
