"""`internal mysql2fs` and `internal fs2mysql`: servers and scripts to directories and back."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tklbam_mysql.cli import fs2mysql, mysql2fs

DATABASES = ("shop", "other", "we.ird/na`me%")
SMALL = """
CREATE DATABASE d; USE d; CREATE TABLE t (id int PRIMARY KEY, x text); INSERT INTO t VALUES (1,'a),(\\nb;'),(2,'it''s');
CREATE TABLE u (id int); INSERT INTO u VALUES (5); CREATE DATABASE e; CREATE TABLE e.t (id int);
"""


def run(command: Any, *words: str) -> Result:
    result = CliRunner().invoke(command, list(words))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def value(result: Result) -> int:
    return result.return_value if isinstance(result.return_value, int) else result.exit_code


def test_from_server_to_server(source: Any, target: Any, tmp_path: Path) -> None:
    source.sql(SMALL)
    result = run(mysql2fs, "-v", "--socket", source.socket, "-u", "root", str(tmp_path), "-d/u", "-e")
    assert "d: 2 tables, 2 rows" in result.output
    assert run(fs2mysql, "--socket", target.socket, "-u", "root", str(tmp_path)).exit_code == 0
    assert target.sql("SELECT x FROM d.t; SELECT count(*) FROM d.u") == "a),(\\nb;\nit's\n0\n"


def test_script_restores_what_the_directory_holds(
    source: Any, target: Any, tools: Any, tmp_path: Path, fidelity: str
) -> None:
    source.sql(fidelity)
    tools.dump(source, tmp_path)
    for extra in ([], ["--skip-extended-insert"]):
        target.reset()
        script = tmp_path / "script.sql"
        run(fs2mysql, "--add-drop-database", "--tofile", str(script), *extra, str(tmp_path / "myfs"))
        target.sql(script.read_text(errors="surrogateescape"), "--binary-mode")
        assert target.state_without_orphans(source) == source.state_without_orphans(target)
        for database in DATABASES:
            assert target.checksums(database) == source.checksums(database)


def test_vendors_script_becomes_a_directory_that_restores(
    source: Any, target: Any, tools: Any, tmp_path: Path, fidelity: str
) -> None:
    source.sql(fidelity)
    source.sql(
        "DROP TABLE shop.kinds, shop.charsets, `shop`.`floats only`, shop.my_float, shop.periods"
    )  # floats get lost
    source.sql("CREATE USER 'gone'@'%'; GRANT ALL ON *.* TO 'gone'@'%'")
    script = tmp_path / "script.sql"
    script.write_text(source.vendor_dump(*DATABASES), errors="surrogateescape")
    result = run(mysql2fs, "--fromfile", str(script), str(tmp_path / "myfs"))
    assert "left out" not in result.output
    target.sql("CREATE USER 'gone'@'%'; GRANT ALL ON *.* TO 'gone'@'%'")
    report = tools.restore(target, tmp_path)
    assert report.failures == ()
    for database in DATABASES:
        assert target.checksums(database) == source.checksums(database)
    assert tools.without_volatile(target.vendor_dump(*DATABASES)) == tools.without_volatile(
        source.vendor_dump(*DATABASES)
    )


@pytest.mark.parametrize("options", [["--skip-extended-insert"], ["--complete-insert"], ["--compact"]])
def test_scripts_in_other_shapes_are_read(
    source: Any, target: Any, tools: Any, tmp_path: Path, options: list[str]
) -> None:
    source.sql(SMALL)
    script = subprocess.run(
        [
            "mariadb-dump",
            "--no-defaults",
            f"--socket={source.socket}",
            "--user=root",
            *options,
            "--databases",
            "d",
            "e",
        ],
        check=True,
        capture_output=True,
    ).stdout
    (tmp_path / "s").write_bytes(script.replace(b"),\n(", b"),("))
    run(mysql2fs, "--fromfile", str(tmp_path / "s"), str(tmp_path / "myfs"), "-d/u")
    assert tools.restore(target, tmp_path).failures == ()
    assert target.checksums("d")["t"] == source.checksums("d")["t"]
    assert target.sql("SELECT count(*) FROM d.u") == "0\n"


def test_a_directory_with_something_in_it_is_only_written_over_when_told(source: Any, tmp_path: Path) -> None:
    from tklbam_core.api import UsageError

    (tmp_path / "precious").write_text("x")
    with pytest.raises(UsageError, match="not empty"):
        run(mysql2fs, "--socket", source.socket, "-u", "root", str(tmp_path))
    assert (tmp_path / "precious").exists()
    run(mysql2fs, "-D", "--socket", source.socket, "-u", "root", str(tmp_path))
    assert not (tmp_path / "precious").exists()
    assert (tmp_path / "manifest.json").exists()


def test_password_on_the_command_line_draws_a_warning(source: Any, tmp_path: Path) -> None:
    source.sql("CREATE USER me@localhost IDENTIFIED BY 'pw'; GRANT ALL ON *.* TO me@localhost")
    result = run(mysql2fs, "--socket", source.socket, "-u", "me", "-p", "pw", str(tmp_path))
    assert "can be seen" in result.output
    assert (tmp_path / "manifest.json").exists()


def test_another_root_has_no_server(tmp_path: Path) -> None:
    from tklbam_core.api import UsageError

    with pytest.raises(UsageError, match="--root"):
        run(mysql2fs, "--root", "/somewhere", "--debug", str(tmp_path))


def test_cut_off_script_is_an_error(tmp_path: Path) -> None:
    from tklbam_core.api import FormatError

    (tmp_path / "s").write_text("USE `d`;\nCREATE TABLE `t` (\n  `id` int\n);\nINSERT INTO `t` VALUES (1),\n(2")
    with pytest.raises(FormatError, match="ends in"):
        run(mysql2fs, "--fromfile", str(tmp_path / "s"), str(tmp_path / "out"))
