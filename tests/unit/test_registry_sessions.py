"""Session records: what status tells the truth from."""

from __future__ import annotations

import dataclasses
import json
import shutil
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.unit.killing import killed_at_every_step
from tklbam_core import sessions as module
from tklbam_core.registry import Registry
from tklbam_core.sessions import DatabaseNote, Outcome, SessionRecord, Sessions

START = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)


def record(number: int = 0, *, address: str = "file:///a", outcome: Outcome = "complete") -> SessionRecord:
    started = START + timedelta(hours=number)
    return SessionRecord(started=started, ended=started + timedelta(seconds=90), address=address, outcome=outcome)


FULL = SessionRecord(
    started=START,
    ended=START + timedelta(seconds=12.5),
    address="s3://bucket/é\udcff",
    outcome="incomplete",
    kind="incremental",
    session=START,
    chain_started=START - timedelta(days=3),
    chain_length=4,
    size=123,
    volumes=2,
    new_files=1,
    changed_files=2,
    deleted_files=3,
    footprint=1 << 40,
    footprint_files=77,
    verified=False,
    verification_problems=("vol 2 is too short",),
    missing=("mysql:shop",),
    warnings=("one", "two"),
    error="none",
    databases=(DatabaseNote(engine="mysql", server="MariaDB 10.11", names=("shop", "blog")),),
    profile_id="debian-12",
    backup_id="7",
    versions={"tklbam": "2.0"},
)


@pytest.fixture
def sessions(tmp_path: Path) -> Sessions:
    return Registry(tmp_path / "registry").sessions


def directory(sessions: Sessions, tmp_path: Path) -> Path:
    return tmp_path / "registry/sessions"


def test_every_member_comes_back(sessions: Sessions) -> None:
    path = sessions.add(FULL)
    assert sessions.last() == FULL
    assert FULL.seconds == 12.5
    assert path.stat().st_mode & 0o7777 == 0o600
    assert path.parent.stat().st_mode & 0o7777 == 0o700
    assert set(json.loads(path.read_bytes())) == {"format", *(f.name for f in dataclasses.fields(SessionRecord))}


def test_documentation_names_every_member() -> None:
    text = (Path(__file__).parents[2] / "docs/formats/session-record.md").read_text()
    for field in dataclasses.fields(SessionRecord):
        assert f"`{field.name}`" in text


def test_last_is_by_time_and_by_target(sessions: Sessions) -> None:
    sessions.add(record(2, outcome="failed"))
    sessions.add(record(0))
    sessions.add(record(1, outcome="incomplete"))
    sessions.add(record(3, address="file:///b", outcome="failed"))
    sessions.add(record(-1, address="file:///b"))
    assert sessions.last() == record(3, address="file:///b", outcome="failed")
    assert sessions.last("file:///a") == record(2, outcome="failed")
    assert sessions.last_stored("file:///a") == record(1, outcome="incomplete")
    assert sessions.last_complete("file:///a") == record(0)
    assert sessions.last_complete("file:///c") is None
    assert sessions.addresses() == ["file:///b", "file:///a"]


def test_order_is_by_moment_whatever_the_offset(sessions: Sessions) -> None:
    east = timezone(timedelta(hours=12))
    earlier = dataclasses.replace(record(), started=(START - timedelta(hours=1)).astimezone(east))
    sessions.add(record())
    sessions.add(earlier)
    assert sessions.last() == record()


def test_two_targets_of_one_run_have_a_record_each(sessions: Sessions) -> None:
    for address in "abcdefgh":
        sessions.add(record(address=address))
    assert sorted(sessions.addresses()) == list("abcdefgh")


def test_damaged_records_are_told_and_passed_over(sessions: Sessions, tmp_path: Path) -> None:
    good = sessions.add(record())
    text = good.read_text()
    place = directory(sessions, tmp_path)
    damaged = {
        "torn": text[: len(text) // 2],
        "empty": "",
        "list": "[]",
        "newer": text.replace('"format": 2', '"format": 3'),
        "outcome": text.replace('"complete"', '"fine"'),
        "type": text.replace('"size": 0', '"size": "0"'),
        "bool": text.replace('"size": 0', '"size": true'),
        "time": text.replace("T03:00:00+00:00", ""),
        "naive": text.replace("+00:00", ""),
        "missing": text.replace('"address"', '"addr"'),
        "deep": "[" * 100_000,
    }
    for name, content in damaged.items():
        assert content != text, name
        (place / f"2027{name}.json").write_text(content)
    (place / "2027bytes.json").write_bytes(b"\xff\xfe")
    assert sessions.last() == record()
    assert len(sessions.problems) == len(damaged) + 1
    for problem in sessions.problems:
        assert "not a session record" in problem
    assert any("2027torn.json" in problem for problem in sessions.problems)
    sessions.last()
    assert len(sessions.problems) == len(damaged) + 1, "each is told once"


def test_members_of_later_versions_are_ignored_and_absent_ones_have_defaults() -> None:
    least = {"format": 2, "started": "2026-01-01T00:00:00+00:00", "ended": "2026-01-01T00:00:01+00:00"}
    found = SessionRecord.from_json({**least, "address": "a", "outcome": "failed", "colour": "red"})
    assert found.chain_length == 0
    assert found.verified is None


def test_only_the_last_thousand_are_kept_and_the_last_good_one(
    sessions: Sessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert module.KEPT == 1000
    monkeypatch.setattr(module, "KEPT", 5)
    sessions.add(record(0))
    sessions.add(record(1))
    for number in range(2, 12):
        sessions.add(record(number, outcome="failed"))
    left = list(sessions.newest_first())
    assert left == [record(number, outcome="failed") for number in range(11, 6, -1)] + [record(1)]
    sessions.add(record(12))
    assert record(1) not in list(sessions.newest_first())
    assert len(list(directory(sessions, tmp_path).iterdir())) == 5


def test_record_killed_at_any_step_is_there_whole_or_not_at_all(sessions: Sessions, tmp_path: Path) -> None:
    def prepare() -> None:
        shutil.rmtree(tmp_path / "registry", ignore_errors=True)
        sessions.add(record(0))

    counts = []
    for _ in killed_at_every_step(lambda: sessions.add(record(1)), prepare, tmp_path):
        found = list(sessions.newest_first())
        assert found in ([record(0)], [record(1), record(0)])
        assert not sessions.problems
        counts.append(len(found))
    assert counts[0] == 1
    assert counts[-1] == 2
