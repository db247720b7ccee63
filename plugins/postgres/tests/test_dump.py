"""What a dump looks like, and that it changes no more than the database did."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tklbam_core.api import DumpRequest, Limits
from tklbam_postgres import clusters, dump, options, pairing, plugin
from tklbam_postgres.layout import StoredCluster

SHOP = """
CREATE DATABASE shop;
\\connect shop
CREATE TABLE goods AS SELECT g AS id, repeat(md5(g::text), 20) AS t FROM generate_series(1, 60000) g;
CREATE TABLE zebra AS SELECT 1 AS a;
"""


def files(base: Path) -> dict[str, bytes]:
    return {str(path.relative_to(base)): path.read_bytes() for path in sorted(base.rglob("*")) if path.is_file()}


def test_nothing_changes_in_a_dump_when_nothing_changed(cluster: Any, extras: Path, tmp_path: Path) -> None:
    cluster.sql(SHOP)
    again = tmp_path / "again"
    cluster.dump(extras)
    cluster.dump(again)
    assert files(again) == files(extras)


def test_ddl_leaves_the_rows_of_other_tables_alone(cluster: Any, extras: Path, tmp_path: Path) -> None:
    cluster.sql(SHOP)
    again = tmp_path / "again"
    cluster.dump(extras)
    cluster.sql(
        "CREATE TYPE a AS ENUM ('x'); CREATE TABLE aardvark AS SELECT 2 AS b; CREATE INDEX ON goods (id)", "shop"
    )
    cluster.dump(again)
    before = {name: data for name, data in files(extras).items() if name.endswith(".rows")}
    after = {name: data for name, data in files(again).items() if name.endswith(".rows")}
    assert len(before) > 4
    assert set(after) - set(before) == {"pgfs/server/shop/tables/public/aardvark/start.rows"}
    assert {name: after[name] for name in before} == before


def test_rows_come_the_same_through_pipes_and_files(
    cluster: Any, extras: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    cluster.sql(SHOP)
    cluster.sql("VACUUM goods", "shop")
    by_file: list[str] = []
    real = dump.cut
    monkeypatch.setattr(dump, "cut", lambda path, place: by_file.append(place.name) or real(path, place))
    for _ in range(5):  # a pipe that comes too late is a file
        by_file.clear()
        cluster.dump(extras, jobs="2")
        if by_file == ["zebra"]:
            break
    assert by_file == ["zebra"]
    again = tmp_path / "again"
    cluster.dump(again, jobs="1")
    assert sorted(by_file) == ["goods", "zebra", "zebra"]
    assert files(again) == files(extras)


def test_a_dump_is_for_its_owner_alone(cluster: Any, extras: Path) -> None:
    cluster.sql(SHOP)
    cluster.sql("SELECT lo_from_bytea(0, 'x')", "shop")
    cluster.dump(extras)
    import os

    for path in (extras / "pgfs").rglob("*"):
        assert path.stat().st_uid == os.geteuid(), path
        assert path.is_dir() or path.stat().st_mode & 0o077 == 0, path


def test_pg_restore_takes_the_joined_pieces(cluster: Any, other: Any, extras: Path) -> None:
    """The way back that docs/formats/pgfs.md describes, by hand."""
    import json
    import shutil

    cluster.sql(SHOP)
    cluster.dump(extras)
    place = other.base / "byhand"
    shutil.copytree(extras / "pgfs/server/shop", place)
    for line in (place / "tables.jsonl").read_text().splitlines():
        entry = json.loads(line)
        with open(place / entry["data"], "wb") as joined:
            for piece, _ in entry["pieces"]:
                joined.write((place / "tables" / entry["schema"] / entry["table"] / f"{piece}.rows").read_bytes())
            joined.write(b"\\.\n\n\n")
    subprocess.run(["chmod", "-R", "a+rX", str(place)], check=True)
    other.run("pg_restore", "--create", "--dbname=postgres", "--jobs=2", str(place))
    assert other.checksums("shop") == cluster.checksums("shop")


def test_what_is_not_in_a_backup_is_told(cluster: Any, extras: Path) -> None:
    assert cluster.dump(extras).warnings == ()
    for change, undo, told in (
        ("CREATE TABLE added (a int)", "DROP TABLE added", "template1 was changed (table added, …)"),
        ("REVOKE USAGE ON SCHEMA public FROM PUBLIC", "GRANT USAGE ON SCHEMA public TO PUBLIC", "privileges on schema"),
        ("ALTER DATABASE template1 SET work_mem = 99", "ALTER DATABASE template1 RESET work_mem", "(its settings)"),
        (
            "ALTER SYSTEM SET work_mem = 99",
            "ALTER SYSTEM RESET work_mem",
            "but what stands in files of /etc is: work_mem",
        ),
    ):
        cluster.run("psql", "-q", "-d", "template1", "-c", change)
        try:
            (warning,) = cluster.dump(extras).warnings
            assert told in warning
        finally:
            cluster.run("psql", "-q", "-d", "template1", "-c", undo)


def test_a_database_that_takes_no_connections_is_a_failure(cluster: Any, extras: Path) -> None:
    cluster.sql("CREATE DATABASE shop; CREATE DATABASE closed ALLOW_CONNECTIONS false")
    report = cluster.dump(extras)
    assert [each.database for each in report.failures] == ["closed"]
    assert [each.name for each in report.databases] == ["shop"]


UNKNOWN_TO_PYTHON = {"MULE_INTERNAL": "81e481e9", "EUC_TW": "c4e3"}
"""Encodings, and a few characters in each."""


def test_odd_database_names_and_encodings_travel(cluster: Any, other: Any, extras: Path) -> None:
    cluster.sql(
        """
        CREATE DATABASE "we/ird 'na""me = x%";
        CREATE DATABASE "globals.sql" CONNECTION LIMIT 0;
        CREATE DATABASE "dbname=x" IS_TEMPLATE true;
        CREATE ROLE "Händler";
        CREATE DATABASE "läden" OWNER "Händler" ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0;
        ALTER ROLE "Händler" IN DATABASE "läden" SET work_mem = '9MB';
        CREATE DATABASE bytes ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0;
        \\connect läden
        SET client_encoding = 'UTF8';
        CREATE TABLE "Käufer" AS SELECT 'Ärger'::text AS "größe";
        CREATE TABLE "Löschung" AS SELECT 'weg' AS t;
        COMMENT ON DATABASE "läden" IS 'schön';
        \\connect bytes
        CREATE TABLE b AS SELECT convert_from('\\xff41', 'SQL_ASCII') AS t;
        DO $$ BEGIN EXECUTE format('CREATE TABLE %I (a int)', convert_from('\\xe4', 'SQL_ASCII')); END $$;
        """
    )
    for encoding, character in UNKNOWN_TO_PYTHON.items():
        cluster.sql(f"CREATE DATABASE \"{encoding}\" ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
        text = f"convert_from('\\x{character}', '{encoding}')"
        make = f"EXECUTE format('CREATE TABLE %I AS SELECT %1$L || n AS t FROM generate_series(1, 9) n', {text});"
        cluster.sql(f"DO $$ BEGIN {make} END $$", encoding)
    assert cluster.dump(extras, "-pgsql:läden/Löschung").failures == ()
    assert other.restore(extras).failures == ()
    assert other.databases() == cluster.databases()
    cluster.sql("SET client_encoding = 'UTF8'; DELETE FROM \"Löschung\"", "läden")
    for name in ("läden", "globals.sql", "dbname=x"):
        assert other.snapshot(name) == cluster.snapshot(name)
    query = "SELECT encode(t::bytea, 'hex'), to_regclass(convert_from('\\xe4', 'SQL_ASCII')) IS NOT NULL FROM b"
    assert other.sql(query, "bytes") == "ff41|t\n"
    for encoding, character in UNKNOWN_TO_PYTHON.items():
        name = f"convert_from('\\x{character}', '{encoding}')"
        script = f"SELECT 'SELECT textsend(max(t)) FROM ' || quote_ident({name}) \\gexec"
        assert other.sql(f"SET client_encoding = 'SQL_ASCII';\n{script}", encoding) == f"\\x{character}39\n"


def test_a_database_of_a_name_that_is_not_utf8_is_a_failure_of_its_own(
    make_cluster: Callable[..., Any], extras: Path
) -> None:
    with make_cluster() as cluster:
        cluster.sql(
            """
            CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0;
            \\connect latin
            SET client_encoding = 'UTF8';
            CREATE DATABASE "fünf";
            """
        )
        report = cluster.dump(extras)
    assert [(each.database, "not UTF-8" in each.reason) for each in report.failures] == [("f\\udcfcnf", True)]
    assert [each.name for each in report.databases] == ["latin"]


def test_several_clusters_are_found_dumped_and_restored_each_to_its_own(
    make_cluster: Callable[..., Any], tmp_path: Path, extras: Path, monkeypatch: Any
) -> None:
    with make_cluster() as one, make_cluster() as two:
        root = tmp_path / "root"
        for server, version, name in ((one, "15", "main"), (two, "15", "web")):
            directory = root / "etc/postgresql" / version / name
            directory.mkdir(parents=True)
            (directory / "postgresql.conf").write_text(
                f"# comment\nport = 1\nunix_socket_directories = '{server.base}'  # a list\nport = {server.port}\n"
            )
            server.sql(f"CREATE DATABASE shop; \\connect shop\nCREATE TABLE t AS SELECT '{name}' AS t")
        # What a running server has noted counts for more than its configuration.
        (root / "var/two").mkdir(parents=True)
        (root / "var/two/postmaster.pid").write_text((two.data / "postmaster.pid").read_text())
        with open(root / "etc/postgresql/15/web/postgresql.conf", "a") as configuration:
            configuration.write("data_directory = '/var/two'\nport = 1\nunix_socket_directories = ''\n")
        real = clusters.on_host
        monkeypatch.setattr(clusters, "on_host", lambda _: real(root))
        found = clusters.find(options.Options())
        assert [(each.name, each.address) for each in found] == [
            ("15/main", f"{one.base}/.s.PGSQL.{one.port}"),
            ("15/web", f"{two.base}/.s.PGSQL.{two.port}"),
        ]
        report = plugin.tklbam_database_dump(DumpRequest(extras=extras, limits=Limits()))
        assert report is not None
        assert [each.name for each in report.databases] == ["15/main:shop", "15/web:shop"]
        for server in (one, two):
            server.sql("DROP DATABASE shop")
        from tklbam_core.api import RestoreRequest

        restored = plugin.tklbam_database_restore(RestoreRequest(extras=extras, limits=Limits(), rollback=None))
        assert restored is not None
        assert [each.name for each in restored.databases] == ["15/main:shop", "15/web:shop"]
        assert [server.sql("SELECT t FROM t", "shop") for server in (one, two)] == ["main\n", "web\n"]

        two.stop()
        partial = plugin.tklbam_database_dump(DumpRequest(extras=extras, limits=Limits()))
        assert partial is not None
        assert [each.name for each in partial.databases] == ["15/main:shop"]
        assert [each.database for each in partial.failures] == ["cluster 15/web"]


def test_clusters_are_paired_by_name_and_what_finds_no_partner_is_told() -> None:
    def stored(*names: str) -> list[StoredCluster]:
        return [StoredCluster(name, int(name[:2]) * 10000, None, {"shop": Path("x")}) for name in names]

    def here(*names: str) -> list[clusters.Cluster]:
        return [clusters.Cluster(name, name, "/run/postgresql", 5432 + n) for n, name in enumerate(names)]

    def paired(before: list[StoredCluster], now: list[clusters.Cluster], **words: str) -> tuple[list[Any], int]:
        pairs, failures = pairing.pair(before, now, options.parse(words))
        return [(pair.stored.name, pair.cluster.name) for pair in pairs], len(failures)

    assert paired(stored("15/main"), here("port 5433")) == ([("15/main", "port 5433")], 0)
    assert paired(stored("15/main"), here("15/main", "17/main")) == ([("15/main", "15/main")], 0)
    assert paired(stored("13/main", "13/web"), here("17/main", "17/web")) == (
        [("13/main", "17/main"), ("13/web", "17/web")],
        0,
    )
    assert paired(stored("13/main", "15/main"), here("17/main")) == ([("15/main", "17/main")], 1)
    assert paired(stored("13/main", "15/main"), here("17/main"), **{"from": "13/main"})[0] == [("13/main", "17/main")]
    assert paired(stored("15/main", "15/web"), here("15/web")) == ([("15/web", "15/web")], 1)
    assert paired(stored("15/main", "15/web"), here("17/x"), **{"from": "15/web"}) == ([("15/web", "17/x")], 0)
