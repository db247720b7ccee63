"""Databases move to a newer PostgreSQL; client programs may be newer than the server; to an older one nothing moves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tklbam_core.api import DatabaseError
from tklbam_postgres import connect

# What the newer server prints otherwise: names of columns in views, and what pg_dump says of its own version.
PRINTED = re.compile(r"(?<=[ (])(?:customers|happy|orders|totals)\.(?=\w)|^-- Dumped .*\n", re.MULTILINE)
MEMBERS = (
    "SELECT roleid::regrole::text, member::regrole::text, grantor::regrole, admin_option FROM pg_auth_members"
    " ORDER BY 1, 2"
)
# Who grants this one comes after it in the alphabet.
GRANTED = "CREATE ROLE aaron; SET ROLE boss; GRANT readers TO aaron; RESET ROLE;"
MANY = """
BEGIN;
SELECT lo_create(n), lo_put(n, 0, n::text::bytea) FROM generate_series(5000, 5060) n \\g /dev/null
SELECT format('GRANT SELECT ON LARGE OBJECT %s TO clerk', n) FROM generate_series(5000, 5060) n \\gexec
COMMIT;
"""

# Nobody of ours gets in but by event_triggers=off.
CLOSED = """
CREATE DATABASE closed LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' TEMPLATE template0;
\\connect closed
CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS $$
    BEGIN IF current_setting('application_name') = 'tklbam' THEN RAISE EXCEPTION 'no'; END IF; END $$;
CREATE EVENT TRIGGER no ON login EXECUTE FUNCTION no();
ALTER EVENT TRIGGER no ENABLE ALWAYS;
"""


def printed(server: Any, by: Any, name: str) -> str:
    return PRINTED.sub("", server.snapshot(name, by))


def test_everything_arrives_on_a_newer_server(
    cluster: Any, newest: Any, extras: Path, tmp_path: Path, everything: str
) -> None:
    cluster.sql(everything + MANY)
    cluster.sql(GRANTED)
    cluster.sql("CREATE EXTENSION adminpack")
    report = cluster.dump(extras)
    restored = newest.restore(extras)
    assert (report.failures, restored.failures) == ((), ())
    assert "no extension adminpack: left out" in restored.databases[0].warnings[0]
    cluster.sql("DROP EXTENSION adminpack")
    for name in ("shop", "postgres"):
        assert printed(newest, newest, name) == printed(cluster, newest, name)
    assert newest.checksums("shop") == cluster.checksums("shop")
    assert newest.large_objects("shop") == cluster.large_objects("shop")
    assert newest.sql(MEMBERS) == cluster.sql(MEMBERS)


def test_everything_arrives_between_newer_servers_and_is_put_back(
    cluster: Any, newest: Any, extras: Path, rollback: Path, everything: str
) -> None:
    newest.sql(everything + MANY)
    newest.sql(GRANTED + CLOSED)
    before = newest.snapshot("shop"), newest.globals(), newest.large_objects("shop")
    closed = newest.snapshot("closed")
    assert newest.dump(extras).failures == ()
    newest.sql("DELETE FROM app.animals; SELECT lo_unlink(4242)", "shop")
    newest.sql("GRANT readers TO boss WITH INHERIT FALSE; GRANT readers TO clerk WITH SET FALSE")
    changed = newest.snapshot("shop"), newest.globals(), newest.large_objects("shop")
    assert newest.restore(extras, rollback=rollback).failures == ()
    assert (newest.snapshot("shop"), newest.globals(), newest.large_objects("shop")) == before
    assert newest.snapshot("closed") == closed
    newest.roll_back(rollback)
    assert (newest.snapshot("shop"), newest.globals(), newest.large_objects("shop")) == changed

    cluster.sql("CREATE DATABASE shop; \\connect shop\nCREATE TABLE mine AS SELECT 1 AS a")
    mine = cluster.snapshot("shop")
    with pytest.raises(
        DatabaseError, match=r"\(closed, postgres, shop\) were dumped from PostgreSQL \d\d, and .* is older"
    ):
        cluster.restore(extras)
    assert (cluster.snapshot("shop"), cluster.databases()) == (mine, ["postgres", "shop", "template0", "template1"])


def test_programs_newer_than_the_server_serve_both_ways_and_its_own_read_what_they_wrote(
    cluster: Any, other: Any, newest: Any, extras: Path, everything: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.sql(everything + MANY)
    only = newest.base / "programs"
    only.mkdir()
    (only / newest.binaries.parent.name).symlink_to(newest.binaries.parent)
    with monkeypatch.context() as patch:
        patch.setattr(connect, "PROGRAMS", only)
        assert cluster.dump(extras).failures == ()
        assert other.restore(extras, jobs="64").failures == ()
        assert other.snapshot("shop") == cluster.snapshot("shop")
    assert other.restore(extras).failures == ()
    assert other.snapshot("shop") == cluster.snapshot("shop")
    assert other.large_objects("shop") == cluster.large_objects("shop")
