"""status, config, list and stsagent: what people and programs read."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.unit.command_line import Tklbam, tklbam  # noqa: F401 - fixture
from tests.unit.plugin_folder import Install, install  # noqa: F401 - fixture
from tklbam_core.api.models import Account
from tklbam_core.keys import packet
from tklbam_core.registry import HubBackup, Registry
from tklbam_core.sessions import SessionRecord
from tklbam_core.status import age

# ruff: noqa: F811

NOW = datetime.now(UTC).replace(microsecond=0)
GOOD = SessionRecord(
    started=NOW - timedelta(hours=3, seconds=12),
    ended=NOW - timedelta(hours=3),
    address="file:///srv/backup",
    outcome="complete",
    kind="incremental",
    session=NOW - timedelta(hours=3),
    chain_started=NOW - timedelta(days=10),
    chain_length=11,
    size=3 << 20,
    volumes=1,
    verified=True,
)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "root"
    (root / "etc/tklbam").mkdir(parents=True)
    monkeypatch.setenv("TKLBAM_ROOT", str(root))
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    return root


@pytest.fixture
def registry(root: Path) -> Registry:
    return Registry(root / "var/lib/tklbam")


@pytest.fixture
def ready(registry: Registry) -> Registry:
    registry.keep_secret("s")
    registry.write_key_packet(packet.seal("s", ""))
    with registry.new_profile() as directory:
        (directory / "profile_id").write_text("debian-12")
    return registry


def conf(root: Path, text: str) -> None:
    (root / "etc/tklbam/conf").write_text(text)


# --- status: what programs read --------------------------------------------------------------------------------------


def test_short_forms_and_exit_codes_never_change(tklbam: Tklbam, registry: Registry) -> None:
    done = tklbam("status", "--short")
    assert (done.status, done.out) == (11, "TKLBAM (Backup and Migration):  NOT INITIALIZED\n")
    registry.keep_secret("s")
    done = tklbam("status", "--short")
    assert (done.status, done.out) == (10, "TKLBAM (Backup and Migration):  NO BACKUPS\n")
    ended = datetime(2026, 11, 25, 3, 0, 59, tzinfo=UTC)
    registry.sessions.add(replace(GOOD, started=ended - timedelta(minutes=1), ended=ended))
    done = tklbam("status", "--short")
    assert (done.status, done.out) == (0, "TKLBAM:  Backup to file:///srv/backup, Updated Wed 2026-11-25 03:00\n")
    registry.write_hub_backup(HubBackup(backup_id="7", address="file:///srv/backup/"))
    assert tklbam("status", "--short").out == "TKLBAM:  Backup ID #7, Updated Wed 2026-11-25 03:00\n"


def test_classic_registry_with_a_hub_backup_and_no_records_is_ok(tklbam: Tklbam, registry: Registry) -> None:
    registry.keep_secret("s")
    updated = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
    registry.write_hub_backup(HubBackup(backup_id="7", address="s3://b/x", updated=updated))
    done = tklbam("status", "--short")
    assert (done.status, done.out) == (0, "TKLBAM:  Backup ID #7, Updated Wed 2026-11-25 03:00\n")


def test_only_a_complete_session_counts(tklbam: Tklbam, ready: Registry) -> None:
    ready.sessions.add(replace(GOOD, outcome="incomplete", missing=("mysql:shop: access denied",)))
    ready.sessions.add(replace(GOOD, started=NOW, outcome="failed", error="no room"))
    done = tklbam("status")
    assert done.status == 10
    assert "FAILED" in done.out
    assert "no room" in done.out
    assert "mysql:shop: access denied" in done.out
    assert "Last complete none yet" in " ".join(done.out.split())


# --- status: what people read ----------------------------------------------------------------------------------------


def test_full_form_tells_all_there_is_to_know(tklbam: Tklbam, ready: Registry, root: Path) -> None:
    conf(root, "full-backup 2W\naddress file:///srv/backup\naddress s3://second/place\n")
    ready.sessions.add(replace(GOOD, warnings=("clock jumped",)))
    done = tklbam("status")
    assert done.status == 0
    words = " ".join(done.out.split())
    due = (NOW - timedelta(days=10) + timedelta(days=14)).strftime("%a %Y-%m-%d %H:%M")
    for fact in (
        "Target file:///srv/backup Last session complete, incremental, 3 hours ago (",
        "3.0 MB in 12 s",
        "Chain 11 sessions, the full one of " + (NOW - timedelta(days=10)).strftime("%a %Y-%m-%d %H:%M"),
        f"Next full at the first backup after {due}",
        "Verified yes",
        "Warning clock jumped",
        "Target s3://second/place Last session none yet",
        "Profile debian-12",
        "Key has no passphrase",
    ):
        assert fact in words, (fact, done.out)
    assert "\x1b" not in done.out
    assert max(map(len, done.out.splitlines())) <= 80


def test_damage_is_told(tklbam: Tklbam, ready: Registry, root: Path) -> None:
    conf(root, "full-backup whenever\n")
    ready.sessions.add(replace(GOOD, verified=False, verification_problems=("volume 3 is not on the target",)))
    (root / "var/lib/tklbam/sessions/29990101T000000000000Z-0000.json").write_text("{")
    (root / "var/lib/tklbam/key").write_text("not a key!")
    ready.write_backup_resume({})
    done = tklbam("status")
    assert done.status == 0
    words = " ".join(done.out.split())
    assert "NO, the session is damaged: volume 3 is not on the target" in words
    assert "29990101T000000000000Z-0000.json: not a session record" in words
    assert f"{root}/etc/tklbam/conf:1: full-backup 'whenever'" in words
    assert "lib/tklbam/key: the key packet is damaged" in words
    assert "Interrupted the last backup did not end" in words


def test_chain_grown_too_long_draws_advice(tklbam: Tklbam, ready: Registry) -> None:
    ready.sessions.add(replace(GOOD, chain_length=500))
    assert "Advice the chain has 500 sessions" in " ".join(tklbam("status").out.split())
    ready.sessions.add(replace(GOOD, started=NOW, chain_length=30))
    assert "Advice" not in tklbam("status").out


def test_json_holds_everything(tklbam: Tklbam, ready: Registry, root: Path) -> None:
    conf(root, "address file:///srv/backup\n")
    ready.sessions.add(GOOD)
    ready.sessions.add(replace(GOOD, started=NOW, outcome="incomplete", missing=("a",)))
    done = tklbam("status", "--json")
    assert done.status == 0
    found = json.loads(done.out)
    assert (found["status"], found["exit_code"], found["profile_id"]) == ("ok", 0, "debian-12")
    (target,) = found["targets"]
    assert target["last"]["missing"] == ["a"]
    assert SessionRecord.from_json(target["last_complete"]) == GOOD
    assert datetime.fromisoformat(target["next_full"]) == NOW - timedelta(days=10) + timedelta(days=30)
    assert found["key_protected"] is False
    assert json.loads(tklbam("status", "--json", "--root", "/nonexistent").out)["status"] == "not initialized"


def test_password_of_an_address_is_never_shown(tklbam: Tklbam, ready: Registry, root: Path) -> None:
    conf(root, "address ftp://me:hunter2@host/x\n")
    ready.sessions.add(replace(GOOD, address="ftp://me@host/x"))
    for arguments in (["status"], ["status", "--json"], ["config"], ["config", "--json"]):
        done = tklbam(*arguments)
        assert "hunter2" not in done.out + done.err
        assert "ftp://me" in done.out


def test_ages_in_words() -> None:
    for seconds, words in (
        (5, "5 seconds ago"), (119, "119 seconds ago"), (120, "2 minutes ago"), (3 * 3600, "3 hours ago"),
        (47 * 3600, "47 hours ago"), (50 * 3600, "2 days ago"), (-3600, "in the future"), (-2, "0 seconds ago"),
    ):  # fmt: skip
        assert age(NOW, NOW + timedelta(seconds=seconds)) == words


def test_status_imports_nothing_heavy_and_no_plugin(ready: Registry, root: Path) -> None:
    ready.sessions.add(GOOD)
    conf(root, "address file:///srv/backup\n")
    code = (
        "import sys\nfrom tklbam_core.cli.main import status\n"
        "try: status()\nexcept SystemExit: pass\n"
        "heavy = {'pydantic', 'stevedore', 'rich', 'cryptography', 'asyncio', 'tklbam_storage_local', 'boto3'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Updated" in done.stdout
    assert done.stderr == "[]\n"


# --- config ----------------------------------------------------------------------------------------------------------


def test_config_shows_what_is_in_force_and_why(tklbam: Tklbam, root: Path) -> None:
    conf(root, "volsize 50\naddress file:///a\naddress file:///b\nchecksum yes\n")
    (root / "etc/tklbam/overrides").write_text("/srv -/srv/cache\n")
    done = tklbam("config")
    assert done.status == 0
    lines = [line.split() for line in done.out.splitlines()]
    where = f"{root}/etc/tklbam/conf"
    assert ["volsize", "50", f"{where}:1"] in lines
    assert ["checksum", "yes", f"{where}:4"] in lines
    assert ["full-backup", "1M", "default"] in lines
    address = lines.index(["address", f"{where}:2,", f"{where}:3"])
    assert lines[address + 1 : address + 3] == [["file:///a"], ["file:///b"]]
    assert ["/srv"] in lines
    found = json.loads(tklbam("config", "--json").out)
    assert found["volsize"] == {"value": 50, "origin": f"{where}:1"}
    assert found["overrides"]["value"] == ["/srv", "-/srv/cache"]


def test_bad_configuration_is_told_with_its_line(tklbam: Tklbam, root: Path) -> None:
    conf(root, "volsize 50\nfull-backup soon\n")
    done = tklbam("config")
    assert done.status == 2
    assert done.out == ""
    assert f"error: {root}/etc/tklbam/conf:2: full-backup 'soon': allowed are `now` or" in done.err


# --- list and stsagent -----------------------------------------------------------------------------------------------

HUB = """
from datetime import UTC, datetime
from tklbam_core.api import BackupRecord, Credentials, hookimpl

@hookimpl
def tklbam_records_list(account):
    assert account.subkey == "SUB"
    yield BackupRecord(
        backup_id="12", address="s3://b/12", key="KEY12", profile_id="turnkey-core-18.0-bookworm-amd64",
        created=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), size=3 * 2**20 + 2**19, label="web & mail  server",
        server_id="srv", no_passphrase=True,
    )
    yield BackupRecord(
        backup_id="7", address="s3://b/7", key="KEY7", profile_id="debian-12",
        created=datetime(2025, 12, 31, tzinfo=UTC), updated=datetime(2026, 11, 25, 3, tzinfo=UTC), size=123456789012,
        label="100% \\u00fc",
    )

@hookimpl
def tklbam_records_credentials(account):
    fields = {"accesskey": "A", "secretkey": "S", "sessiontoken": "T", "expiration": "2026-12-01T00:00:00Z"}
    return Credentials(kind=KIND, fields=fields)

KIND = "iamrole"
"""


@pytest.fixture
def linked(install: Install, registry: Registry) -> Path:
    registry.write_account(Account(subkey="SUB"))
    return install("test-hub", {"records": {"test": "test_hub"}}, test_hub=HUB)


def test_list_prints_the_columns_programs_read(tklbam: Tklbam, linked: Path) -> None:
    assert tklbam("list").out == (
        "# ID  SKPP  Created     Updated     Size (MB)  Label\n"
        "   7  Yes   2025-12-31  2026-11-25  117737.57  100% ü\n"
        "  12  No    2026-01-02  -           3.50       web & mail  server\n"
    )


def test_list_with_a_format(tklbam: Tklbam, linked: Path) -> None:
    text = r"%id=%backup_id\t%{label}|%profile_id|%turnkey_version|%server_id|%created|%updated|%size|%address|%key"
    text += "|%skpp%%"
    first, second = tklbam("list", text).out.splitlines()
    assert first == ("7=7\t100% ü|debian-12|debian-12|-|2025-12-31|2026-11-25|117737.57|s3://b/7|KEY7|Yes%")
    assert second.startswith("12=12\tweb & mail  server|turnkey-core-18.0-bookworm-amd64|")
    assert tklbam("list", r"%{id}x\n").out == "7x\n\n12x\n\n"
    for bad in ("%nothing", "%{nothing}", "100%"):
        done = tklbam("list", bad)
        assert done.status == 2
        assert "stands for nothing" in done.err


def test_list_as_json(tklbam: Tklbam, linked: Path) -> None:
    assert [row["backup_id"] for row in json.loads(tklbam("list", "--json").out)] == ["7", "12"]


def test_stsagent_prints_the_four_fields_in_one_line(tklbam: Tklbam, linked: Path) -> None:
    assert tklbam("internal", "stsagent").out == "A S T 2026-12-01T00:00:00Z\n"


def test_stsagent_refuses_lasting_credentials(tklbam: Tklbam, install: Install, registry: Registry) -> None:
    registry.write_account(Account(subkey="SUB"))
    install("test-hub", {"records": {"test": "test_hub"}}, test_hub=HUB.replace('"iamrole"', '"iamuser"'))
    done = tklbam("internal", "stsagent")
    assert (done.status, done.out) == (1, "")
    assert "iamuser" in done.err


@pytest.mark.parametrize("command", [["list"], ["internal", "stsagent"]])
def test_without_hub_plugin_or_account_the_error_says_what_is_missing(
    tklbam: Tklbam, install: Install, registry: Registry, command: list[str]
) -> None:
    conf = registry.directory.parents[2] / "etc/tklbam/conf"
    conf.parent.mkdir(parents=True, exist_ok=True)
    conf.write_text("disable-plugin tklbam-profiles-hub\n")
    done = tklbam(*command)
    assert done.status == 1
    assert "Install tklbam-profiles-hub" in done.err
    install("test-hub", {"records": {"test": "test_hub"}}, test_hub=HUB)
    done = tklbam(*command)
    assert done.status == 1
    assert "tklbam init API-KEY" in done.err
