"""A server has other things to do: few connections left, objects that come and go, a second restore, a standby."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tklbam_core.api import DatabaseError, DumpRequest, Limits, ProgressEvent, RestoreRequest
from tklbam_postgres import dump, plugin

SHOP = """
CREATE DATABASE blog;
CREATE DATABASE shop;
\\connect shop
CREATE TABLE small AS SELECT 1 AS a;
CREATE UNLOGGED TABLE memo AS SELECT 1 AS a;
CREATE TABLE goods AS SELECT g AS id, repeat(md5(g::text), 10) AS t FROM generate_series(1, 30000) g;
VACUUM goods;
\\connect blog
CREATE TABLE posts AS SELECT 'hello' AS t;
"""


def test_few_connections_are_enough(
    make_cluster: Callable[..., Any], extras: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dump, "BIG", 1 << 20)
    few = {"max_connections": "7", "max_wal_senders": "0", "wal_level": "replica", "autovacuum": "off"}
    with make_cluster(**few) as server:
        server.sql(SHOP)
        words = [str(server.binaries / "psql"), "-X", "-c", "SELECT pg_sleep(600)", "postgres"]
        sessions = [
            subprocess.Popen(
                server.as_owner(words), env=server.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            for _ in range(3)
        ]
        try:
            active = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)'"
            while server.sql(active) != "3\n":
                pass
            before = server.snapshot("shop")
            assert server.dump(extras, jobs="4").failures == ()
            assert server.restore(extras, jobs="4").failures == ()
            assert server.snapshot("shop") == before
        finally:
            for session in sessions:
                session.terminate()
                session.wait()


def test_a_database_dropped_meanwhile_is_no_failure(cluster: Any, extras: Path) -> None:
    cluster.sql(SHOP)
    dropped: list[str] = []

    def drop(event: ProgressEvent) -> None:
        if not dropped:
            dropped.append("shop")
            cluster.sql("DROP DATABASE shop")

    report = plugin.tklbam_database_dump(
        DumpRequest(extras=extras, limits=Limits(), options=cluster.options, progress=drop)
    )
    assert report is not None
    assert report.failures == ()
    assert report.warnings == ("database shop was dropped while the backup was made",)
    assert [each.name for each in report.databases] == ["blog"]


def test_a_second_restore_waits_for_its_turn_and_leaves_the_first_alone(
    cluster: Any, other: Any, extras: Path, rollback: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tklbam_postgres.claim.PATIENCE", 0.2)
    cluster.sql(SHOP)
    cluster.sql("CREATE TABLE mine (a int)")
    cluster.dump(extras)
    refused: list[str] = []

    def again(event: ProgressEvent) -> None:
        with pytest.raises(DatabaseError, match="another restore is at work") as caught:
            other.restore(extras)
        refused.append(str(caught.value))

    # One job: while a second one becomes another user to connect, no thread reads what is root's.
    options = {**other.options, "jobs": "1"}
    request = RestoreRequest(extras=extras, limits=Limits(), rollback=rollback, options=options, progress=again)
    report = plugin.tklbam_database_restore(request)
    assert report is not None
    assert report.failures == ()
    assert refused
    assert other.snapshot("shop") == cluster.snapshot("shop")
    # `postgres` is a database like others, and where the claim is held.
    assert [each.name for each in report.databases] == ["blog", "postgres", "shop"]
    assert other.restore(extras).failures == ()


def test_a_standby_is_dumped_and_told_what_it_lacks_and_is_never_restored_into(
    make_cluster: Callable[..., Any], extras: Path, rollback: Path
) -> None:
    with make_cluster() as primary:
        primary.sql(SHOP)
        primary.sql("SELECT pg_create_logical_replication_slot('feed', 'pgoutput')", "shop")
        copy = primary.base / "copy"
        primary.run("pg_basebackup", f"--pgdata={copy}", "--write-recovery-conf", "--checkpoint=fast")
        with make_cluster(copy) as standby:
            report = standby.dump(extras)
            assert (report.failures, report.warnings) == ((), ())
            with pytest.raises(DatabaseError, match="is a standby"):
                standby.restore(extras, rollback=rollback)
        told = {each.name: each.warnings for each in report.databases}["shop"]
        assert told == ("public.memo is unlogged: its rows are not on a standby",)
        restored = primary.restore(extras, rollback=rollback)
        told = {each.name: each.warnings for each in restored.databases}["shop"]
        assert told[0] == "not in the backup, so empty: public.memo"
        assert "(feed): make them and the subscriptions anew" in told[1]
