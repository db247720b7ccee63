"""A rollback gives back databases and roles, wherever the restore, or the rollback itself, was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

BACKUP = """
CREATE ROLE clerk LOGIN PASSWORD 'from the backup' CREATEDB;
CREATE ROLE "new role" NOLOGIN;
CREATE ROLE readers;
GRANT readers TO clerk;
ALTER ROLE clerk SET work_mem = '9MB';
COMMENT ON ROLE clerk IS 'of the backup';
ALTER ROLE ALL SET search_path = public, "B c";
GRANT SET ON PARAMETER work_mem TO "new role";
CREATE DATABASE shop OWNER "new role";
CREATE DATABASE blog OWNER clerk;
ALTER ROLE clerk IN DATABASE shop SET work_mem = '5MB';
CREATE TABLE in_postgres AS SELECT 'backup' AS t;
\\connect shop
CREATE TABLE goods AS SELECT g AS id, 'backup' AS t FROM generate_series(1, 1000) g;
\\connect blog
CREATE TABLE posts AS SELECT 'backup' AS t;
"""

HERE = """
CREATE ROLE clerk LOGIN PASSWORD 'from here' CONNECTION LIMIT 3 VALID UNTIL '2031-01-01';
CREATE ROLE readers;
CREATE ROLE boss SUPERUSER;
ALTER ROLE ALL SET search_path = public, "Here";
GRANT pg_monitor TO clerk WITH ADMIN OPTION;
ALTER ROLE clerk SET search_path = "$user", "Odd, name", public;
ALTER ROLE clerk SET work_mem = '3MB';
COMMENT ON ROLE clerk IS 'of this place';
CREATE DATABASE shop OWNER clerk;
ALTER DATABASE shop SET work_mem = '11MB';
GRANT CONNECT ON DATABASE shop TO readers WITH GRANT OPTION;
ALTER ROLE clerk IN DATABASE shop SET work_mem = '4MB';
CREATE DATABASE untouched;
CREATE TABLE in_postgres AS SELECT 'here' AS t;
\\connect shop
CREATE TABLE goods AS SELECT 'here' AS t;
CREATE SUBSCRIPTION feed CONNECTION 'host=nowhere.invalid dbname=x' PUBLICATION p WITH (connect = false);
"""

CHILD = """
import json, os, signal, sys
from pathlib import Path
from tklbam_core.api import Limits, RestoreRequest, RollbackRequest
from tklbam_postgres import databases, journal, plugin, restore, roles

what, extras, rollback, options, moment = sys.argv[1:]
calls = 0

def dies_before(owner, name):
    original = getattr(owner, name)
    def step(*arguments, **named):
        global calls
        if calls == int(moment):
            os.kill(os.getpid(), signal.SIGKILL)
        calls += 1
        return original(*arguments, **named)
    setattr(owner, name, step)

dies_before(journal.Journal, "save")
dies_before(restore, "load")
for name in ("create", "set_properties", "swap", "drop"):
    dies_before(databases, name)
if what == "restore":
    plugin.tklbam_database_restore(RestoreRequest(
        extras=Path(extras), limits=Limits(), rollback=Path(rollback), options=json.loads(options)))
else:
    dies_before(roles, "_refused")
    plugin.tklbam_database_rollback(RollbackRequest(rollback=Path(rollback)))
"""


def state(server: Any) -> dict[str, Any]:
    """All that a rollback has to give back."""
    return {
        "globals": server.globals(),
        "databases": server.databases(),
        "dumps": {name: server.snapshot(name) for name in ("shop", "postgres", "untouched")},
        "oids": server.sql("SELECT datname, oid FROM pg_database ORDER BY 1"),
    }


def scratch(server: Any) -> dict[str, str]:
    """What is killed leaves temporary files: they go with the server."""
    return {**os.environ, "TMPDIR": str(server.base)}


def child(server: Any, what: str, extras: Path, rollback: Path, moment: int) -> int:
    """Runs a restore or rollback that dies at its `moment`-th step; 0 when it came to its end."""
    options = json.dumps(server.options)
    words = [sys.executable, "-c", CHILD, what, str(extras), str(rollback), options, str(moment)]
    done = subprocess.run(words, env=scratch(server), capture_output=True, text=True)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


@pytest.fixture
def prepared(cluster: Any, other: Any, extras: Path) -> Any:
    cluster.sql(BACKUP)
    assert cluster.dump(extras).failures == ()
    other.sql(HERE)
    return other


def test_killed_restore_rolls_back(prepared: Any, extras: Path, rollback: Path) -> None:
    before = state(prepared)
    for moment in range(100):
        for file in rollback.iterdir():
            file.unlink()
        ended = child(prepared, "restore", extras, rollback, moment) == 0
        prepared.roll_back(rollback)
        assert state(prepared) == before, f"killed before step {moment}"
        if ended:
            break
    assert moment > 12


def test_killed_rollback_can_be_run_again_and_again(prepared: Any, extras: Path, rollback: Path) -> None:
    before = state(prepared)
    assert prepared.restore(extras, rollback=rollback).failures == ()
    assert prepared.sql("SELECT t FROM goods LIMIT 1", "shop") == "backup\n"
    # Each run is killed one step later than the one before it began to be: every state in between is one to start from.
    runs = next(step for step in range(1, 100) if child(prepared, "rollback", extras, rollback, step) == 0)
    assert runs > 3
    assert state(prepared) == before
    # And once more when all is done.
    assert child(prepared, "rollback", extras, rollback, 99) == 0
    assert state(prepared) == before


@pytest.mark.parametrize("seconds", [0.5, 0.9, 1.4])
def test_restore_killed_at_any_time_rolls_back(prepared: Any, extras: Path, rollback: Path, seconds: float) -> None:
    before = state(prepared)
    words = [sys.executable, "-c", CHILD, "restore", str(extras), str(rollback), json.dumps(prepared.options), "999"]
    process = subprocess.Popen(words, env=scratch(prepared), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    prepared.roll_back(rollback)
    assert state(prepared) == before


def test_restored_roles_are_merged_and_administrators_survive(prepared: Any, extras: Path, rollback: Path) -> None:
    secret = "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = '{}'"
    prepared.sql("ALTER ROLE postgres PASSWORD 'the new server''s own'; ALTER ROLE boss PASSWORD 'boss of here'")
    own = [prepared.sql(secret.format(name)) for name in ("postgres", "boss")]
    clerk = prepared.sql(secret.format("clerk"))
    assert prepared.restore(extras, rollback=rollback).failures == ()
    assert [prepared.sql(secret.format(name)) for name in ("postgres", "boss")] == own
    assert prepared.sql(secret.format("clerk")) != clerk
    assert (
        prepared.sql("SELECT pg_has_role('clerk', 'readers', 'member'), pg_has_role('clerk', 'pg_monitor', 'member')")
        == "t|t\n"
    )


def test_an_older_rollback_is_cleaned_up_by_the_next_restore_and_never_dumped(
    prepared: Any, extras: Path, rollback: Path, tmp_path: Path
) -> None:
    prepared.restore(extras, rollback=rollback)
    kept = [name for name in prepared.databases() if name.startswith("tklbam_old_")]
    assert len(kept) == 2
    again = tmp_path / "again"
    again.mkdir()
    assert [each.name for each in prepared.dump(again).databases] == ["blog", "postgres", "shop", "untouched"]
    (rollback / "pgsql.json").unlink()
    prepared.restore(extras, rollback=rollback)
    assert not set(kept) & set(prepared.databases())


def test_nothing_is_kept_when_no_rollback_is_wanted(prepared: Any, extras: Path) -> None:
    prepared.restore(extras)
    assert [name for name in prepared.databases() if name.startswith("tklbam")] == []


def test_what_a_rollback_needs_is_for_root_alone(prepared: Any, extras: Path, rollback: Path) -> None:
    prepared.restore(extras, rollback=rollback)
    assert [(file.name, file.stat().st_mode & 0o777) for file in rollback.iterdir()] == [("pgsql.json", 0o600)]


def test_a_rollback_with_nothing_saved_answers_none(cluster: Any, rollback: Path) -> None:
    assert cluster.roll_back(rollback) is None
