"""The credentials file: private, exact about its mistakes, and the longest address that fits counts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.plugin_folder import Install, install  # noqa: F401 - fixture
from tklbam_core.api import ConfigError, Credentials, Redactor
from tklbam_core.context import Context
from tklbam_core.credentials import find_credentials
from tklbam_core.host import Host
from tklbam_core.plugins import Plugins
from tklbam_core.registry import Registry

# ruff: noqa: F811

SECTIONS = """
# every bucket
[s3://]
access-key = ALL
[s3://bucket]
Access_Key = BUCKET
secret-key = 50%/of=the#key;
[s3://bucket/team/web 1/]
access-key = WEB
[sftp://backup@host]
key-file = /root/.ssh/backup
[sftp://host]
password =   spaces  inside
[sftp://host:2222/a]
password = other port
"""


def write(directory: Path, text: str, mode: int = 0o600, name: str = "credentials") -> Path:
    path = directory / name
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("s3://other/x", {"access-key": "ALL"}),
        ("s3://bucket", {"access-key": "BUCKET", "secret-key": "50%/of=the#key;"}),
        ("S3://BUCKET/teams", {"access-key": "BUCKET", "secret-key": "50%/of=the#key;"}),
        ("s3://bucket/team/web%201/deep", {"access-key": "WEB"}),
        ("s3://bucket/team/web%2010", {"access-key": "BUCKET", "secret-key": "50%/of=the#key;"}),
        ("s3://bucket2/team/web%201", {"access-key": "ALL"}),
        ("sftp://backup@host/srv", {"key-file": "/root/.ssh/backup"}),
        ("sftp://backup:in-url@host/srv", {"key-file": "/root/.ssh/backup"}),
        ("sftp://root@host/srv", {"password": "spaces  inside"}),
        ("sftp://host:2222/a/b", {"password": "other port"}),
        ("sftp://host:2222/ab", {}),
        ("sftp://host.example.org/a", {}),
        ("ftp://host/a", {}),
        ("not an address", {}),
    ],
)
def test_the_longest_section_that_an_address_begins_with_counts(
    tmp_path: Path, address: str, found: dict[str, str]
) -> None:
    write(tmp_path, SECTIONS)
    assert find_credentials(tmp_path, address, {}) == found


def test_systemd_s_credentials_are_read_too_and_win_over_an_equal_section(tmp_path: Path) -> None:
    write(tmp_path, "[ftp://a]\npassword = file\n[ftp://a/b]\npassword = longer\n")
    given = tmp_path / "given"
    given.mkdir()
    # Its mode with the access list that systemd gives to a user of the service's own.
    write(given, "[ftp://a]\npassword = systemd\n", 0o440, "tklbam-credentials")
    environment = {"CREDENTIALS_DIRECTORY": str(given)}
    assert find_credentials(tmp_path, "ftp://a/x", environment) == {"password": "systemd"}
    assert find_credentials(tmp_path, "ftp://a/b", environment) == {"password": "longer"}
    assert find_credentials(tmp_path / "none", "ftp://a", environment) == {"password": "systemd"}
    (given / "tklbam-credentials").chmod(0o444)
    with pytest.raises(ConfigError, match="everyone"):
        find_credentials(tmp_path, "ftp://a", environment)


def test_no_file_means_no_credentials(tmp_path: Path) -> None:
    assert find_credentials(tmp_path, "ftp://a", {}) == {}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_can_read_is_an_error_with_its_remedy(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path, "[ftp://a]\npassword = x\n", mode)
    with pytest.raises(ConfigError, match=f"0{mode:o}, not 0600") as caught:
        find_credentials(tmp_path, "ftp://a", {})
    assert f"chmod 600 '{path}'" in caught.value.remedy


@pytest.mark.root
def test_a_file_of_another_user_is_an_error_with_its_remedy(tmp_path: Path) -> None:
    path = write(tmp_path, "[ftp://a]\npassword = x\n")
    os.chown(path, 1234, 1234)
    with pytest.raises(ConfigError, match="user 1234") as caught:
        find_credentials(tmp_path, "ftp://a", {})
    assert "chown root:" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("password = hunter2\n", 1),
        ("\n\n[ftp://a]\nhunter2\n", 4),
        ("[ftp://a]\npassword = x\n[ftp://b]\npassword = x\n[ftp://a]\nuser = y\n", 5),
        ("[ftp://a]\npassword = x\n[FTP://A/]\nuser = hunter2\n", 3),
        ("[ftp://a]\npassword = hunter2\nPassword = y\n", 3),
        ("[ftp://a]\nuser = x\npassword =\n", 3),
        ("[ftp://a]\nuser = x\npassword = hunter2\n  hunter2\n", 3),
        ("[ftp://a]\nuser = x\npass word = hunter2\n", 3),
        ("# why\n[just a name]\npassword = hunter2\n", 2),
        ("# why\n[ftp://me:hunter2@host]\npassword = hunter2\n", 2),
    ],
)
def test_a_mistake_is_named_with_its_line_and_repeats_no_secret(tmp_path: Path, text: str, line: int) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        find_credentials(tmp_path, "ftp://elsewhere", {})
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert "hunter2" not in str(caught.value)


PLUGIN = """
from tklbam_core.api import TargetError, hookimpl
asked = []

@hookimpl
def tklbam_storage_target(request):
    asked.append(request)
    raise TargetError("no target, but asked")
"""


def test_a_plugin_gets_what_belongs_to_its_address_alone(
    tmp_path: Path, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib

    install("asking-storage", {"storage": {"asking": "asking_storage"}}, asking_storage=PLUGIN)
    monkeypatch.setenv("TKLBAM_CONF", str(tmp_path))
    write(tmp_path, "[asking://host]\nuser = me\npassword = from file\n")
    redactor = Redactor()
    context = Context(
        host=Host.from_environment(tmp_path),
        registry=Registry(tmp_path / "registry"),
        plugins=Plugins(),
        warn=print,
        note=print,
        passwords={"asking://host/c": "from conf"},
        redactor=redactor,
    )
    asked = importlib.import_module("asking_storage").asked

    def given(address: str, *hub: object) -> dict[str, str]:
        with pytest.raises(Exception, match="but asked"):
            context.target(address, *hub)  # type: ignore[arg-type]
        assert "@" not in asked[-1].address
        return dict(asked[-1].credentials)

    assert given("asking://host/a") == {"user": "me", "password": "from file"}
    assert given("asking://:in%20url@host/a") == {"user": "me", "password": "in url"}
    assert given("asking://host/c") == {"user": "me", "password": "from conf"}
    assert given("asking://other/a") == {}
    hub = Credentials(kind="iamrole", fields={"secretkey": "hub's own"})
    assert given("asking://host/hub", {"type": hub.kind, **hub.fields}) == {"type": "iamrole", "secretkey": "hub's own"}
    given("asking://host/hub", hub.fields, lambda: {"secretkey": "renewed"})
    asked[-1].renew()
    for secret in ("from file", "in url", "from conf", "hub's own", "renewed"):
        assert redactor.scrub(f"<{secret}>") == "<***>"
    assert "from file" not in repr(asked)
