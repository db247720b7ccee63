"""What a restore promises beside fidelity: it swaps, it tells, it never leaves a half."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tklbam_core.api import DatabaseError, Limits, RestoreRequest
from tklbam_postgres import layout, plugin, toc

SHOP = """
CREATE DATABASE shop;
CREATE DATABASE blog;
\\connect shop
CREATE TABLE goods (id int PRIMARY KEY, t text NOT NULL);
INSERT INTO goods SELECT g, 'goods ' || g FROM generate_series(1, 5000) g;
\\connect blog
CREATE EXTENSION hstore;
CREATE TABLE posts (t text);
INSERT INTO posts VALUES ('hello');
"""


@pytest.fixture
def dumped(cluster: Any, extras: Path) -> Path:
    """The backup of a server with two databases: where database `shop` lies."""
    cluster.sql(SHOP)
    cluster.dump(extras)
    return extras / "pgfs/server/shop"


def test_simulated_restore_changes_nothing(other: Any, extras: Path, dumped: Path) -> None:
    before = other.databases(), other.globals()
    report = other.restore(extras, simulate=True)
    assert [(each.name, each.tables, each.rows) for each in report.databases] == [("blog", 1, 1), ("shop", 1, 5000)]
    assert (other.databases(), other.globals()) == before


def test_only_sessions_of_the_replaced_database_are_ended(other: Any, extras: Path, dumped: Path) -> None:
    other.sql("CREATE DATABASE shop; CREATE DATABASE third")
    words = [str(max(Path("/usr/lib/postgresql").glob("*/bin/psql"))), "-X", "-c", "SELECT pg_sleep(600)", "-d"]
    sessions = {
        name: subprocess.Popen(
            other.as_owner([*words, name]),
            env=other.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )
        for name in ("shop", "third")
    }
    try:
        active = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)'"
        while other.sql(active) != "2\n":
            time.sleep(0.05)
        assert other.restore(extras).failures == ()
        assert sessions["shop"].wait(timeout=10) != 0
        assert sessions["third"].poll() is None
        assert other.sql("SELECT count(*) FROM goods", "shop") == "5000\n"
    finally:
        for session in sessions.values():
            session.terminate()
            session.wait()


def test_a_row_that_can_not_be_loaded_names_its_table_and_leaves_the_old_database(
    other: Any, extras: Path, rollback: Path, dumped: Path
) -> None:
    other.sql("CREATE DATABASE shop")
    other.sql("CREATE TABLE mine AS SELECT 1 AS a", "shop")
    rows = dumped / "tables/public/goods/start.rows"
    rows.write_bytes(rows.read_bytes().replace(b"\n17\t", b"\nxx\t"))
    report = other.restore(extras, rollback=rollback)
    assert [each.name for each in report.databases] == ["blog"]
    (failure,) = report.failures
    assert (failure.database, failure.table) == ("shop", "public.goods")
    assert 'invalid input syntax for type integer: "xx"' in failure.reason
    assert other.sql("SELECT a FROM mine", "shop") == "1\n"
    assert other.databases() == ["blog", "postgres", "shop", "template0", "template1"]


def test_a_constraint_that_fails_names_its_table(other: Any, extras: Path, dumped: Path) -> None:
    rows = dumped / "tables/public/goods/start.rows"
    rows.write_bytes(rows.read_bytes().replace(b"\n17\t", b"\n18\t"))
    (failure,) = other.restore(extras).failures
    assert failure.table == "public.goods"
    assert failure.reason.startswith('ERROR: could not create unique index "goods_pkey"')
    assert "shop" not in other.databases()


@pytest.mark.parametrize("damage", ["missing", "short"])
def test_a_damaged_piece_is_found_before_anything_is_loaded(
    other: Any, extras: Path, dumped: Path, damage: str
) -> None:
    rows = dumped / "tables/public/goods/start.rows"
    if damage == "missing":
        rows.unlink()
    else:
        rows.write_bytes(rows.read_bytes()[:-100])
    (failure,) = other.restore(extras).failures
    assert failure.database == "shop"
    assert "public.goods" in failure.reason
    assert "start.rows" in failure.reason


def test_rows_lost_on_the_way_are_noticed(other: Any, extras: Path, dumped: Path) -> None:
    file = dumped / "tables.jsonl"
    file.write_text(file.read_text().replace('"rows": 5000', '"rows": 5001'))
    (failure,) = other.restore(extras).failures
    assert (failure.table, failure.reason) == ("public.goods", "5000 rows were loaded, 5001 were dumped")


def test_a_server_older_than_the_dump_is_refused(other: Any, extras: Path, dumped: Path) -> None:
    index = extras / "pgfs/pgfs.json"
    index.write_text(re.sub(r'"server_version": \d\d', '"server_version": 99', index.read_text()))
    with pytest.raises(DatabaseError, match="dumped from PostgreSQL 99"):
        other.restore(extras)
    assert "shop" not in other.databases()


def test_a_missing_extension_names_its_package(other: Any, extras: Path, dumped: Path) -> None:
    file = extras / "pgfs/server/blog/toc.dat"
    contents = toc.read(file)
    contents.of_kind("EXTENSION")[0].tag = b"post_gis"
    toc.write(contents, file)
    report = other.restore(extras)
    (failure,) = report.failures
    assert failure.database == "blog"
    assert "extension post_gis is not installed" in failure.reason
    assert "-post-gis" in failure.reason
    assert [each.name for each in report.databases] == ["shop"]


def test_a_missing_locale_says_what_to_do_and_can_be_replaced(other: Any, extras: Path, dumped: Path) -> None:
    file = dumped / "toc.dat"
    contents = toc.read(file)
    entry = contents.of_kind("DATABASE")[0]
    entry.definition = entry.sql.replace(b"'C.UTF-8'", b"'xx_YY.UTF-8'")
    toc.write(contents, file)
    (failure,) = other.restore(extras).failures
    assert "locale-gen" in failure.reason
    report = other.restore(extras, "pgsql:shop", locale="C.UTF-8")
    assert report.failures == ()
    assert "its locale is C.UTF-8" in report.databases[0].warnings[0]


def test_collations_that_the_system_got_after_the_server_are_found_and_others_named(
    make_cluster: Callable[..., Any], cluster: Any, extras: Path
) -> None:
    for name, collation in (("shop", "C.utf8"), ("blog", "xx_YY")):
        cluster.sql(f"CREATE DATABASE {name}")
        rename = "" if name == "shop" else f"UPDATE pg_collation SET collname = '{collation}' WHERE collname = 'POSIX';"
        cluster.sql(f'{rename} CREATE TABLE t (a text COLLATE "{collation}")', name)
    cluster.dump(extras)
    with make_cluster() as fresh:
        fresh.sql("ALTER DATABASE template0 ALLOW_CONNECTIONS true")
        fresh.sql("DELETE FROM pg_collation WHERE collname = 'C.utf8'", "template0")
        fresh.sql("ALTER DATABASE template0 ALLOW_CONNECTIONS false")
        report = fresh.restore(extras)
        assert [each.name for each in report.databases] == ["shop"]
        (failure,) = report.failures
        assert (failure.database, "collation xx_YY is not on this system" in failure.reason) == ("blog", True)
        collation = "SELECT attcollation::regcollation FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum = 1"
        assert fresh.sql(collation, "shop") == '"C.utf8"\n'


def test_another_collation_version_is_a_warning(other: Any, extras: Path, dumped: Path) -> None:
    file = dumped / "database.json"
    facts = json.loads(file.read_bytes())
    facts["collation"]["version"] = "1.0"
    file.write_text(json.dumps(facts))
    shown = other.sql("SELECT coalesce(datcollversion, '') FROM pg_database WHERE datname = 'template0'").strip()
    warnings = {each.name: each.warnings for each in other.restore(extras).databases}["shop"]
    assert [f"is version {shown} here and was 1.0" in each for each in warnings] == ([True] if shown else [])


def test_tablespaces_are_made_where_their_directory_is_and_mapped_where_not(
    cluster: Any, other: Any, extras: Path
) -> None:
    for server, names in ((cluster, ("fast", "slow")), (other, ("fast",))):
        for name in names:
            place = server.base / name
            if not place.exists():
                place.mkdir()
                if server.as_owner([]):
                    import shutil

                    shutil.chown(place, "postgres")
    cluster.sql(f"CREATE TABLESPACE fast LOCATION '{cluster.base}/fast'")
    cluster.sql(f"CREATE TABLESPACE slow LOCATION '{cluster.base}/slow'")
    cluster.sql("CREATE DATABASE shop TABLESPACE slow")
    cluster.sql(
        "CREATE TABLE a TABLESPACE fast AS SELECT 1 AS i; CREATE TABLE b (i int) TABLESPACE pg_default",
        "shop",
    )
    cluster.dump(extras)
    other.sql(f"CREATE TABLESPACE fast LOCATION '{other.base}/fast'")
    (result,) = other.restore(extras).databases
    assert (
        other.sql(
            "SELECT spcname FROM pg_class c JOIN pg_tablespace t ON t.oid = reltablespace WHERE relname = 'a'", "shop"
        )
        == "fast\n"
    )
    assert other.sql("SELECT i FROM a", "shop") == "1\n"
    (extras / "pgfs/server/globals.sql").write_text("")
    other.sql("DROP DATABASE shop")
    other.sql("DROP TABLESPACE fast")
    (result,) = other.restore(extras).databases
    assert ["fast" in each for each in result.warnings] == [True]
    assert other.sql("SELECT i FROM a", "shop") == "1\n"


def test_extras_without_pgfs_are_not_ours(other: Any, extras: Path) -> None:
    request = RestoreRequest(extras=extras, limits=Limits(), rollback=None, options=other.options)
    assert plugin.tklbam_database_restore(request) is None


def test_another_root_gets_no_databases(extras: Path, dumped: Path, tmp_path: Path) -> None:
    request = RestoreRequest(extras=extras, limits=Limits(), rollback=None, root=tmp_path)
    report = plugin.tklbam_database_restore(request)
    assert report is not None
    assert "blog, shop" in report.warnings[0]


def test_a_name_that_leads_out_of_pgfs_is_refused(other: Any, extras: Path, dumped: Path) -> None:
    index = extras / "pgfs/pgfs.json"
    index.write_text(index.read_text().replace('"directory": "shop"', '"directory": "../../etc"'))
    with pytest.raises(layout.FormatError, match="plain file name"):
        other.restore(extras)
