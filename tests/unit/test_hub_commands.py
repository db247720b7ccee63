"""Commands that speak to a Hub: the ways to give an API key, and a list that can't disturb the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub_api import API_KEY, PROFILE, SUBKEY, Api, archive, encoded, served
from tests.unit.command_line import Ran, Tklbam, at_terminal, tklbam  # noqa: F401 - the fixture
from tklbam_core.api import Account, HubLocation
from tklbam_core.keys import packet
from tklbam_core.registry import HubBackup, Registry
from tklbam_profiles_hub.records import HubRecords

# ruff: noqa: F811


@pytest.fixture(scope="module")
def server() -> Iterator[Api]:
    with served(Api()) as api:
        yield api


@pytest.fixture
def api(server: Api, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Api:
    monkeypatch.setenv("TKLBAM_APIURL", server.url)
    monkeypatch.setenv("TKLBAM_ROOT", str(tmp_path))
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('ID=debian\nVERSION_ID="12"\n')
    server.archives = {"debian-12": (1764039600, archive(PROFILE))}
    server.records, server.asked, server.subscribed = {}, [], True
    return server


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "var/lib/tklbam")


def assert_linked(registry: Registry, api: Api, said: str) -> None:
    assert registry.account == Account(subkey=SUBKEY, hub=HubLocation(url=api.url)), said
    assert registry.profile is not None
    assert (registry.profile.profile_id, registry.profile.source) == ("debian-12", "the Hub")
    assert registry.secret is not None
    assert API_KEY not in said
    assert SUBKEY not in said
    for path in registry.directory.rglob("*"):
        assert path.is_dir() or API_KEY.encode() not in path.read_bytes()


def test_an_api_key_comes_as_an_argument_a_file_or_a_line(
    tklbam: Tklbam, api: Api, registry: Registry, tmp_path: Path
) -> None:
    def linked(*words: str, stdin: str = "") -> None:
        done: Ran = tklbam("init", "--force", *words, stdin=stdin)
        assert done.status == 0, done.err
        assert_linked(registry, api, done.out + done.err)
        (registry.directory / "sub_apikey").unlink()

    (tmp_path / "api-key").write_text(f"{API_KEY.lower()}\nmore\n")
    linked(API_KEY)
    linked("--api-key-file", str(tmp_path / "api-key"))
    linked("--api-key-file", "-", stdin=f" {API_KEY}\n")


def test_an_api_key_is_asked_for_at_a_terminal_and_never_shown(api: Api, registry: Registry) -> None:
    status, screen = at_terminal(["init"], [API_KEY])
    assert status == 0, screen
    assert "API key of your Hub account" in screen
    assert_linked(registry, api, screen)


def test_status_says_that_the_hub_knows_where_backups_go(tklbam: Tklbam, api: Api) -> None:
    tklbam("init", API_KEY)
    assert tklbam("status").out.rstrip().splitlines()[3] == "    tklbam backup"


def test_nothing_typed_is_no_api_key(api: Api, registry: Registry) -> None:
    status, screen = at_terminal(["init"], [""])
    assert status == 2
    assert "tklbam init --solo" in screen
    assert api.asked == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--api-key-file", "/nowhere"], "can't be read"),
        (["--api-key-file", "-"], "no API key in -"),
        (["--api-key-file", "-", API_KEY], "Give one of the two"),
        (["MISTYPED1"], "not an API key"),
        ([encoded(9, b"12345678")], "InvalidApiKey"),
    ],
)
def test_a_key_that_can_t_be_used_changes_nothing(
    tklbam: Tklbam, api: Api, registry: Registry, words: list[str], says: str
) -> None:
    done = tklbam("init", *words)
    assert done.status in (1, 2)
    assert says in done.err
    assert done.err.count("error: ") == 1
    assert not (set(words) & {"MISTYPED1", API_KEY, encoded(9, b"12345678")} & set(done.err.split()))
    assert (registry.account, registry.secret) == (None, None)


def test_an_account_without_backups_says_where_to_get_them(tklbam: Tklbam, api: Api, registry: Registry) -> None:
    api.subscribed = False
    done = tklbam("init", API_KEY)
    assert done.status == 1
    assert f"Subscribe to backups at {api.url.removesuffix('api/backup/')}" in done.err
    assert registry.secret is None
    api.subscribed = True
    assert tklbam("init").status == 0, "the link stands; the rest is made up for"
    assert_linked(registry, api, "")


@pytest.mark.parametrize("words", [["init", API_KEY, "--force"], ["list"], ["internal", "stsagent"]])
def test_a_hub_that_is_down_is_told_in_two_lines(
    tklbam: Tklbam, api: Api, registry: Registry, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    registry.write_account(Account(subkey=SUBKEY))
    monkeypatch.setenv("TKLBAM_APIURL", "http://127.0.0.1:9/")
    done = tklbam(*words)
    assert done.status == 1
    assert "can't be reached" in done.err
    assert len(done.err.splitlines()) == 2


def test_a_list_can_t_disturb_the_terminal(tklbam: Tklbam, api: Api, registry: Registry) -> None:
    registry.write_account(Account(subkey=SUBKEY))
    api.records["7"] = {
        "backup_id": "7",
        "address": "s3://b/7",
        "key": "nonsense",
        "turnkey_version": "\x1b[2Jx",
        "description": "\x1b]0;owned\x07web\r\n\u202eserver",
        "size": 3 << 20,
        "date_created": "2026-11-25 03:00:00",
    }
    for words in (["list"], ["list", "%label|%profile_id|%server_id|%size"], ["list", "--json"]):
        done = tklbam(*words)
        assert done.status == 0, done.err
        assert "web" in done.out
        assert all(line.isprintable() for line in done.out.split("\n"))
    assert tklbam("list", "%id %size %created").out == "7 3.00 2026-11-25\n"


def test_the_hub_is_a_place_for_the_key(tklbam: Tklbam, api: Api, registry: Registry, tmp_path: Path) -> None:
    tklbam("init", API_KEY)
    assert "no backup on the Hub yet" in tklbam("escrow", "hub:", "-P").err
    account = registry.account
    assert account is not None
    HubRecords().tklbam_records_create(account, "debian-12", "KEY", "")
    registry.write_hub_backup(HubBackup(backup_id="1", address="s3://b/1"))
    assert "--force" in tklbam("escrow", "hub:", "-P").err
    assert api.records["1"]["key"] == "KEY"
    done = tklbam("escrow", "hub:", "--force", stdin="escrowed\n")
    assert done.status == 0, done.err
    assert "the Hub, with backup #1" in done.err
    key = api.records["1"]["key"].encode()
    assert packet.open_packet(key, "escrowed") == registry.secret
