"""A database that uses everything arrives as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .schemas import Schemas


def test_everything_arrives_on_an_empty_server(
    cluster: Any, other: Any, extras: Path, rollback: Path, everything: str
) -> None:
    cluster.sql(everything)
    report = cluster.dump(extras)
    assert report.failures == ()
    assert [each.name for each in report.databases] == ["postgres", "shop"]

    restored = other.restore(extras, rollback=rollback)
    assert restored.failures == ()
    assert [each.rows for each in restored.databases] == [each.rows for each in report.databases]

    assert other.snapshot("shop") == cluster.snapshot("shop")
    assert other.snapshot("postgres") == cluster.snapshot("postgres")
    assert other.checksums("shop") == cluster.checksums("shop")
    assert other.globals() == cluster.globals()
    assert other.large_objects("shop") == cluster.large_objects("shop")


HINDRANCES = """
CREATE ROLE nobody;
CREATE DATABASE shop;
ALTER DATABASE shop SET role = nobody;
ALTER DATABASE shop SET statement_timeout = 1;
ALTER DATABASE shop SET lock_timeout = 1;
ALTER DATABASE shop SET idle_in_transaction_session_timeout = 1;
ALTER DATABASE shop SET idle_session_timeout = 1;
ALTER DATABASE shop SET default_transaction_read_only = on;
ALTER DATABASE shop SET standard_conforming_strings = off;
ALTER DATABASE shop SET client_encoding = 'LATIN1';
ALTER DATABASE shop SET default_tablespace = 'nowhere';
COMMENT ON DATABASE shop IS E'back\\\\slash';
\\connect shop
SET client_encoding = 'UTF8';
SET default_tablespace = '';
GRANT EXECUTE ON FUNCTION pg_switch_wal() TO nobody;
CREATE TABLE kept (t text);
INSERT INTO kept VALUES ('角色');
CREATE TABLE none ();
CREATE TABLE done (what text);
CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.done VALUES (tg_tag); END';
CREATE EVENT TRIGGER note ON ddl_command_end EXECUTE FUNCTION note();
COMMENT ON EVENT TRIGGER note IS 'what was done';
ALTER EVENT TRIGGER note ENABLE ALWAYS;
CREATE MATERIALIZED VIEW seen AS SELECT * FROM kept;
CREATE INDEX ON seen (t);
"""


def test_settings_and_triggers_neither_cut_a_restore_short_nor_leave_a_trace(
    cluster: Any, other: Any, extras: Path
) -> None:
    cluster.sql(HINDRANCES)
    assert cluster.dump(extras).failures == ()
    assert other.restore(extras).failures == ()
    before = cluster.snapshot("shop")
    assert other.snapshot("shop") == before
    # Once more, over a database with them, which has something to keep.
    other.sql("CREATE TABLE new (a int)", "shop")
    assert other.restore(extras, "-pgsql:shop/kept", "-pgsql:shop/none", "-pgsql:shop/new").failures == ()
    assert other.sql("SELECT to_regclass('new')", "shop") == "new\n"
    assert other.sql("SELECT has_function_privilege('nobody', 'pg_switch_wal()', 'EXECUTE')", "shop") == "t\n"
    done = "SELECT count(*), (SELECT length(t) FROM kept) FROM done"
    assert other.sql(done, "shop") == cluster.sql(done, "shop")


@pytest.mark.parametrize("seed", [1, 160, 201])
def test_databases_of_any_making_arrive(cluster: Any, other: Any, extras: Path, rollback: Path, seed: int) -> None:
    """More seeds, by hand: `pytest -k any_making` with others in their place."""
    cluster.sql(Schemas(seed).script("odd"), stop=False)
    before = other.globals()
    assert cluster.dump(extras).failures == ()
    restored = other.restore(extras, rollback=rollback)
    assert (restored.failures, restored.warnings) == ((), ())
    assert other.snapshot("odd") == cluster.snapshot("odd")
    assert other.globals() == cluster.globals()
    assert other.large_objects("odd") == cluster.large_objects("odd")
    other.roll_back(rollback)
    assert other.globals() == before
