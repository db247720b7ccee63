"""What list, check and status say of targets: clocks, prices, sessions, tests; and what they leave alone."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.unit.command_line import Tklbam, tklbam  # noqa: F401 - fixture
from tests.unit.plugin_folder import Install, install  # noqa: F401 - fixture
from tklbam_core.price import Cost, Price, cost_at, price_at
from tklbam_core.registry import HubBackup, Registry
from tklbam_core.sessions import SessionRecord
from tklbam_core.target_records import CheckNote, RestoreTest, TargetRecord, TargetRecords

# ruff: noqa: F811

NOW = datetime.now(UTC).replace(microsecond=0)

STORAGE = """
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tklbam_core.api import hookimpl
from tklbam_storage_local.target import LocalTarget

class Far(LocalTarget):
    listings = 0
    def clock(self):
        return datetime.now(UTC) + timedelta(seconds=SKEW)
    def free_bytes(self):
        return 5 << 30
    def files(self):
        Far.listings += 1
        return super().files()
    def cautions(self):
        return ["it is far away"]

@hookimpl
def tklbam_storage_target(request):
    return Far(request.address, Path(PLACE)) if request.address.startswith("far:") else None
"""

LISTENER = """
import os
from pathlib import Path
from tklbam_core.api import hookimpl

@hookimpl
def tklbam_lifecycle(event):
    with open(PLACE, "a") as told:
        told.write(f"{event.operation} {event.stage}\\n")
    if event.stage == "inspect" and event.operation == "backup":
        os.unlink(event.root / "srv/gone")
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tklbam: Tklbam) -> Path:
    root = tmp_path / "root"
    for folder in ("etc/tklbam", "var/log", "srv"):
        (root / folder).mkdir(parents=True)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "srv/text").write_text("text\n")
    monkeypatch.setenv("TKLBAM_ROOT", str(root))
    assert tklbam("init", "--solo", "--force-profile", "empty").status == 0
    return root


def conf(root: Path, *lines: str) -> None:
    (root / "etc/tklbam/conf").write_text("".join(f"{line}\n" for line in lines))


# --- prices ----------------------------------------------------------------------------------------------------------


def test_the_nearest_price_counts_and_of_several_the_last() -> None:
    lines = ["0.02 USD", "s3://b 1", "s3://b/web1/ 0.5 EUR", "0.03", "s3://b/we 9"]
    prices = [Price.parse(line) for line in lines]

    def at(address: str) -> str:
        return str(price_at(address, prices))

    assert at("file:///x") == "0.03"
    assert at("s3://b/web1") == at("s3://b/web1/x") == "s3://b/web1/ 0.5 EUR"
    assert at("s3://b/web12") == at("s3://b/") == "s3://b 1"
    assert at("s3://bb") == "0.03"
    assert price_at("file:///x", prices[1:3]) is None


@pytest.mark.parametrize("text", ["", "USD", "-1", "1,5", "s3://b", "1 2", "1e9", "0.02 dollars", "/srv 1"])
def test_what_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="allowed is"):
        Price.parse(text)


def test_costs_are_estimates_by_the_month() -> None:
    assert str(Price.parse("0.023 USD").of(100 << 30)) == "about 2.30 USD a month"
    assert str(Price.parse("0.023").of(1 << 20)) == "less than 0.01 a month"
    assert cost_at("file:///x", 1 << 30, [Price.parse("2 EUR")]) == Cost(Decimal(2), "EUR")
    assert cost_at("file:///x", 1 << 30, []) is None


# --- records ---------------------------------------------------------------------------------------------------------


def test_a_target_s_record_comes_back_and_is_documented(tmp_path: Path) -> None:
    records = TargetRecords(tmp_path / "targets", lambda: None)
    record = TargetRecord(
        address="ftp://me@host/x",
        mount="/mnt",
        check=CheckNote(time=NOW, ok=False, chains=1, sessions=2, size=3, free=4, clock_skew=-5, problems=("a",)),
        restore_test=RestoreTest(time=NOW, outcome="incomplete", session=NOW, files=1, problems=("b",)),
    )
    records.write(record)
    assert records.read("ftp://me:secret@host/x/") == replace(record, address="ftp://me@host/x/")
    assert records.read("ftp://me@host/y") == TargetRecord(address="ftp://me@host/y")
    (path,) = (tmp_path / "targets").iterdir()
    assert path.stat().st_mode & 0o7777 == 0o600
    assert "secret" not in path.read_text()
    page = (Path(__file__).parents[2] / "docs/formats/target-record.md").read_text()
    for cls in (TargetRecord, CheckNote, RestoreTest):
        for field in dataclasses.fields(cls):
            assert f"`{field.name}`" in page, field.name


def test_a_damaged_record_is_a_warning_of_status_and_the_rest_is_shown(tklbam: Tklbam, root: Path) -> None:
    conf(root, "address file:///srv/x", "price soon")
    registry = Registry(root / "var/lib/tklbam")
    registry.targets.write(TargetRecord(address="file:///srv/x"))
    (path,) = (root / "var/lib/tklbam/targets").iterdir()
    path.write_text('{"format": 2, "address": 3}')
    shown = " ".join(tklbam("status").out.split())
    assert "not a target's record: 'address' is 3" in shown
    assert "conf:2: price 'soon': allowed is [ADDRESS] NUMBER" in shown
    assert "Target file:///srv/x Last session none yet" in shown


# --- status ----------------------------------------------------------------------------------------------------------


def test_status_tells_size_cost_and_tests_from_what_is_known(tklbam: Tklbam, root: Path) -> None:
    conf(root, "address s3://b/web1", "price s3://b 0.1 EUR")
    registry = Registry(root / "var/lib/tklbam")
    stored = SessionRecord(
        started=NOW - timedelta(hours=3), ended=NOW - timedelta(hours=3), address="s3://b/web1", outcome="complete",
        kind="full", session=NOW, target_size=30 << 30,
    )  # fmt: skip
    registry.sessions.add(stored)
    shown = " ".join(tklbam("status").out.split())
    assert "Size in all 30.0 GB; about 3.00 EUR a month (3 hours ago)" in shown
    assert "Restore never tested; `tklbam check --restore-test` does it" in shown
    test = RestoreTest(time=NOW - timedelta(days=3), outcome="complete", session=NOW, files=1234, compared=1200)
    check = CheckNote(time=NOW, ok=True, sessions=2, size=40 << 30, free=1 << 40)
    registry.targets.write(TargetRecord(address="s3://b/web1", check=check, restore_test=test))
    done = tklbam("status")
    shown = " ".join(done.out.split())
    assert "Size in all 40.0 GB; about 4.00 EUR a month; 1.0 TB free (" in shown
    assert "Restore tested 3 days ago: 1,234 files of the session of" in shown
    assert "1,200 compared" in shown
    assert max(map(len, done.out.splitlines())) <= 80
    bad = replace(test, outcome="failed", problems=("volume 3 is damaged",))
    registry.targets.write(TargetRecord(address="s3://b/web1", check=replace(check, ok=False), restore_test=bad))
    shown = " ".join(tklbam("status").out.split())
    assert "Restore FAILED 3 days ago: volume 3 is damaged" in shown
    assert "NOT WELL:" in shown
    (target,) = json.loads(tklbam("status", "--json").out)["targets"]
    assert target["cost"] == {"amount": 4.0, "currency": "EUR"}
    assert target["restore_test"]["outcome"] == "failed"


# --- plugins' targets ------------------------------------------------------------------------------------------------


@pytest.fixture
def far(install: Install, root: Path, tmp_path: Path) -> str:
    source = STORAGE + f"SKEW = 3600\nPLACE = '{tmp_path}/far'\n"
    install("far-storage", {"storage": {"far": "far_storage"}}, far_storage=source)
    conf(root, "address far://away/web1", "price 10 USD")
    return "far://away/web1"


@pytest.mark.root
def test_clock_cautions_free_space_and_cost_are_told(tklbam: Tklbam, root: Path, far: str) -> None:
    assert tklbam("backup").status == 0
    assert tklbam("backup").status == 0
    sys.modules["far_storage"].Far.listings = 0
    done = tklbam("check")
    assert sys.modules["far_storage"].Far.listings == 1, "however many sessions there are"
    assert done.status == 0
    assert re.search(r"warning: its clock is 3,[56]\d\d s ahead of this machine's; set both by NTP", done.err)
    assert "warning: it is far away" in done.err
    assert re.search(r"2 sessions in 1 chain, the newest of .*; every volume is there", done.out)
    assert re.search(r"size +\d\.\d KB; less than 0.01 USD a month; 5.0 GB free", done.out)
    done = tklbam("list")
    assert done.status == 0
    assert max(map(len, done.out.splitlines())) <= 80
    assert re.search(r"^  \w{3} [\d-]{10} [\d:]{5}  full +\d\.\d KB  1 volume$", done.out, re.MULTILINE)
    assert re.search(
        r"^  2 sessions in 1 chain: \d\.\d KB; less than 0.01 USD a month; 5.0 GB free$", done.out, re.MULTILINE
    )
    (listed,) = json.loads(tklbam("list", "--address", far, "--json").out)
    assert [(each["kind"], each["chain"]) for each in listed["sessions"]] == [("full", 1), ("incremental", 1)]
    assert (listed["free"], listed["cost"]["currency"], listed["chains"]) == (5 << 30, "USD", 1)
    records = Registry(root / "var/lib/tklbam").sessions
    last = records.last(far)
    assert last is not None
    assert last.target_size == listed["size"]


@pytest.mark.root
def test_a_restore_test_tells_no_listener_and_knows_what_vanished(
    tklbam: Tklbam, root: Path, tmp_path: Path, install: Install, far: str
) -> None:
    (root / "srv/gone").write_text("soon\n")
    source = LISTENER + f"PLACE = '{tmp_path}/told'\n"
    install("a-listener", {"hooks": {"listener": "a_listener"}}, a_listener=source)
    done = tklbam("backup", "/srv")
    assert "1 file was gone before it could be stored" in done.err
    told = (tmp_path / "told").read_text()
    assert "backup post" in told
    done = tklbam("check", "--restore-test", "--json")
    assert done.status == 0, done
    test = json.loads(done.out)["targets"][0]["restore_test"]
    assert (test["outcome"], test["problems"]) == ("complete", [])
    assert (tmp_path / "told").read_text() == told


def test_list_goes_by_the_hub_where_there_is_one_and_says_what_it_cannot_read(
    tklbam: Tklbam, root: Path, tmp_path: Path
) -> None:
    conf(root, f"address file://{tmp_path}/nothing", f"address file://{tmp_path}/root/srv")
    done = tklbam("list")
    assert done.status == 3
    assert "FAILED" in done.out
    assert "no session" in done.out
    assert tklbam("list", "--address", f"file://{tmp_path}/nothing").status == 1
    assert tklbam("list", "--address", f"file://{tmp_path}/nothing", "%id").status == 2
    registry = Registry(root / "var/lib/tklbam")
    registry.write_hub_backup(HubBackup(backup_id="7", address="s3://b/x"))
    (root / "var/lib/tklbam/sub_apikey").write_text("SUBKEY\n")
    conf(root, "disable-plugin records:hub", f"address file://{tmp_path}/root/srv")
    assert "Install tklbam-profiles-hub" in tklbam("list").err
