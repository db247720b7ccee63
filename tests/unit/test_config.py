"""The configuration: what it takes, where each value came from, and how it says no."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tklbam_core.api.errors import ConfigError
from tklbam_core.conf_syntax import read_overrides, read_settings, values
from tklbam_core.conf_values import CacheSize, without_password
from tklbam_core.config import Config, options
from tklbam_core.host import Host
from tklbam_core.schedule import SENSIBLE_CHAIN, Interval, chain_advice, full_is_due, next_full

ROOT = Path(__file__).parents[2]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    (tmp_path / "etc/tklbam").mkdir(parents=True)
    return Host(tmp_path, tmp_path / "etc/tklbam", tmp_path / "var/lib/tklbam", tmp_path / "etc/tklbam/hooks.d")


def write(host: Host, conf: str = "", overrides: str = "") -> None:
    (host.conf_dir / "conf").write_text(conf)
    (host.conf_dir / "overrides").write_text(overrides)


def refused(host: Host, **command_line: object) -> str:
    with pytest.raises(ConfigError) as caught:
        Config.load(host, **command_line)
    assert caught.value.exit_code == 2
    return caught.value.what


def test_no_configuration_at_all_is_the_documented_defaults(host: Host) -> None:
    config = Config.load(host)
    assert str(config.full_backup) == "1M"
    assert config.full_backup.seconds == 30 * 86400
    assert (config.volsize, config.s3_parallel_uploads, config.keep_full) == (25, 1, 0)
    assert config.restore_cache_size.bytes_of(1000) == 500
    assert config.restore_cache_dir == host.root / "var/cache/tklbam/restore"
    assert {config.backup_skip_files, config.backup_skip_packages, config.backup_skip_database} == {False}
    assert config.force_profile is None
    assert config.addresses == config.overrides == ()
    assert {row.origin for row in config.rows()} == {"default"}


def test_every_option_in_force_and_its_line(host: Host) -> None:
    write(
        host,
        """\
# comment
  full-backup\t12h   # after a value, too
volsize 50
s3-parallel-uploads 4
restore-cache-size 2GB
restore-cache-dir /big/cache
backup-skip-files TRUE
backup-skip-packages 0
backup-skip-database yes
force-profile turnkey-core-18.0-bookworm-amd64
address file:///srv/a#b
address s3://bucket/name
keep-full 3
checksum on
disable-plugin mysql
disable-plugin storage:s3
allow-missing-database 1
extras-dir /data/extras
database-option mysql:host=db one
database-option mysql:host=db two
database-option pgsql:password-file=/root/pw
storage-option s3-endpoint=https://storage.example.org
""",
    )
    config = Config.load(host)
    assert config.full_backup == Interval("12h", 12 * 3600)
    assert (config.volsize, config.s3_parallel_uploads, config.keep_full) == (50, 4, 3)
    assert config.restore_cache_size.bytes_of(1) == 2 << 30
    assert config.restore_cache_dir == host.root / "big/cache"
    assert config.extras_dir == host.root / "data/extras"
    assert (config.backup_skip_files, config.backup_skip_packages, config.backup_skip_database) == (True, False, True)
    assert config.addresses == ("file:///srv/a#b", "s3://bucket/name")
    assert config.disable_plugin == ("mysql", "storage:s3")
    assert config.checksum
    assert config.allow_missing_database
    assert config.database_options == {"mysql": {"host": "db two"}, "pgsql": {"password-file": "/root/pw"}}
    assert config.storage_options == {
        "network-timeout": "60",
        "network-retries": "5",
        "s3-endpoint": "https://storage.example.org",
    }
    conf = host.conf_dir / "conf"
    assert config.origins("full-backup") == [f"{conf}:2"]
    assert config.origins("address") == [f"{conf}:11", f"{conf}:12"]


def test_last_of_a_repeated_option_wins_as_when_people_append(host: Host) -> None:
    write(host, "volsize 50\nvolsize 100\n")
    config = Config.load(host)
    assert config.volsize == 100
    assert config.origins("volsize") == [f"{host.conf_dir}/conf:2"]


def test_command_line_wins_and_says_so(host: Host) -> None:
    write(host, "volsize 50\naddress file:///a\naddress file:///b\nbackup-skip-files yes\n", "/a -/b")
    config = Config.load(
        host,
        volsize="10",
        address=("s3://c",),
        full_backup=None,
        backup_skip_files=False,
        checksum=True,
        overrides=["-mysql:x"],
    )
    assert config.volsize == 10
    assert config.addresses == ("s3://c",)
    assert config.backup_skip_files, "a flag that is not given leaves the file's word"
    assert config.checksum
    assert config.origins("volsize") == config.origins("checksum") == config.origins("address") == ["command line"]
    assert config.overrides == ("/a", "-/b", "-mysql:x")


def test_paths_on_the_command_line_are_the_callers(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert Config.load(host, restore_cache_dir="here").restore_cache_dir == tmp_path / "here"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("full-backup 1X", "m h D W M Y"),
        ("full-backup", "m h D W M Y"),
        ("full-backup 0D", "m h D W M Y"),
        ("full-backup 1 M", "m h D W M Y"),
        ("full-backup 999999999Y", "m h D W M Y"),
        ("volsize 0", "from 1 to 10000"),
        ("volsize 25MB", "from 1 to 10000"),
        ("volsize ٣", "from 1 to 10000"),
        ("volsize -1", "from 1 to 10000"),
        ("s3-parallel-uploads many", "from 1 to 64"),
        ("restore-cache-size 0%", "1%…100%"),
        ("restore-cache-size 101%", "1%…100%"),
        ("restore-cache-size 5", "MB or GB"),
        ("restore-cache-dir cache", "absolute paths"),
        ("extras-dir ./x", "absolute paths"),
        ("backup-skip-files maybe", "yes, true, on, 1"),
        ("backup-skip-database", "yes, true, on, 1"),
        ("force-profile two words", "a profile id"),
        ("address /srv/backup", "file:///srv/backup"),
        ("address s3:", "URLs"),
        ("address", "URLs"),
        ("keep-full no", "from 0 to"),
        ("disable-plugin a b", "KIND:NAME"),
        ("database-option host=x", "ENGINE:KEY=VALUE"),
        ("storage-option x", "KEY=VALUE"),
    ],
)
def test_bad_line_names_file_line_option_and_what_is_allowed(host: Host, line: str, says: str) -> None:
    write(host, f"# first\n{line}\n")
    message = refused(host)
    assert message.startswith(f"{host.conf_dir}/conf:2: {line.split()[0]}")
    assert says in message


def test_unknown_option_names_near_ones(host: Host) -> None:
    write(host, "fullbackup 1M\nvol-size 3\nxyzzy 1\n")
    first, second, third = refused(host).split("\n")
    assert "conf:1: there is no option 'fullbackup'; did you mean full-backup" in first
    assert "volsize" in second
    assert "known are address, full-backup" in third


def test_all_mistakes_are_told_at_once(host: Host) -> None:
    write(host, "volsize x\naddress ok:x\naddress bad\nnonsense 1\n", "/fine\nbad mysql:/t\n")
    lines = refused(host, s3_parallel_uploads="z").split("\n")
    places = sorted(line.split(": ")[0].removeprefix(f"{host.conf_dir}/") for line in lines)
    assert places == ["command line", "conf:1", "conf:3", "conf:4", "overrides:2", "overrides:2"]


def test_value_replaced_by_a_later_line_is_not_held_against_anyone(host: Host) -> None:
    write(host, "volsize x\nvolsize 5\n")
    assert Config.load(host).volsize == 5


def test_passwords_are_refused_and_never_repeated(host: Host) -> None:
    write(host, "database-option mysql:password=hunter2\nstorage-option s3-secret-key=hunter2\n")
    message = refused(host)
    assert "password-file=PATH" in message
    assert "s3-secret-key-file=PATH" in message
    assert "hunter2" not in message


def test_password_in_an_address_is_moved_out_and_not_shown(host: Host) -> None:
    write(host, "address ftp://user:hun@ter2@host/path\n")
    config = Config.load(host)
    assert config.addresses == ("ftp://user@host/path",)
    assert config.passwords == {"ftp://user@host/path": "hun@ter2"}
    shown = next(row.value for row in config.rows() if row.option == "address")
    assert shown == ["ftp://user@host/path"]
    assert "ter2" not in repr(config)
    assert without_password("sftp://me@host/a:b@c") == "sftp://me@host/a:b@c"
    write(host, "address ftp://user:hunter2@host/two words\n")
    assert "hunter2" not in refused(host)


def test_overrides_are_rules_several_a_line_with_comments(host: Host) -> None:
    write(host, "", "#all\n/srv -/srv/cache # not this\n\n\tmysql:shop/orders -pgsql:test* /a#b\n")
    assert Config.load(host).overrides == ("/srv", "-/srv/cache", "mysql:shop/orders", "-pgsql:test*", "/a#b")
    assert [(word.text, word.line) for word in read_overrides(host.conf_dir)][-1] == ("/a#b", 4)


@pytest.mark.parametrize("rule", ["srv", "-", "mysql:", "-mysql:/t", "mysql:db/", "--/x", "a b:c", ":x"])
def test_bad_override_names_its_line(host: Host, rule: str) -> None:
    write(host, "", f"/ok\n{rule}\n")
    assert f"{host.conf_dir}/overrides:2: " in refused(host)


def test_unreadable_configuration_is_a_clear_error(host: Host) -> None:
    (host.conf_dir / "conf").mkdir()
    assert "can't be read: Is a directory" in refused(host)


def test_bytes_that_are_not_utf8_are_carried(host: Host) -> None:
    (host.conf_dir / "overrides").write_bytes(b"/caf\xe9 \xff:x\n/z\r\n")
    with pytest.raises(ConfigError):
        Config.load(host)
    (host.conf_dir / "overrides").write_bytes(b"/caf\xe9\n/z\r\n")
    assert Config.load(host).overrides == (b"/caf\xe9".decode("utf-8", "surrogateescape"), "/z")


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_no_content_makes_loading_fail_in_another_way(host: Host, content: bytes) -> None:
    (host.conf_dir / "conf").write_bytes(content)
    (host.conf_dir / "overrides").write_bytes(content)
    with contextlib.suppress(ConfigError):
        Config.load(host)


def test_light_reading_needs_no_validation(host: Host) -> None:
    write(host, "disable-plugin mysql\nvolsize nonsense\ndisable-plugin s3\n")
    assert values(read_settings(host.conf_dir), "disable-plugin") == ["mysql", "s3"]


def test_documentation_and_sample_name_every_option_and_its_default() -> None:
    documented = (ROOT / "docs/formats/conf.md").read_text()
    sample = (ROOT / "share/conf/tklbam.conf").read_text()
    defaults = {row.option: row.value for row in Config().rows()}
    for option in options():
        row = next(line for line in documented.splitlines() if line.startswith("|") and f"`{option}`" in line)
        default = defaults[option]
        written = "no" if default is False else str(default or ("0" if default == 0 else ""))
        assert (f"| `{written}` |" in row) if default not in (None, []) else "| |" in row, row
        assert any(line.startswith(f"#{option} ") for line in sample.splitlines()), f"{option} is not in the sample"


def test_sample_configuration_is_valid_with_every_line_switched_on(host: Host) -> None:
    sample = (ROOT / "share/conf/tklbam.conf").read_text()
    write(host, sample)
    assert {row.origin for row in Config.load(host).rows()} == {"default"}
    switched = "".join(
        line[1:] if line.startswith("#") and line[1:2].isalpha() else line for line in sample.splitlines(True)
    )
    write(host, switched)
    config = Config.load(host)
    assert all(config.origins(option) for option in options())


# --- ages, and the next full backup ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("now", 0), ("5m", 300), ("2h", 7200), ("1D", 86400), ("1W", 604800), ("1M", 2592000), ("1Y", 31536000)],
)
def test_ages_mean_what_the_engine_means_by_them(text: str, seconds: int) -> None:
    assert Interval.parse(text).seconds == seconds


def test_full_backup_is_due_when_the_chain_is_old_enough() -> None:
    last = datetime(2026, 1, 1, tzinfo=UTC)
    week = Interval.parse("1W")
    assert next_full(last, week) == last + timedelta(days=7)
    assert not full_is_due(last, week, last + timedelta(days=7, seconds=-1))
    assert full_is_due(last, week, last + timedelta(days=7))
    assert full_is_due(None, week)
    assert full_is_due(datetime.now(UTC) + timedelta(days=1), "now")
    assert not full_is_due(datetime.now(UTC), "1M")


def test_long_chain_draws_advice() -> None:
    assert chain_advice(SENSIBLE_CHAIN, Interval.parse("1M")) == ""
    assert "full-backup 1W" in chain_advice(SENSIBLE_CHAIN + 1, Interval.parse("1M"))


def test_cache_size_of_free_space() -> None:
    assert CacheSize.parse("10%").bytes_of(1000) == 100
    assert CacheSize.parse("3MB").bytes_of(1000) == 3 << 20
    assert CacheSize.parse("1 gb").bytes_of(0) == 1 << 30
