"""`tklbam internal pgsql2fs` and `fs2pgsql`, as people and scripts run them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def tklbam(server: Any, *words: str) -> subprocess.CompletedProcess[str]:
    program = "from tklbam_core.cli.main import main; main()"
    environment = {**server.environment, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-c", program, "internal", *words], env=environment, capture_output=True, text=True
    )


def test_there_and_back_by_the_environment(cluster: Any, other: Any, tmp_path: Path) -> None:
    cluster.sql("CREATE DATABASE shop; CREATE DATABASE blog; CREATE TABLE in_postgres (a int)")
    cluster.sql("CREATE TABLE goods AS SELECT 1 AS a; CREATE TABLE log AS SELECT 1 AS a", "shop")
    out = tmp_path / "pgfs"
    done = tklbam(cluster, "pgsql2fs", str(out), "shop", "postgres", "-shop/log")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["postgres", "shop"]
    assert sorted(path.name for path in out.iterdir()) == ["pgfs.json", "server"]

    assert tklbam(other, "fs2pgsql", "--simulate", str(out)).returncode == 0
    assert "shop" not in other.databases()
    done = tklbam(other, "fs2pgsql", "--root", "/", str(out), "-postgres")
    assert (done.returncode, done.stderr) == (0, "warning: shop: not in the backup, so empty: public.log\n")
    assert other.sql("SELECT (SELECT count(*) FROM goods), (SELECT count(*) FROM log)", "shop") == "1|0\n"
    assert other.sql("SELECT to_regclass('in_postgres') IS NULL") == "t\n"
    assert [name for name in other.databases() if name.startswith("tklbam")] == []


def test_quiet_says_nothing_and_another_root_has_no_server(cluster: Any, tmp_path: Path) -> None:
    done = tklbam(cluster, "pgsql2fs", "-q", str(tmp_path / "pgfs"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    nobody = SimpleNamespace(environment={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"})
    done = tklbam(nobody, "pgsql2fs", f"--root={tmp_path}", str(tmp_path / "none"))
    assert done.returncode == 1
    assert "no PostgreSQL on this host" in done.stderr


def test_a_directory_that_is_not_empty_is_refused(cluster: Any, tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    done = tklbam(cluster, "pgsql2fs", str(tmp_path))
    assert done.returncode == 2
    assert "is not empty" in done.stderr
    assert (tmp_path / "precious").exists()


def test_a_database_that_fails_is_said_and_is_exit_3(cluster: Any, tmp_path: Path) -> None:
    cluster.sql("CREATE DATABASE shop; CREATE DATABASE closed ALLOW_CONNECTIONS false")
    done = tklbam(cluster, "pgsql2fs", str(tmp_path / "out"))
    assert done.returncode == 3
    assert "error: closed: it accepts no connections" in done.stderr


def test_no_server_is_exit_1_with_what_to_do(cluster: Any, tmp_path: Path) -> None:
    nobody = SimpleNamespace(environment={**cluster.environment, "PGHOST": str(tmp_path)})
    done = tklbam(nobody, "pgsql2fs", str(tmp_path / "out"))
    assert done.returncode == 1
    assert done.stderr.startswith("error: nothing of PostgreSQL could be read")
