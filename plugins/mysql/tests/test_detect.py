"""Whether there is a server, and how it is entered."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tklbam_core.api import ConfigError, DatabaseError, DumpRequest, Limits, RestoreRequest
from tklbam_mysql import settings
from tklbam_mysql.connection import detect, option_file
from tklbam_mysql.plugin import MysqlPlugin
from tklbam_mysql.settings import candidates, quote_option, read_option_file


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A host without a server and without client configuration, below `tmp_path`."""
    monkeypatch.setattr(settings, "SOCKETS", (str(tmp_path / "socket"),))
    monkeypatch.setattr(settings, "DATA_DIRECTORY", str(tmp_path / "data"))
    monkeypatch.setattr(settings, "CLIENT_FILES", (str(tmp_path / "my.cnf"),))
    monkeypatch.setattr(settings, "DEBIAN_FILE", str(tmp_path / "debian.cnf"))
    monkeypatch.setattr(settings.shutil, "which", lambda *_, **__: None)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_not_installed_is_nothing_to_do(nothing: Path) -> None:
    assert MysqlPlugin().tklbam_database_dump(DumpRequest(extras=nothing, limits=Limits())) is None


def test_installed_but_stopped_is_an_error(nothing: Path) -> None:
    (nothing / "data/mysql").mkdir(parents=True)
    with pytest.raises(DatabaseError, match="can't be reached") as caught:
        MysqlPlugin().tklbam_database_dump(DumpRequest(extras=nothing, limits=Limits()))
    assert "Start it" in caught.value.remedy


def test_other_roots_are_not_searched_for_servers(nothing: Path, source: Any, tools: Any, tmp_path: Path) -> None:
    (nothing / "data/mysql").mkdir(parents=True)
    assert detect({}, Path("/somewhere")) is None
    assert detect(source.options, Path("/somewhere")) is not None


def test_restore_into_another_root_says_what_it_leaves(source: Any, tools: Any, tmp_path: Path) -> None:
    source.sql("CREATE DATABASE d; CREATE TABLE d.t (id int)")
    tools.dump(source, tmp_path)
    report = MysqlPlugin().tklbam_database_restore(
        RestoreRequest(extras=tmp_path, limits=Limits(), rollback=None, root=Path("/somewhere"))
    )
    assert report is not None
    assert "not restored" in report.warnings[0]


def test_extras_without_a_dump_are_nothing_to_do(tmp_path: Path) -> None:
    request = RestoreRequest(extras=tmp_path, limits=Limits(), rollback=None)
    assert MysqlPlugin().tklbam_database_restore(request) is None


def test_server_is_found_by_debians_maintenance_account(nothing: Path, source: Any) -> None:
    source.sql(
        "CREATE USER 'debian-sys-maint'@localhost IDENTIFIED BY 'a#b\"c';"
        "GRANT ALL ON *.* TO 'debian-sys-maint'@localhost"
    )
    (nothing / "debian.cnf").write_text(
        f'[client]\nhost = localhost\nuser = debian-sys-maint\npassword = a#b"c\nsocket = {source.socket}\n'
    )
    (nothing / "data/mysql").mkdir(parents=True)
    server = detect({}, Path("/"))
    assert server is not None
    assert server.settings.user == "debian-sys-maint"


def test_client_configuration_is_read_with_its_includes(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a.cnf").write_text("[client]\nuser=included\n[mysqld]\nuser=mysql\n")
    (tmp_path / "d/no.txt").write_text("[client]\nuser=wrong\n")
    (tmp_path / "my.cnf").write_text(f"[client]\nport = 3307\npassword='it''s'\n!includedir {tmp_path}/d\n")
    found = read_option_file(str(tmp_path / "my.cnf"))
    assert (found["user"], found["port"]) == ("included", "3307")


@pytest.mark.parametrize("value", ["plain", "a b", "a#b", 'q"uote', "back\\slash", "\\n", "'", " lead", "ünï"])
def test_option_values_are_what_they_were(tmp_path: Path, value: str) -> None:
    (tmp_path / "f").write_text(f"[client]\npassword={quote_option(value)}\n")
    assert read_option_file(str(tmp_path / "f"))["password"] == value


def test_option_file_of_the_clients_is_private_and_has_no_name(source: Any) -> None:
    with option_file(next(candidates(source.options))) as descriptor:
        status = os.fstat(descriptor)
        assert (status.st_mode & 0o777, status.st_nlink) == (0o600, 0)
        assert not os.get_inheritable(descriptor)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"prot": "1"}, "unknown option"),
        ({"lock-tables": "maybe"}, "lock-tables"),
        ({"port": "x"}, "no port"),
        ({"password-file": "/none"}, "can't be read"),
    ],
)
def test_bad_options_are_named(options: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        list(candidates(options))


def test_server_on_a_port(source: Any, tools: Any, tmp_path: Path) -> None:
    source.sql("CREATE DATABASE d; CREATE TABLE d.t (id int); CREATE USER net@'127.0.0.1' IDENTIFIED BY 'n'")
    source.sql("GRANT ALL ON *.* TO net@'127.0.0.1' WITH GRANT OPTION")
    (tmp_path / "cnf").write_text(f"[client]\nuser=net\npassword=n\nhost=127.0.0.1\nport={source.port}\n")
    report = MysqlPlugin().tklbam_database_dump(
        DumpRequest(extras=tmp_path, limits=tools.limits(), options={"defaults-file": str(tmp_path / "cnf")})
    )
    assert report is not None
    assert report.server.endswith(f"127.0.0.1:{source.port}")
    assert report.failures == ()
