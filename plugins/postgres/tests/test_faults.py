"""When the server, the disk or the administrator gets in the way of a dump or restore."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tklbam_core.api import DatabaseError, DumpRequest, Limits, ProgressEvent, RestoreRequest
from tklbam_postgres import clusters, options, plugin

BIG = """
CREATE DATABASE shop;
CREATE DATABASE blog;
\\connect shop
CREATE TABLE small AS SELECT 1 AS a;
CREATE TABLE big AS SELECT g AS id, repeat(md5(g::text), 10) AS t FROM generate_series(1, 90000) g;
\\connect blog
CREATE TABLE posts AS SELECT 'hello' AS t;
"""


def test_server_killed_in_mid_dump(make_cluster: Callable[..., Any], extras: Path) -> None:
    with make_cluster() as server:
        server.sql(BIG)
        killed: list[str] = []

        def kill(event: ProgressEvent) -> None:
            if not killed and event.item.startswith("shop/"):
                killed.append(event.item)
                server.kill()

        request = DumpRequest(extras=extras, limits=Limits(), options=server.options, progress=kill)
        report = plugin.tklbam_database_dump(request)
        assert report is not None
        assert killed
        assert [each.name for each in report.databases] == ["blog"]
        assert [each.database for each in report.failures] == ["shop"]
        assert not (extras / "pgfs/server/shop").exists()


def test_server_killed_in_mid_restore(
    cluster: Any, make_cluster: Callable[..., Any], extras: Path, rollback: Path
) -> None:
    cluster.sql(BIG)
    cluster.dump(extras)
    with make_cluster() as server:
        server.sql(BIG.replace("90000", "10"))
        before = server.checksums("shop")
        killed: list[str] = []

        def kill(event: ProgressEvent) -> None:
            if not killed and event.item.startswith("shop/"):
                killed.append(event.item)
                server.kill()

        request = RestoreRequest(
            extras=extras, limits=Limits(), rollback=rollback, options=server.options, progress=kill
        )
        report = plugin.tklbam_database_restore(request)
        assert report is not None
        assert [each.name for each in report.databases] == ["blog"]
        assert [each.database for each in report.failures] == ["shop"]
        assert any("is left on the server" in warning for warning in report.warnings)

        server.start()
        assert server.checksums("shop") == before
        server.roll_back(rollback)
        assert server.databases() == ["blog", "postgres", "shop", "template0", "template1"]
        assert server.checksums("shop") == before


def test_wrong_password_is_an_error_that_does_not_show_it(cluster: Any, extras: Path, tmp_path: Path) -> None:
    cluster.sql("CREATE ROLE backup SUPERUSER LOGIN PASSWORD 'right'; CREATE DATABASE shop")
    file = tmp_path / "password"
    words = {"host": "127.0.0.1", "port": str(cluster.port), "user": "backup", "password-file": str(file)}
    request = DumpRequest(extras=extras, limits=Limits(), options=words)
    file.write_text("wrong-one\n")
    with pytest.raises(DatabaseError, match="password authentication failed") as caught:
        plugin.tklbam_database_dump(request)
    assert "wrong-one" not in str(caught.value)
    file.write_text("right\n")
    report = plugin.tklbam_database_dump(request)
    assert report is not None
    assert [each.name for each in report.databases] == ["shop"]
    file.unlink()
    with pytest.raises(DatabaseError, match="password file"):
        plugin.tklbam_database_dump(request)


def test_who_is_no_superuser_is_told_what_is_missing(cluster: Any, extras: Path, tmp_path: Path) -> None:
    cluster.sql("CREATE ROLE mere LOGIN PASSWORD 'x'; CREATE DATABASE theirs; CREATE DATABASE shop OWNER mere")
    cluster.sql("CREATE DATABASE part")
    cluster.sql("CREATE TABLE rows (a int); ALTER TABLE rows ENABLE ROW LEVEL SECURITY", "part")
    cluster.sql("GRANT SELECT ON rows TO mere", "part")
    cluster.sql("CREATE TABLE hidden (a int); INSERT INTO hidden VALUES (1)", "theirs")
    cluster.sql("SET ROLE mere; CREATE SCHEMA s; CREATE TABLE s.mine AS SELECT 1 AS a", "shop")
    file = tmp_path / "password"
    file.write_text("x")
    words = {"host": "127.0.0.1", "port": str(cluster.port), "user": "mere", "password-file": str(file)}
    report = plugin.tklbam_database_dump(DumpRequest(extras=extras, limits=Limits(), options=words))
    assert report is not None
    assert [each.name for each in report.databases] == ["shop"]
    failures = [(each.database, each.table, "denied" in each.reason) for each in report.failures]
    assert failures == [("part", "rows", False), ("theirs", "public.hidden", True)]
    assert any("passwords of roles are not in the backup" in warning for warning in report.warnings)


def test_a_locked_table_is_named_and_the_rest_is_dumped(cluster: Any, extras: Path) -> None:
    cluster.sql(BIG)
    locker = subprocess.Popen(
        cluster.as_owner([str(max(Path("/usr/lib/postgresql").glob("*/bin/psql"))), "-X", "-q", "-d", "shop"]),
        env=cluster.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
    )
    try:
        assert locker.stdin is not None
        assert locker.stdout is not None
        locker.stdin.write("BEGIN; LOCK TABLE small; SELECT 'locked';\n")
        locker.stdin.flush()
        while "locked" not in locker.stdout.readline().split():
            pass
        report = cluster.dump(extras, **{"lock-timeout": "1"})
    finally:
        locker.kill()
        locker.communicate()
    assert [(each.database, each.table) for each in report.failures] == [("shop", "public.small")]
    assert "locked by another session" in report.failures[0].reason
    assert [each.name for each in report.databases] == ["blog"]


def test_writers_are_not_blocked_and_the_dump_is_of_one_moment(cluster: Any, other: Any, extras: Path) -> None:
    cluster.sql(BIG)
    written: list[str] = []

    def write(event: ProgressEvent) -> None:
        if event.item.startswith("shop/"):
            cluster.sql(
                "SET lock_timeout = '2s'; UPDATE small SET a = a + 1; INSERT INTO big VALUES (0, 'late')", "shop"
            )
            written.append(event.item)

    request = DumpRequest(extras=extras, limits=Limits(), options={**cluster.options, "jobs": "1"}, progress=write)
    report = plugin.tklbam_database_dump(request)
    assert report is not None
    assert report.failures == ()
    assert written
    other.restore(extras)
    assert other.sql("SELECT a FROM small", "shop") == "1\n"
    assert other.sql("SELECT count(*) FROM big", "shop") == "90000\n"


@pytest.mark.root
def test_a_full_disk_under_the_extras_loses_nothing_silently(cluster: Any, tmp_path: Path) -> None:
    cluster.sql(BIG)
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(small)], check=True)
    try:
        extras = small / "extras"
        extras.mkdir(mode=0o700)
        report = cluster.dump(extras)
        assert [each.name for each in report.databases] == ["blog"]
        (failure,) = report.failures
        assert failure.database == "shop"
        assert "No space left on device" in failure.reason
        assert not (extras / "pgfs/server/shop").exists()
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_stopped_cluster_is_an_error_that_names_it(tmp_path: Path, extras: Path) -> None:
    words = {"socket": str(tmp_path), "port": "5439", "cluster": "15/main"}
    with pytest.raises(DatabaseError, match="cluster 15/main"):
        plugin.tklbam_database_dump(DumpRequest(extras=extras, limits=Limits(), options=words))


def test_no_postgresql_here_is_an_answer(tmp_path: Path, extras: Path) -> None:
    assert plugin.tklbam_database_dump(DumpRequest(extras=extras, limits=Limits(), root=tmp_path)) is None
    assert clusters.on_host(tmp_path) == []


def test_an_unknown_option_is_refused(extras: Path) -> None:
    from tklbam_core.api import ConfigError

    for words in ({"pasword-file": "x"}, {"port": "no"}, {"jobs": "0"}):
        with pytest.raises(ConfigError, match=next(iter(words))):
            options.parse(words)


def test_a_password_is_never_in_an_argument_list(
    cluster: Any, extras: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tklbam_postgres import connect

    cluster.sql("CREATE ROLE backup SUPERUSER LOGIN PASSWORD 'hunter22'")
    file = tmp_path / "password"
    file.write_text("hunter22")
    words = {"host": "127.0.0.1", "port": str(cluster.port), "user": "backup", "password-file": str(file)}
    chosen = options.parse(words)
    (found,) = clusters.find(chosen)
    server = connect.reach(found, chosen)
    assert "hunter22" not in repr(server)
    assert "hunter22" not in " ".join([*server.argv("pg_dump"), server.target("postgres")])
    assert server.secrets() == {"PGPASSWORD": "hunter22"}
