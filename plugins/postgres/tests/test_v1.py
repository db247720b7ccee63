"""pgfs v1, as classic TKLBAM wrote it, restores."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

from tklbam_core.api import RestoreRequest
from tklbam_postgres import plugin, toc


def write_v1(server: Any, base: Path, *databases: str) -> None:
    """An unpacked tar dump a database, the order of its members in manifest.txt; globals beside them."""
    base.mkdir()
    (base / ".globals.sql").write_text(server.run("pg_dumpall", "--globals-only"))
    for name in databases:
        directory = base / name
        directory.mkdir()
        tar = subprocess.run(
            server.as_owner(["pg_dump", "--format=tar", "--dbname", name]),
            env=server.environment,
            capture_output=True,
            cwd="/",
            check=True,
        ).stdout
        subprocess.run(["tar", "-x", "-C", str(directory)], input=tar, check=True)
        members = subprocess.run(["tar", "-t"], input=tar, capture_output=True, check=True).stdout
        (directory / "manifest.txt").write_bytes(members)


def test_classic_dump_restores(cluster: Any, other: Any, extras: Path, rollback: Path, everything: str) -> None:
    cluster.sql(everything)
    write_v1(cluster, extras / "pgfs", "shop", "postgres")
    report = other.restore(extras, rollback=rollback)
    assert report.failures == ()
    assert other.snapshot("shop") == cluster.snapshot("shop")
    assert other.snapshot("postgres") == cluster.snapshot("postgres")
    assert other.checksums("shop") == cluster.checksums("shop")
    cluster.sql("ALTER ROLE ALL RESET ALL")  # pg_dumpall leaves it out
    assert other.globals() == cluster.globals()


def test_classic_dump_obeys_limits(cluster: Any, other: Any, extras: Path, everything: str) -> None:
    cluster.sql(everything)
    write_v1(cluster, extras / "pgfs", "shop", "postgres")
    report = other.restore(extras, "pgsql:shop", "-pgsql:shop/orders")
    assert [each.name for each in report.databases] == ["shop"]
    assert other.sql("SELECT (SELECT count(*) FROM app.orders), (SELECT count(*) FROM app.same)", "shop") == "0|50\n"


def test_classic_dump_with_a_member_missing_is_refused(cluster: Any, other: Any, extras: Path, everything: str) -> None:
    cluster.sql(everything)
    write_v1(cluster, extras / "pgfs", "shop", "postgres")
    max((extras / "pgfs/shop").glob("[0-9]*.dat"), key=lambda path: path.stat().st_size).unlink()
    request = RestoreRequest(extras=extras, limits=_none(), rollback=None, options=other.options)
    report = plugin.tklbam_database_restore(request)
    assert report is not None
    (failure,) = report.failures
    assert failure.database == "shop"
    assert "manifest.txt" in failure.reason


def test_hidden_columns_of_old_servers_are_told(cluster: Any, other: Any, extras: Path) -> None:
    cluster.sql("CREATE DATABASE shop; \\connect shop\nCREATE TABLE goods AS SELECT 1 AS a; CREATE TABLE plain ()")
    write_v1(cluster, extras / "pgfs", "shop")
    file = extras / "pgfs/shop/toc.dat"
    contents = toc.read(file)
    contents.server_version = b"11.22"
    contents.of_kind("TABLE")[0].with_oids = b"true"
    toc.write(contents, file)
    (shop,) = other.restore(extras).databases
    assert shop.warnings == (f"PostgreSQL {other.major} has no hidden columns oid: left out of table public.goods",)
    assert other.sql("SELECT a FROM goods", "shop") == "1\n"


def test_what_programs_before_11_wrote_restores(cluster: Any, other: Any, extras: Path) -> None:
    """They have the archive make what is there in every new database."""
    cluster.sql("CREATE ROLE bob; CREATE DATABASE shop; \\connect shop\nCREATE TABLE goods AS SELECT 1 AS a")
    write_v1(cluster, extras / "pgfs", "shop")
    file = extras / "pgfs/shop/toc.dat"
    contents = toc.read(file)
    contents.server_version = contents.dump_version = b"9.0.23"
    (table,) = contents.of_kind("TABLE")
    schema = replace(
        table,
        dump_id=9001,
        kind="SCHEMA",
        tag=b"public",
        namespace=b"",
        owner=b"bob",
        definition=b"CREATE SCHEMA public;\n",
    )
    language = replace(
        schema,
        dump_id=9002,
        kind="PROCEDURAL LANGUAGE",
        tag=b"plpgsql",
        owner=b"postgres",
        definition=b"CREATE PROCEDURAL LANGUAGE plpgsql;\n",
    )
    comment = replace(
        schema,
        dump_id=9003,
        kind="COMMENT",
        tag=b"SCHEMA public",
        definition=b"COMMENT ON SCHEMA public IS 'shop';\n",
        depends=[b"9001"],
    )
    contents.entries = [*contents.entries, schema, language, comment]
    toc.write(contents, file)
    report = other.restore(extras)
    assert report.failures == ()
    public = "SELECT nspowner::regrole, obj_description(oid), has_schema_privilege('pg_monitor', oid, 'CREATE')"
    assert other.sql(f"{public} FROM pg_namespace WHERE nspname = 'public'", "shop") == "bob|shop|t\n"
    assert other.sql("SELECT a FROM goods", "shop") == "1\n"


def _none() -> Any:
    from tklbam_core.api import Limits

    return Limits()
