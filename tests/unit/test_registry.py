"""The registry: private, whole whatever happens, and the classic tool's is read as it is."""

from __future__ import annotations

import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.killing import killed_at_every_step
from tklbam_core.api.errors import FormatError, NotInitializedError, TklbamError
from tklbam_core.api.models import Account, Credentials
from tklbam_core.registry import HubBackup, Registry


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


def modes(directory: Path) -> dict[str, int]:
    found = {str(path.relative_to(directory)): path.stat().st_mode & 0o7777 for path in directory.rglob("*")}
    return {".": directory.stat().st_mode & 0o7777, **found}


def fill_profile(registry: Registry, name: str) -> None:
    with registry.new_profile() as directory:
        for file in ("dirindex", "dirindex.conf", "packages"):
            (directory / file).write_text(f"{name} {file}\n")
        (directory / "profile_id").write_text(f"{name}\n")
        (directory / "stamp").touch()


def test_reading_an_absent_registry_finds_nothing_and_makes_nothing(registry: Registry) -> None:
    assert registry.secret is None
    assert registry.key_packet is None
    assert registry.account is None
    assert registry.credentials is None
    assert registry.hub_backup is None
    assert registry.backup_resume is None
    assert registry.profile is None
    assert registry.extras_index(pytest.fail) == {}
    assert registry.sessions.last() is None
    with pytest.raises(NotInitializedError) as caught:
        registry.require_secret()
    assert "tklbam init" in caught.value.remedy
    assert not registry.directory.exists()


def test_everything_is_for_its_owner_alone_whatever_the_umask(registry: Registry) -> None:
    old = os.umask(0)
    try:
        registry.keep_secret("s")
        registry.write_key_packet(b"k")
        registry.write_account(Account(subkey="a"))
        registry.write_credentials(Credentials(kind="iamuser", fields={"accesskey": "x"}))
        registry.write_hub_backup(HubBackup(backup_id="1", address="s3://x"))
        registry.write_backup_resume({})
        registry.write_extras_index({})
        fill_profile(registry, "p")
    finally:
        os.umask(old)
    found = modes(registry.directory)
    assert len(found) == 14
    for name, mode in found.items():
        assert mode == (0o700 if (registry.directory / name).is_dir() else 0o600), name


def test_a_registry_left_open_is_closed_at_the_next_write(registry: Registry, tmp_path: Path) -> None:
    registry.keep_secret("s")
    (tmp_path / "elsewhere").write_text("x")
    (tmp_path / "elsewhere").chmod(0o644)
    (registry.directory / "link").symlink_to(tmp_path / "elsewhere")
    registry.directory.chmod(0o755)
    (registry.directory / "secret").chmod(0o644)
    registry.write_key_packet(b"k")
    assert modes(registry.directory)["."] == 0o700
    assert modes(registry.directory)["secret"] == 0o600
    assert (tmp_path / "elsewhere").stat().st_mode & 0o7777 == 0o644


def test_secret_is_never_replaced(registry: Registry) -> None:
    registry.keep_secret("first")
    registry.keep_secret("first")
    with pytest.raises(TklbamError, match="is another one"):
        registry.keep_secret("second")
    assert registry.secret == registry.require_secret() == "first"


def test_what_is_written_is_read_again(registry: Registry) -> None:
    registry.write_key_packet(b"UEFDS0VU")
    assert registry.key_packet == b"UEFDS0VU\n"
    registry.write_account(Account(subkey="SUB"))
    assert registry.account == Account(subkey="SUB")
    credentials = Credentials(kind="iamrole", fields={"accesskey": "a=b", "expiration": "2026-01-01T00:00:00Z"})
    registry.write_credentials(credentials)
    assert registry.credentials == credentials
    registry.forget_credentials()
    registry.forget_credentials()
    assert registry.credentials is None
    backup = HubBackup(backup_id="7", address="s3://b/x", updated=datetime(2026, 11, 25, 3, 0, 0, tzinfo=UTC))
    registry.write_hub_backup(backup)
    assert registry.hub_backup == backup
    registry.write_backup_resume({"session": 1})
    assert registry.backup_resume == {"session": 1}
    registry.forget_backup_resume()
    assert registry.backup_resume is None


def test_classic_registry_is_read_as_it_is(registry: Registry) -> None:
    place = registry.directory
    (place / "profile").mkdir(parents=True)
    (place / "secret").write_text("cl@ssic secret")
    (place / "key").write_text("AVAAUA==")
    (place / "sub_apikey").write_text("SUBKEY")
    (place / "credentials").write_text("accesskey=A\nsecretkey=S\nusertoken={U}=\nproducttoken=P")
    (place / "hbr").write_text("backup_id=7\naddress=s3://s3.amazonaws.com/tklbam-x/y\nupdated=2015-02-03 04:05:06\n")
    (place / "backup-resume").write_text('{"full_backup": "1M", "volsize": 25}')
    (place / "profile/profile_id").write_text("turnkey-core-14.0-jessie-amd64")
    (place / "profile/stamp").touch()
    os.utime(place / "profile/stamp", (1400000000, 1400000000))
    assert registry.secret == "cl@ssic secret"
    assert registry.key_packet == b"AVAAUA=="
    assert registry.account == Account(subkey="SUBKEY")
    credentials = registry.credentials
    assert credentials is not None
    assert credentials.kind == "devpay"
    assert credentials.fields["usertoken"] == "{U}="
    assert registry.hub_backup == HubBackup(
        backup_id="7",
        address="s3://s3.amazonaws.com/tklbam-x/y",
        updated=datetime(2015, 2, 3, 4, 5, 6, tzinfo=UTC),
    )
    assert registry.backup_resume == {"full_backup": "1M", "volsize": 25}
    profile = registry.profile
    assert profile is not None
    assert (profile.profile_id, profile.wanted) == ("turnkey-core-14.0-jessie-amd64", None)
    assert profile.timestamp == datetime.fromtimestamp(1400000000, UTC)


@pytest.mark.parametrize(
    ("name", "content", "member"),
    [
        ("secret", "two\nlines", "secret"),
        ("hbr", "backup_id=7\n", "hub_backup"),
        ("hbr", "backup_id=7\naddress=x\nupdated=yesterday\n", "hub_backup"),
        ("hbr", "nonsense\n", "hub_backup"),
        ("credentials", "nonsense\n", "credentials"),
        ("backup-resume", "{", "backup_resume"),
        ("backup-resume", "[]", "backup_resume"),
    ],
)
def test_damaged_file_is_named(registry: Registry, name: str, content: str, member: str) -> None:
    registry.make()
    (registry.directory / name).write_text(content)
    with pytest.raises(FormatError, match=str(registry.directory / name)) as caught:
        getattr(registry, member)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "content", ["", "x\n", "#tklbam 2\nzz\t1\tp\n", f"#tklbam 2\n{'a' * 64}\tx\tp\n", "#tklbam 2\na\n"]
)
def test_damaged_extras_index_costs_a_warning_and_no_backup(registry: Registry, content: str) -> None:
    registry.make()
    (registry.directory / "extras-index").write_text(content)
    warnings: list[str] = []
    assert registry.extras_index(warnings.append) == {}
    assert len(warnings) == 1
    assert "extras-index is damaged" in warnings[0]


@given(
    st.dictionaries(
        st.binary(min_size=1).map(lambda name: name.decode("utf-8", "surrogateescape")),
        st.tuples(st.binary(min_size=32, max_size=32).map(bytes.hex), st.integers(-(2**40), 2**40)),
        max_size=5,
    )
)
def test_extras_index_keeps_any_name(registry: Registry, index: dict[str, tuple[str, int]]) -> None:
    registry.write_extras_index(index)
    assert registry.extras_index(pytest.fail) == index


def test_extras_index_escapes_as_the_format_says(registry: Registry) -> None:
    registry.write_extras_index({"a\tb\nc\\t\r": ("ab" * 32, 5)})
    assert (registry.directory / "extras-index").read_text() == f"#tklbam 2\n{'ab' * 32}\t5\ta\\tb\\nc\\\\t\\r\n"


def test_failed_new_profile_leaves_the_old_one(registry: Registry) -> None:
    fill_profile(registry, "old")

    def fail() -> None:
        with registry.new_profile() as directory:
            (directory / "profile_id").write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert registry.profile is not None
    assert registry.profile.profile_id == "old"
    assert [path.name for path in registry.directory.iterdir()] == ["profile"]


def test_profile_killed_at_any_step_is_the_old_or_the_new_and_whole(registry: Registry) -> None:
    def prepare() -> None:
        if registry.directory.exists():
            shutil.rmtree(registry.directory)
        fill_profile(registry, "old")

    seen = []
    for _ in killed_at_every_step(lambda: fill_profile(registry, "new"), prepare, registry.directory):
        profile = registry.profile
        assert profile is not None
        seen.append(profile.profile_id)
        for file in ("dirindex", "dirindex.conf", "packages"):
            assert (profile.directory / file).read_text() == f"{profile.profile_id} {file}\n"
        fill_profile(registry, "next")  # the next run is not in the way of what the killed one left
        assert registry.profile is not None
        assert registry.profile.profile_id == "next"
        assert [path.name for path in registry.directory.iterdir()] == ["profile"]
    assert set(seen) == {"old", "new"}
    assert len(seen) > 10


def test_files_killed_at_any_step_are_the_old_or_the_new_and_whole(registry: Registry) -> None:
    old, new = {"a": ("11" * 32, 1)}, {"b": ("22" * 32, 2)}

    def prepare() -> None:
        if registry.directory.exists():
            shutil.rmtree(registry.directory)
        registry.write_extras_index(old)

    seen = []
    for _ in killed_at_every_step(lambda: registry.write_extras_index(new), prepare, registry.directory):
        index = registry.extras_index(pytest.fail)
        assert index in (old, new)
        seen.append(index)
    assert seen[0] == old
    assert seen[-1] == new


def test_what_killed_runs_left_goes_when_it_is_old(registry: Registry) -> None:
    registry.keep_secret("s")
    (registry.directory / "sessions").mkdir()
    leftovers = [registry.directory / f".tklbam-{'a' * 12}", registry.directory / f"sessions/.tklbam-{'b' * 12}"]
    for leftover in leftovers:
        leftover.touch()
    registry.write_key_packet(b"k")
    assert all(leftover.exists() for leftover in leftovers), "it may be another run's, just being written"
    for leftover in leftovers:
        os.utime(leftover, (time.time() - 7200,) * 2)
    registry.write_key_packet(b"k")
    assert not any(leftover.exists() for leftover in leftovers)


@pytest.mark.root
def test_registry_that_may_not_be_read_is_not_called_uninitialised(registry: Registry, tmp_path: Path) -> None:
    registry.keep_secret("s")
    tmp_path.chmod(0o755)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            with pytest.raises(TklbamError, match="Run as root"):
                _ = registry.secret
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
