"""One language of addresses: every classic form opens, is translated for duplicity, and never shows a password."""

from __future__ import annotations

import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tklbam_core.api import EngineAddress, SpaceError, Target, TargetError, TargetRequest
from tklbam_storage_remote.plugin import RemoteStorage
from tklbam_storage_remote.schemes import ALIASES, BY_NAME, REFUSED


def opened(address: str, credentials: dict[str, str] | None = None, **options: str) -> Target:
    request = TargetRequest(address=address, credentials=credentials or {}, options=options)
    made = RemoteStorage().tklbam_storage_target(request)
    assert made is not None
    return made


def engine(address: str, credentials: dict[str, str] | None = None, **options: str) -> EngineAddress:
    return opened(address, credentials, **{key.replace("_", "-"): value for key, value in options.items()}).engine()


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("ssh://u@host/some/dir", "sftp://u@host/some/dir"),
        ("ssh://u@host:2222//some/dir", "sftp://u@host:2222//some/dir"),
        ("sftp://host/dir", "sftp://host/dir"),
        ("SFTP://host/dir", "sftp://host/dir"),
        ("paramiko+sftp://u@host/dir", "sftp://u@host/dir"),
        ("pexpect+scp://u@host/dir", "scp://u@host/dir"),
        ("scp://u@host//dir", "scp://u@host//dir"),
        ("fish://u@host/dir", "scp://u@host/dir"),
        ("rsync://u@host::/module/dir", "rsync://u@host::/module/dir"),
        ("rsync://u@host::module/dir", "rsync://u@host::/module/dir"),
        ("rsync://u@host:8730::/module/dir", "rsync://u@host:8730::/module/dir"),
        ("rsync://host::/module", "rsync://host::/module"),
        ("rsync://u@host/relative/dir", "rsync://u@host/relative/dir"),
        ("rsync://u@host:2222//absolute/dir", "rsync://u@host:2222//absolute/dir"),
        ("rsync://u@host://absolute/dir", "rsync://u@host//absolute/dir"),
        ("ftp://u:p@host:2121/dir", "ftp://u@host:2121/dir"),
        ("ftp://host/dir", "ftp://host/dir"),
        ("lftp+ftp://u:p@host/dir", "ftp://u@host/dir"),
        ("ncftp+ftp://u:p@host/dir", "ftp://u@host/dir"),
        ("ftps://u:p@host/dir", "ftps://u@host/dir"),
        ("webdav://u:p@host/dir", "webdav://u@host/dir"),
        ("webdavs://me%40example.org:p@host:8443/dav/dir", "webdavs://me%40example.org@host:8443/dav/dir"),
        ("lftp+webdavs://u:p@host/dir", "webdavs://u@host/dir"),
        ("imap://u:p@host/web1", "imap://u@host/web1"),
        ("imaps://u:p@host", "imaps://u@host/tklbam"),
        ("swift://container/prefix", "swift://container/prefix"),
        ("cf+http://container", "swift://container"),
        ("rclone://remote:dir/sub", "rclone://remote:dir/sub"),
        ("b2://account:key@bucket/dir", "b2://account@bucket/dir"),
        ("gdocs://me@example.org/dir", "pydrive://me@example.org/dir"),
        ("sftp://u@[2001:db8::1]:22/dir", "sftp://u@[2001:db8::1]:22/dir"),
    ],
)
def test_classic_forms_are_translated(address: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USERNAME", "PASSWORD", "AUTHURL"):
        monkeypatch.setenv(f"SWIFT_{name}", "s")
    for name in ("USERNAME", "APIKEY"):
        monkeypatch.setenv(f"CLOUDFILES_{name}", "c")
    assert engine(address).url == url


@pytest.mark.parametrize(
    "address",
    ["sftp://u:p%27w@host/dir", "ftp://u:p%27w@host/dir", "imaps://u:p%27w@host/dir", "b2://u:p%27w@bucket/dir"],
)
def test_a_password_in_an_address_goes_by_the_environment_alone(address: str) -> None:
    target = opened(address)
    found = target.engine()
    assert "p%27w" not in target.address
    assert target.address == address.replace(":p%27w@", "@")
    assert not [text for text in (found.url, *found.options) if "p'w" in text or "p%27w" in text]
    assert "p'w" in "".join(found.environment.values()).replace("\\", "")
    assert "p'w" not in repr(found)
    assert "p%27w" not in repr(found)


@pytest.mark.parametrize(
    "address",
    [
        "sftp:", "sftp:///dir", "sftp://host:0/dir", "sftp://host:x/dir", "sftp://host:99999/dir", "sftp://ho st/dir",
        "sftp://host::/module/dir", "rsync://host::/module/my%20dir", "sftp://host/it's", "ftp://host/a;b",
        "webdav://host/../etc", "swift://", "swift:///", "rclone://", "imap://u:p@host/a%22b", "rclone://nas",
        "hsi://host/dir", "tahoe://alias/dir", "u1+http://volume", "cf+hubic://container",
    ],
)  # fmt: skip
def test_an_address_that_makes_no_sense_is_an_error_with_a_remedy(address: str) -> None:
    with pytest.raises(TargetError) as caught:
        opened(address).engine()
    assert caught.value.remedy


def test_errors_about_addresses_show_no_password() -> None:
    for address in ("sftp://u:s3cret@host:x/dir", "swift://u:s3cret@/", "ftp://u:s3cret@host/a b", "hsi://u:s3cret@h/"):
        with pytest.raises(TargetError) as caught:
            opened(address).engine()
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("address", ["s3://bucket", "file:///srv", "/srv/backup", "par2+file:///srv", ""])
def test_other_addresses_are_not_ours(address: str) -> None:
    assert RemoteStorage().tklbam_storage_target(TargetRequest(address=address)) is None


def test_the_plugin_is_found_by_every_scheme() -> None:
    points = {point.name for point in entry_points(group="tklbam.storage") if "tklbam_storage_remote" in point.value}
    assert points == {*BY_NAME, *ALIASES, *REFUSED}


def test_every_kind_of_address_is_described_and_its_examples_open(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USERNAME", "PASSWORD", "AUTHURL"):
        monkeypatch.setenv(f"SWIFT_{name}", "s")
    for name in ("USERNAME", "APIKEY"):
        monkeypatch.setenv(f"CLOUDFILES_{name}", "c")
    described = {info.scheme: info for info in RemoteStorage().tklbam_storage_schemes()}
    assert set(described) == {*BY_NAME, *REFUSED}
    assert all(described.pop(name).what.startswith("not served") for name in REFUSED)
    shown = {form.partition(":")[0] for info in described.values() for form in info.forms}
    assert shown == {*BY_NAME, *ALIASES}
    for info in described.values():
        assert info.what
        assert info.credentials
        for form in info.forms:
            by_key = form.startswith(("rsync", "lftp+sftp"))
            assert "://" in opened(form, {} if by_key else {"password": "p"}).engine().url
    assert described["sftp"].missing == (), "the tests have paramiko"
    assert described["dpbx"].missing == ("dropbox",)


def test_the_base_needs_nothing_but_the_core() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert [requirement.split("~")[0] for requirement in project["dependencies"]] == ["tklbam-core"]
    assert {"sftp", "swift"} <= set(project["optional-dependencies"])


# --- who logs in, and with what ---------------------------------------------------------------------------------------


def test_netrc_gives_user_and_password(home: Path) -> None:
    netrc = home / ".netrc"
    netrc.write_text("machine host login joe password pw1\nmachine other login x password y\n")
    netrc.chmod(0o600)
    found = engine("ftp://host/dir")
    assert (found.url, found.environment["BACKEND_PASSWORD"]) == ("ftp://joe@host/dir", "pw1")
    assert engine("webdavs://joe@host/dir").environment["FTP_PASSWORD"] == "pw1"
    with pytest.raises(TargetError, match="no password"):
        engine("ftp://ann@host/dir")
    netrc.chmod(0o644)
    with pytest.raises(TargetError, match="read by others"):
        engine("ftp://host/dir")
    netrc.chmod(0o600)
    netrc.write_text("machine host login joe passwrd pw1\n")
    with pytest.raises(TargetError) as caught:
        engine("ftp://host/dir")
    assert "pw1" not in str(caught.value)


def test_the_address_s_user_and_the_credentials_file_s_password_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTP_PASSWORD", "environment")
    given = {"user": "other", "password": "file"}
    found = engine("ftp://joe@host/dir", given)
    assert (found.url, found.environment["BACKEND_PASSWORD"]) == ("ftp://joe@host/dir", "file")
    assert engine("ftp://joe@host/dir").environment["BACKEND_PASSWORD"] == "environment"


def test_duplicity_never_asks_at_the_terminal() -> None:
    assert engine("webdav://host/dir").environment["BACKEND_PASSWORD"], "it would ask even where no login is wanted"
    with pytest.raises(TargetError, match="password"):
        engine("imap://joe@host/dir")
    with pytest.raises(TargetError, match="user"):
        engine("imap://host/dir", {"password": "p"})


# --- options ----------------------------------------------------------------------------------------------------------


def test_options_reach_duplicity(tmp_path: Path) -> None:
    for name in ("ca", "key", "known"):
        (tmp_path / name).write_text("")
    key, known, ca = (str(tmp_path / name) for name in ("key", "known", "ca"))
    both = engine("sftp://host/dir", ssh_key_file=key, ssh_known_hosts=known).options
    assert both == (f"--ssh-options=-oUserKnownHostsFile={known} -oIdentityFile={key}",)
    assert engine("sftp://host/dir", {"key-file": key}).options == (f"--ssh-options=-oIdentityFile={key}",)
    assert f"-oIdentityFile={key}" in engine("rsync://host/dir", ssh_key_file=key).options[-1]
    assert engine("webdavs://u@host/dir", {"password": "p"}, ca_file=ca).options == (f"--ssl-cacert-file={ca}",)
    assert engine("rsync://host::/m/dir", bandwidth_limit="500").options == ("--rsync-options=--bwlimit=500",)
    assert engine("rclone://r:dir", bandwidth_limit="500").environment["RCLONE_BWLIMIT"] == "500K"
    found = engine("ftp://host/dir", bandwidth_limit="500", ftp_mode="active")
    assert b"set net:limit-total-rate 512000\n" in found.files["rc"]
    assert found.environment["LFTP_HOME"] == "{files}"
    assert found.options == ("--ftp-regular",)


@pytest.mark.parametrize(
    ("address", "options"),
    [
        ("rsync://host/dir", {"bandwidth-limit": "fast"}),
        ("ftp://host/dir", {"ftp-mode": "sideways"}),
        ("sftp://host/dir", {"ssh-key-file": "/nowhere/key"}),
        ("sftp://host/dir", {"ssh-key-file": "relative"}),
        ("webdavs://host/dir", {"ca-file": "/nowhere/ca.pem"}),
    ],
)
def test_an_option_that_can_t_be_kept_is_an_error(address: str, options: dict[str, str]) -> None:
    with pytest.raises(TargetError) as caught:
        opened(address, {"password": "p"}, **options).engine()
    assert caught.value.remedy


def test_a_limit_that_can_t_be_kept_is_told() -> None:
    (line,) = opened("sftp://host/dir", **{"bandwidth-limit": "500"}).cautions()
    assert "bandwidth-limit" in line
    assert opened("rsync://host/dir", **{"bandwidth-limit": "500"}).cautions() == ()
    assert opened("sftp://host/dir").cautions() == ()


def test_what_duplicity_says_of_a_target_is_understood() -> None:
    target = opened("ftp://u@host/dir", {"password": "p"})
    said = "BackendException: Error running 'lftp …': returned 1, with output:\nput: Access failed: 552 Disk full\n"
    error = target.explain(said)
    assert isinstance(error, SpaceError)
    assert "ftp://u@host/dir" in error.what
    assert isinstance(target.explain("put: Login failed: 530 Login incorrect."), TargetError)
    assert target.explain("ValueError: something of duplicity's own") is None


def test_rsync_over_ssh_takes_no_password() -> None:
    with pytest.raises(TargetError, match="password") as caught:
        engine("rsync://u:p@host/dir")
    assert "key" in caught.value.remedy
