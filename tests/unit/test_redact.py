"""Secrets taken out of addresses and of text, however they are written there."""

from __future__ import annotations

import json
import traceback
from urllib.parse import quote, quote_plus

import pytest

from tklbam_core.api import CommandError, Redactor, run, split_password
from tklbam_core.api.redact import is_secret_name

SECRET = "p@ss w/ö\"rd'\\%41+"


@pytest.mark.parametrize(
    ("address", "plain", "password"),
    [
        ("ftp://u:pw@host/p", "ftp://u@host/p", "pw"),
        ("ftp://u:p%40%2F%C3%B6@host:21/p", "ftp://u@host:21/p", "p@/ö"),
        ("ftp://u:p@w@host/p@th", "ftp://u@host/p@th", "p@w"),
        ("ftp://u:p#w?@host/p", "ftp://u@host/p", "p#w?"),
        ("ftp://u:p/w@host/p", "ftp://u@host/p", "p/w"),
        ("ftp://u%40x:pw@host", "ftp://u%40x@host", "pw"),
        ("ftp://:pw@host/p", "ftp://host/p", "pw"),
        ("imaps://u:a:b@host", "imaps://u@host", "a:b"),
        ("rsync://u:pw@host::module/p", "rsync://u@host::module/p", "pw"),
        ("rsync://host::module/p@x", "rsync://host::module/p@x", ""),
        ("rsync://u@host::module", "rsync://u@host::module", ""),
        ("sftp://host:22/p@x", "sftp://host:22/p@x", ""),
        ("sftp://[::1]/p@x", "sftp://[::1]/p@x", ""),
        ("sftp://u:pw@[::1]:22/p", "sftp://u@[::1]:22/p", "pw"),
        ("rclone://remote:path@x/y", "rclone://remote:path@x/y", ""),
        ("s3+http://bucket/p", "s3+http://bucket/p", ""),
        ("file:///srv/a:b@c", "file:///srv/a:b@c", ""),
        ("ftp://u@host/a:b@c", "ftp://u@host/a:b@c", ""),
        ("just text", "just text", ""),
    ],
)
def test_a_password_in_an_address_is_taken_out(address: str, plain: str, password: str) -> None:
    assert split_password(address) == (plain, password)
    assert split_password(plain) == (plain, "")


def test_a_secret_is_found_in_every_form_that_text_gives_it() -> None:
    redactor = Redactor([SECRET])
    lower = quote(SECRET, safe="").replace("%2F", "%2f").replace("%C3%B6", "%c3%b6").replace("%5C", "%5c")
    for form in (SECRET, quote(SECRET), quote(SECRET, safe=""), quote_plus(SECRET), lower, json.dumps(SECRET)):
        shown = redactor.scrub(f"before {form} after")
        assert "w/" not in shown
        assert "rd" not in shown
        assert shown.startswith("before ")
        assert shown.endswith(" after")
    try:
        raise ValueError(f"{SECRET!r} is refused")
    except ValueError:
        assert "rd" not in redactor.scrub(traceback.format_exc()).split("ValueError")[-1]


def test_passwords_of_urls_in_text_are_hidden_though_nobody_knows_them() -> None:
    shown = Redactor().scrub("GET ftp://me:hunter2@host/x and 'sftp://:b@c' failed, ftp://host:21/x did not")
    assert shown == "GET ftp://me:***@host/x and 'sftp://:***@c' failed, ftp://host:21/x did not"


def test_the_longer_of_two_secrets_goes_whole_and_short_ones_would_garble_everything() -> None:
    redactor = Redactor(["tiger", "tiger-lily", "", "a"])
    assert redactor.scrub("a tiger-lily, a tiger") == "a ***, a ***"


def test_values_of_json_are_scrubbed_and_its_numbers_stay() -> None:
    value = {"size": 123456, "errors": ["no 123456 here"], "nested": {"text": "123456"}}
    assert Redactor(["123456"]).scrub_json(value) == {
        "size": 123456,
        "errors": ["no *** here"],
        "nested": {"text": "***"},
    }


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("FTP_PASSWORD", True),
        ("MYSQL_PWD", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("AWS_SESSION_TOKEN", True),
        ("PASSPHRASE", True),
        ("B2_APPLICATION_KEY", True),
        ("AWS_ACCESS_KEY_ID", False),
        ("AWS_REGION", False),
        ("PGPASSFILE", False),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", False),
        ("HOME", False),
    ],
)
def test_names_tell_what_is_secret(name: str, secret: bool) -> None:
    assert is_secret_name(name) == secret


def test_credentials_fields_that_name_nothing_secret_stay_readable() -> None:
    redactor = Redactor()
    redactor.add_fields({"user": "backup", "password": "hunter2", "key-file": "/root/key", "session-token": "abcdef"})
    assert redactor.scrub("backup hunter2 /root/key abcdef") == "backup *** /root/key ***"


def test_what_a_program_says_of_its_secrets_is_not_repeated() -> None:
    with pytest.raises(CommandError) as caught:
        run(
            ["sh", "-c", 'echo "login with $SOME_PASSWORD at $SOME_PLACE" >&2; exit 3'],
            secrets={"SOME_PASSWORD": "hunter2", "SOME_PLACE": "host"},
        )
    assert "login with *** at host" in str(caught.value)
    assert "hunter2" not in caught.value.stderr
