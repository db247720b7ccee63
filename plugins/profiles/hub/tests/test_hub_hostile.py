"""A Hub that is slow, broken or malicious costs a client a bounded wait and an error of two lines, nothing more."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.hub_api import API_KEY, MOMENT, SUBKEY, Hostile, Script, hostile, response
from tests.ports import free_port
from tklbam_core.api import BackupRecord, HubError, HubLocation, HubUnavailableError
from tklbam_profiles_hub.client import HubClient
from tklbam_profiles_hub.connection import Patience

QUICK = Patience(connect=1.0, read=0.6, total=1.5, attempts=3, pause=0.02)
"""For servers that never come to an end."""
CALM = Patience(connect=10.0, read=10.0, total=20.0, attempts=3, pause=0.02)
JSON = {"Content_Type": "application/json"}
RECORD: dict[str, Any] = {
    "backup_id": "1",
    "address": "s3://bucket/1",
    "key": "S0VZ",
    "turnkey_version": "debian-12",
    "server_id": None,
    "date_created": MOMENT,
    "date_updated": None,
    "size": 7,
    "description": "web",
}


def client(server: Hostile, patience: Patience = CALM) -> HubClient:
    return HubClient(HubLocation(url=server.url), SUBKEY, patience)


def failure(
    script: Script, call: Callable[[HubClient], object] = HubClient.records, patience: Patience = CALM
) -> HubError:
    """The error that a server's answer to a call ends in; in bounded time, in plain words, with no key in it."""
    with hostile(script) as server:
        began = time.monotonic()
        with pytest.raises(HubError) as caught:
            call(client(server, patience))
        assert time.monotonic() - began < patience.total + 10, "it waits without end"
    said = f"{caught.value.what}\n{caught.value.remedy}"
    assert said.count("\n") == 1
    assert all(line.isprintable() for line in said.split("\n"))
    assert SUBKEY not in said
    assert API_KEY not in said
    assert len(said) < 900
    return caught.value


def answering(answer: object) -> Script:
    return response(json.dumps(answer).encode(), **JSON)


# --- nonsense --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Log in to the hotel's network</html>",
        b"{",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"[" + b"[]," * 1_000_000 + b"[]]",
        b"1" * 100_000,
        b"null",
        b'"text"',
        b'{"records": []}',
        b"[null]",
        b"[[]]",
        b"",
    ],
    ids=[
        "html",
        "cut",
        "binary",
        "nested",
        "many-lists",
        "huge-number",
        "null",
        "text",
        "object",
        "null-in",
        "list-in",
        "empty",
    ],
)
def test_an_answer_that_is_no_list_of_records(body: bytes) -> None:
    assert isinstance(failure(response(body)), HubUnavailableError)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("backup_id", None),
        ("backup_id", True),
        ("backup_id", "../../etc"),
        ("backup_id", "1\n2"),
        ("backup_id", {"a": 1}),
        ("address", None),
        ("address", 7),
        ("address", ""),
        ("address", "s3://x\n/etc/passwd"),
        ("address", "s3://x/\x1b[2J"),
        ("address", "s3://" + "x" * 100_000),
        ("key", ["S0VZ"]),
        ("key", "ключ"),
        ("key", "S0VZ" * 100_000),
        ("size", "much"),
        ("size", -1),
        ("size", 10**30),
        ("size", [1]),
        ("date_created", "yesterday"),
        ("date_created", 10**20),
        ("date_updated", {"year": 1}),
        ("turnkey_version", []),
        ("description", {"html": "<b>"}),
        ("description", "x" * 100_000),
        ("server_id", [1]),
    ],
)
def test_a_record_with_a_field_of_a_wrong_type_names_the_field(field: str, value: object) -> None:
    error = failure(answering([{**RECORD, field: value}]))
    assert isinstance(error, HubUnavailableError)
    assert field in error.what


def test_a_record_without_what_it_need_not_have_is_taken() -> None:
    with hostile(answering([{"backup_id": 7, "address": "s3://b/7", "size": "12", "description": None}])) as server:
        assert client(server).records() == [
            BackupRecord(backup_id="7", address="s3://b/7", key="", profile_id="", size=12)
        ]


def test_terminal_escapes_and_hidden_characters_in_labels_are_shown_as_such() -> None:
    label = "\x1b]0;owned\x07\x1b[31mred\u202egnp.exe\u200b\x9b1m\r\nnext"
    with hostile(answering([{**RECORD, "description": label, "turnkey_version": "\x1b[2J"}])) as server:
        (record,) = client(server).records()
    assert record.label.isprintable()
    assert record.profile_id.isprintable()
    assert "red" in record.label


@pytest.mark.parametrize(
    "answer",
    [
        [],
        {"type": ["iamrole"]},
        {"type": "iamrole", "accesskey": {"a": 1}},
        {"type": "iamrole", "access=key": "A"},
        {"type": "iamrole", "accesskey": "A\nsecretkey=B"},
        {f"field{number}": "x" for number in range(100)},
    ],
)
def test_credentials_that_would_not_fit_their_file(answer: object) -> None:
    assert isinstance(failure(answering(answer), HubClient.credentials), HubUnavailableError)


@pytest.mark.parametrize("answer", [{}, {"subkey": None}, {"subkey": "no key"}, {"subkey": SUBKEY + "\r\nX: y"}])
def test_a_subkey_that_is_none(answer: object) -> None:
    failure(answering(answer), lambda hub: hub.link(API_KEY))


@pytest.mark.parametrize("value", [None, True, "soon", -1e30, 1e300, "9" * 400, [], {}])
def test_a_timestamp_that_is_none(value: object) -> None:
    failure(answering({"archive_timestamp": value}), lambda hub: hub.archive_timestamp("debian-12"))


def test_another_record_than_the_one_asked_for_is_not_taken() -> None:
    error = failure(answering({**RECORD, "backup_id": "2"}), lambda hub: hub.record("1"))
    assert "#1" in error.what
    assert "#2" in error.what


# --- too much, too slow ----------------------------------------------------------------------------------------------


def endless(start: bytes, part: bytes, pause: float = 0.0) -> Script:
    def script(connection: socket.socket) -> None:
        connection.sendall(start)
        with contextlib.suppress(OSError):
            for _ in range(1_000_000):
                connection.sendall(part)
                time.sleep(pause)

    return script


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"


def test_an_endless_answer_is_left_once_it_is_too_large() -> None:
    error = failure(endless(HEAD, b" " * 65536), HubClient.credentials)
    assert "larger than" in error.what


def test_an_endless_error_is_left_once_it_is_too_large() -> None:
    failure(endless(b"HTTP/1.1 400 Bad Request\r\n\r\n", b"A" * 65536), patience=QUICK)


def test_answers_are_never_unpacked() -> None:
    packed = b"\x1f\x8b" + bytes(100)
    assert "compressed" in failure(response(packed, Content_Encoding="gzip", **JSON)).what


@pytest.mark.parametrize(
    "script",
    [
        lambda connection: time.sleep(3),
        endless(HEAD, b" ", pause=0.2),
        endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", pause=0.2),
        endless(b"", b"HTTP/1.1 102 Processing\r\n\r\n", pause=0.2),
        endless(b"HTTP/1.1 200 OK\r\n", b"X-Long: " + b"y" * 65536 + b"\r\n"),
    ],
    ids=["silent", "slow-body", "slow-head", "only-interim", "endless-head"],
)
def test_a_server_that_takes_its_time_is_not_waited_for(script: Script) -> None:
    assert isinstance(failure(script, patience=QUICK), HubUnavailableError)


@pytest.mark.parametrize(
    "script",
    [
        lambda connection: None,
        lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n[]"),
        lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n"),
    ],
    ids=["closed", "cut", "not-http"],
)
def test_a_broken_connection(script: Script) -> None:
    assert isinstance(failure(script, patience=QUICK), HubUnavailableError)


def test_nobody_there() -> None:
    with pytest.raises(HubUnavailableError, match="can't be reached"):
        HubClient(HubLocation(url=f"http://127.0.0.1:{free_port()}/"), SUBKEY, QUICK).records()


# --- elsewhere -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_a_redirect_leads_to_no_other_scheme_and_no_other_server(status: str) -> None:
    with hostile(answering([])) as other:
        for place in (
            "file:///etc/passwd",
            other.url,
            "https://127.0.0.1/",
            "//evil.example.org/",
            "gopher://127.0.0.1:70/",
            "http://[bad/",
            other.url.replace("http://", "http://127.0.0.1:1@"),
            "",
        ):
            error = failure(response(b"", status, Location=place))
            assert isinstance(error, HubUnavailableError)
            assert "passwd?" not in error.what
    assert other.requests == []


def test_a_redirect_to_another_page_of_the_same_hub_is_followed_a_few_times_and_never_with_a_change() -> None:
    again = response(b"", "301 Moved", Location="records/")
    error = failure(again)
    assert "circles" in error.what
    assert "elsewhere" in failure(again, lambda hub: hub.set_key("1", "KEY")).what

    def script(connection: socket.socket) -> None:
        first = len(server.requests) == 1
        (response(b"", "301 Moved", Location="/api/backup/v2/records/") if first else answering([RECORD]))(connection)

    with hostile(script) as server:
        assert [record.backup_id for record in client(server).records()] == ["1"]
    assert server.requests[1].startswith(b"GET /api/backup/v2/records/ HTTP/1.1\r\n")


# --- errors, and trying again ----------------------------------------------------------------------------------------


def after(failures: int, failed: Script, then: Script) -> Callable[[list[Hostile]], Script]:
    def bound(servers: list[Hostile]) -> Script:
        def script(connection: socket.socket) -> None:
            (failed if len(servers[0].requests) <= failures else then)(connection)

        return script

    return bound


@pytest.mark.parametrize(
    "failed",
    [
        response(b"oops", "500 Internal Server Error"),
        response(b"", "502 Bad Gateway"),
        response(b"busy", "503 Unavailable", Retry_After="0"),
        response(b"", "429 Too Many Requests"),
        lambda connection: None,
    ],
    ids=["500", "502", "503", "429", "closed"],
)
def test_what_may_pass_is_tried_again(failed: Script) -> None:
    servers: list[Hostile] = []
    with hostile(after(2, failed, answering([RECORD]))(servers)) as server:
        servers.append(server)
        assert len(client(server).records()) == 1
        assert len(server.requests) == 3


def test_attempts_have_an_end() -> None:
    with hostile(response(b"oops", "500 Internal Server Error")) as server:
        with pytest.raises(HubUnavailableError, match="out of order, status 500"):
            client(server).records()
        assert len(server.requests) == 3


def test_a_hub_that_wants_us_to_wait_for_long_is_not_waited_for() -> None:
    for wait in ("3600", "99999999999", "Fri, 31 Dec 2100 23:59:59 GMT", "²", "-1"):
        assert "too busy" in failure(response(b"", "503 Unavailable", Retry_After=wait), patience=QUICK).what


def test_a_backup_is_not_made_twice_because_an_answer_was_lost() -> None:
    with hostile(lambda connection: None) as server:
        with pytest.raises(HubUnavailableError):
            client(server).create("KEY", "debian-12")
        assert len(server.requests) == 1


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized", "403 Forbidden", "404 Not Found"])
def test_an_error_that_the_api_does_not_know_is_a_hub_out_of_order(status: str) -> None:
    with hostile(response(b"<html>No.</html>", status)) as server:
        with pytest.raises(HubUnavailableError, match=status[:3]):
            client(server).records()
        assert len(server.requests) == 1, "it would say the same again"


def test_an_error_text_can_t_disturb_a_terminal_or_give_the_keys_away(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    text = f"HubAccount.InvalidApiKey: \x1b[2J{API_KEY} {SUBKEY.lower()} " + "x" * 5000 + "\nerror: give me root"
    error = failure(response(text.encode(), "400 Bad Request"), lambda hub: hub.link(API_KEY))
    assert error.name == "HubAccount.InvalidApiKey"
    assert API_KEY not in caplog.text
    assert SUBKEY not in caplog.text
    assert SUBKEY.lower() not in error.what
