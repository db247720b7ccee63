"""Parts of the Hub by themselves: limits on guessing, archives, addresses behind proxies, settings."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.hub_client import profile_archive

NEEDED = {"dirindex.conf": b"/etc\n", "dirindex": b"", "packages": b""}


def member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no archive", "not a .tar.gz"),
        (profile_archive(NEEDED)[:60], "not a .tar.gz"),
        (profile_archive({"packages": b""}), "dirindex, dirindex.conf not in it"),
        (profile_archive({**NEEDED, "../../etc/cron.d/x": b""}), "elsewhere"),
        (profile_archive({**NEEDED, "/etc/passwd": b""}), "elsewhere"),
        (profile_archive({**NEEDED, "a\\b": b""}), "elsewhere"),
        (profile_archive(NEEDED, member("x", tarfile.SYMTYPE, "/etc")), "neither a file nor a directory"),
        (profile_archive(NEEDED, member("x", tarfile.LNKTYPE, "packages")), "neither a file nor a directory"),
        (profile_archive(NEEDED, member("x", tarfile.CHRTYPE)), "neither a file nor a directory"),
        (profile_archive({**NEEDED, **{f"f{number}": b"" for number in range(1001)}}), "too much"),
    ],
    # The same in every process that collects tests.
    ids=lambda value: value if isinstance(value, str) else "archive",
)
def test_archives_that_could_harm_a_client_are_refused(rollback: None, content: bytes, reason: str) -> None:
    from tklbam_hub.profiles import archives

    with pytest.raises(archives.BadArchive, match=reason.replace(".", r"\.")):
        archives.check("debian-12", content)


def test_a_bomb_is_not_unpacked(rollback: None, tmp_path: Path) -> None:
    from tklbam_hub.profiles import archives

    packed, nothing = io.BytesIO(), tmp_path / "dirindex"
    nothing.touch()
    os.truncate(nothing, archives.MOST_UNPACKED + 1)
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
        archive.add(nothing, "dirindex")
    with pytest.raises(archives.BadArchive, match="too much"):
        archives.check("debian-12", packed.getvalue())


def test_neither_is_one_that_hides_in_a_header(rollback: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from tklbam_hub.profiles import archives

    monkeypatch.setattr(archives, "MOST_UNPACKED", 1 << 20)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        hidden = tarfile.TarInfo("dirindex")
        hidden.pax_headers = {"comment": "0" * (2 << 20)}
        archive.addfile(hidden)
    with pytest.raises(archives.BadArchive, match="too much"):
        archives.check("debian-12", packed.getvalue())


def test_hooks_without_signature_are_named(rollback: None) -> None:
    from tklbam_hub.profiles import archives

    hooks = {"hooks.d/signed": b"", "hooks.d/signed.sig": b"", "hooks.d/bare": b""}
    assert archives.check("debian-12", profile_archive({**NEEDED, **hooks})) == ["hooks.d/bare"]
    for bad in ("", "../x", "a b", "-x", "x" * 201, "a\n"):
        with pytest.raises(archives.BadArchive):
            archives.check(bad, profile_archive(NEEDED))


@pytest.fixture
def sign_in(rollback: None, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Tries a password from an address; true when it was right and looked at. Three failures are too many here."""
    from django.contrib.auth import authenticate
    from django.test import RequestFactory, override_settings

    from tklbam_hub.accounts.models import Account
    from tklbam_hub.throttle import limits

    monkeypatch.setattr(limits, "SIGN_IN", limits.Limit("sign-in", per_address=3, per_account=5, seconds=900))

    def attempt(name: str, password: str, address: str) -> bool:
        request = RequestFactory().post("/sign-in", REMOTE_ADDR=address)
        return authenticate(request, username=name, password=password) is not None

    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        for name in ("victim", "other"):
            Account.objects.create_user(name, password="right password")
        yield attempt


def test_guessing_passwords_is_stopped_by_address(sign_in: Callable[..., bool]) -> None:
    assert sign_in("victim", "right password", "203.0.113.1")
    for _ in range(3):
        assert not sign_in("victim", "wrong", "203.0.113.1")
    assert not sign_in("victim", "right password", "203.0.113.1")
    assert not sign_in("other", "right password", "203.0.113.1")
    assert sign_in("victim", "right password", "203.0.113.2")


def test_guessing_from_everywhere_locks_out_the_guessers_alone(sign_in: Callable[..., bool]) -> None:
    for number in range(6):
        assert not sign_in("Victim", "wrong", f"203.0.113.{number}")
    assert not sign_in("victim", "right password", "203.0.113.1"), "has failed on this account before"
    assert sign_in("victim", "right password", "198.51.100.1"), "never did"
    assert sign_in("other", "right password", "203.0.113.1")


def test_a_whole_ipv6_network_counts_as_one(sign_in: Callable[..., bool]) -> None:
    for number in range(3):
        assert not sign_in("victim", "wrong", f"2001:db8:1:1::{number}")
    assert not sign_in("victim", "right password", "2001:db8:1:1:ffff::7")
    assert sign_in("victim", "right password", "2001:db8:1:2::7")


def test_failures_are_forgotten(sign_in: Callable[..., bool], monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    from tklbam_hub.throttle import limits

    quarter = time.time() // 900 * 900
    monkeypatch.setattr(time, "time", lambda: quarter)
    for _ in range(3):
        sign_in("victim", "wrong", "203.0.113.1")
    monkeypatch.setattr(time, "time", lambda: quarter + 1799)
    assert not sign_in("victim", "right password", "203.0.113.1"), "the next quarter of an hour still remembers"
    monkeypatch.setattr(time, "time", lambda: quarter + 1801)
    assert sign_in("victim", "right password", "203.0.113.1")
    monkeypatch.setattr(time, "time", lambda: quarter + 4000)
    assert limits.forget_old() >= 3


@pytest.mark.parametrize(
    ("peer", "header", "address"),
    [
        ("127.0.0.1", "203.0.113.5", "203.0.113.5"),
        ("127.0.0.1", "1.1.1.1, 203.0.113.5, 10.0.0.7", "203.0.113.5"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "nonsense, 203.0.113.5", "203.0.113.5"),
        ("127.0.0.1", "203.0.113.5, nonsense", "127.0.0.1"),
        ("198.51.100.1", "203.0.113.5", "198.51.100.1"),
        ("", "203.0.113.5", "203.0.113.5"),
        ("::ffff:127.0.0.1", "203.0.113.5", "203.0.113.5"),
        ("127.0.0.1", "::ffff:203.0.113.5", "203.0.113.5"),
        ("fe80::1%eth0", "203.0.113.5", "fe80::1"),
    ],
)
def test_the_clients_address_behind_proxies(models: None, peer: str, header: str, address: str) -> None:
    from django.http import HttpResponse
    from django.test import RequestFactory, override_settings

    from tklbam_hub import environment, middleware

    seen: list[tuple[str, bool]] = []

    def view(request: Any) -> HttpResponse:
        seen.append((middleware.client_address(request), "HTTP_X_FORWARDED_PROTO" in request.META))
        return HttpResponse()

    trusted = environment.networks({"T": "127.0.0.1, 10.0.0.0/8"}, "T")
    with override_settings(TRUSTED_PROXIES=trusted):
        request = RequestFactory().get(
            "/", REMOTE_ADDR=peer, HTTP_X_FORWARDED_FOR=header, HTTP_X_FORWARDED_PROTO="https"
        )
        middleware.ClientAddress(view)(request)
    assert seen == [(address, peer not in ("198.51.100.1", "fe80::1%eth0"))]


def test_database_addresses_are_understood(models: None, tmp_path: Any) -> None:
    from tklbam_hub import database

    made = database.settings("postgresql://us%40er:p%3Aw@db.example:5433/hub?sslmode=require", tmp_path)
    wanted = {"NAME": "hub", "USER": "us@er", "PASSWORD": "p:w", "HOST": "db.example", "PORT": "5433"}
    assert wanted.items() <= made.items()
    assert made["OPTIONS"] == {"sslmode": "require"}
    assert database.settings("postgres:///hub?host=/run/postgresql", tmp_path)["HOST"] == "/run/postgresql"
    assert database.settings("", tmp_path)["NAME"] == str(tmp_path / "hub.sqlite3")
    assert database.settings("sqlite:///srv/hub.db", tmp_path)["NAME"] == "/srv/hub.db"
    for bad in ("mysql://x/y", "postgresql://host/", "sqlite://x", "hub.db"):
        with pytest.raises(database.BadDatabaseUrl):
            database.settings(bad, tmp_path)


def test_settings_that_cannot_be_used_are_named(hub: Any) -> None:
    for name, value in {
        "TKLBAM_HUB_URL": "hub.example.org",
        "TKLBAM_HUB_TRUSTED_PROXIES": "localhost",
        "TKLBAM_HUB_EMAIL_URL": "mailto:x",
        "TKLBAM_HUB_KEY_FAILURES": "many",
        "DATABASE_URL": "oracle://x/y",
    }.items():
        before = hub.environment.get(name)
        hub.environment[name] = value
        try:
            with pytest.raises(AssertionError, match=f"Error: {name}: "):
                hub.command("user", "list")
        finally:
            if before is None:
                del hub.environment[name]
            else:
                hub.environment[name] = before


def test_an_account_goes_with_all_that_is_its_own(hub: Any, make_client: Callable[..., Any]) -> None:
    from tklbam_hub.audit.models import AuditEntry
    from tklbam_hub.records.models import BackupRecord
    from tklbam_hub.storage.models import Storage

    client, other = make_client(), make_client()
    Storage.objects.create(account=client.account, name="own", address="sftp://host/x", is_default=True)
    client.create()
    other.create()
    name = client.account.username
    hub.command("user", "remove", name, "--yes")
    assert not BackupRecord.objects.filter(account_id=client.account.pk).exists()
    assert client.get("records/").error == (400, "BackupAccount.InvalidSubKey")
    assert len(other.get("records/").json) == 1
    entry = AuditEntry.objects.get(action="account.remove", subject=name)
    assert (entry.actor, entry.detail) == ("operator", "backups 1")
