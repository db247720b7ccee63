"""Limits on backup and on restore, and what they leave alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

SHOP = """
CREATE DATABASE shop;
CREATE DATABASE blog;
\\connect shop
CREATE SCHEMA app;
CREATE TABLE app.orders (id serial PRIMARY KEY, what text);
INSERT INTO app.orders (what) SELECT 'order ' || g FROM generate_series(1, 20) g;
CREATE TABLE app.log (id serial PRIMARY KEY, line text);
INSERT INTO app.log (line) SELECT 'line ' || g FROM generate_series(1, 30) g;
CREATE TABLE app.log_old (line text);
INSERT INTO app.log_old VALUES ('old');
CREATE TABLE app.measures (at int NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE app.m1 PARTITION OF app.measures FOR VALUES FROM (0) TO (10);
INSERT INTO app.measures SELECT generate_series(0, 9);
\\connect blog
CREATE TABLE posts (t text);
INSERT INTO posts VALUES ('hello');
"""


def counts(server: Any, database: str = "shop") -> dict[str, int]:
    tables = ["app.orders", "app.log", "app.log_old", "app.measures"]
    return {table: int(server.sql(f"SELECT count(*) FROM {table}", database)) for table in tables}


@pytest.mark.parametrize(
    ("limits", "empty"),
    [
        (["-pgsql:shop/log"], ["app.log"]),
        (["-pgsql:shop/app.log*"], ["app.log", "app.log_old"]),
        (["-pgsql:s*/log*", "pgsql:shop/log_old"], ["app.log", "app.orders", "app.measures"]),
        (["pgsql:shop", "-pgsql:shop/measures"], ["app.measures"]),
        (["pgsql:shop/orders"], ["app.log", "app.log_old", "app.measures"]),
    ],
)
def test_tables_left_out_of_a_backup_keep_their_schema_and_lose_their_rows(
    cluster: Any, other: Any, extras: Path, limits: list[str], empty: list[str]
) -> None:
    cluster.sql(SHOP)
    before = counts(cluster)
    report = cluster.dump(extras, *limits)
    assert report.failures == ()
    assert report.warnings == ()
    other.restore(extras)
    assert counts(other) == {name: 0 if name in empty else count for name, count in before.items()}


def test_databases_left_out_are_not_dumped(cluster: Any, extras: Path) -> None:
    cluster.sql(SHOP)
    assert [each.name for each in cluster.dump(extras, "-pgsql:shop").databases] == ["blog"]
    assert [each.name for each in cluster.dump(extras, "pgsql:s*").databases] == ["shop"]
    assert [each.name for each in cluster.dump(extras).databases] == ["blog", "shop"]


def test_postgres_itself_is_dumped_when_asked_for(cluster: Any, extras: Path) -> None:
    assert [each.name for each in cluster.dump(extras, "pgsql:postgres").databases] == ["postgres"]
    assert cluster.dump(extras).databases == ()


def test_a_limit_that_matches_nothing_is_a_warning(cluster: Any, other: Any, extras: Path) -> None:
    cluster.sql(SHOP)
    report = cluster.dump(extras, "-pgsql:shop/nothing*", "-pgsql:nowhere")
    assert [each.split()[2] for each in report.warnings] == ["pgsql:-shop/nothing*", "pgsql:-nowhere"]
    report = other.restore(extras, "-pgsql:shop/neither")
    assert [each.split()[2] for each in report.warnings] == ["pgsql:-shop/neither"]


def test_a_table_left_out_of_a_restore_stays_as_it_is(cluster: Any, other: Any, extras: Path) -> None:
    cluster.sql(SHOP)
    cluster.dump(extras)
    other.restore(extras)
    other.sql(
        """
        DELETE FROM app.orders;
        DELETE FROM app.log WHERE id < 30;
        INSERT INTO app.log (line) VALUES ('here only');
        TRUNCATE app.measures;
        INSERT INTO app.measures VALUES (3);
        CREATE TABLE app.log_new (line text DEFAULT 'x');
        INSERT INTO app.log_new VALUES ('not in the backup');
        CREATE TABLE app.gone (line text);
        """,
        "shop",
    )
    report = other.restore(extras, "-pgsql:shop/log*", "-pgsql:shop/measures")
    assert report.failures == ()
    assert counts(other) == {"app.orders": 20, "app.log": 2, "app.log_old": 1, "app.measures": 1}
    assert other.sql("SELECT line FROM app.log_new", "shop") == "not in the backup\n"
    assert other.sql("SELECT to_regclass('app.gone') IS NULL", "shop") == "t\n"
    # Its sequence goes on where it was, or the next row would collide.
    other.sql("INSERT INTO app.log (line) VALUES ('next')", "shop")


def test_a_table_left_out_of_a_restore_that_does_not_exist_is_made_empty(
    cluster: Any, other: Any, extras: Path
) -> None:
    cluster.sql(SHOP)
    cluster.dump(extras)
    assert other.restore(extras, "pgsql:shop/orders").failures == ()
    assert counts(other) == {"app.orders": 20, "app.log": 0, "app.log_old": 0, "app.measures": 0}
    assert "blog" not in other.databases()


def test_tables_whose_names_read_alike_are_told_apart(cluster: Any, other: Any, extras: Path) -> None:
    cluster.sql(
        """
        CREATE DATABASE shop;
        \\connect shop
        CREATE SCHEMA a;
        CREATE SCHEMA "a.b";
        CREATE TABLE "a.b".c AS SELECT 1 AS x;
        CREATE TABLE a."b.c" AS SELECT 2 AS x;
        """
    )
    cluster.dump(extras)
    assert other.restore(extras, "-pgsql:shop/c").failures == ()
    assert other.sql('SELECT (SELECT count(*) FROM "a.b".c), (SELECT count(*) FROM a."b.c")', "shop") == "0|1\n"


def test_a_table_that_cannot_stay_as_it_is_stops_the_database(cluster: Any, other: Any, extras: Path) -> None:
    cluster.sql(SHOP)
    cluster.dump(extras)
    other.restore(extras)
    other.sql("ALTER TABLE app.log ADD COLUMN more int; UPDATE app.orders SET what = 'mine'", "shop")
    before = other.checksums("shop")
    report = other.restore(extras, "-pgsql:shop/log")
    assert [(each.database, each.table) for each in report.failures] == [("shop", "app.log")]
    assert [each.name for each in report.databases] == ["blog"]
    assert other.checksums("shop") == before
    assert other.databases() == ["blog", "postgres", "shop", "template0", "template1"]
