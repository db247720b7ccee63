"""What belongs to the whole server beside its accounts: grants to everyone, functions out of libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_grants_to_everyone_travel_and_are_rolled_back(source: Any, target: Any, tools: Any, tmp_path: Path) -> None:
    source.sql("CREATE DATABASE shop; CREATE TABLE shop.goods (a int); GRANT SELECT ON shop.* TO PUBLIC")
    shown = "SHOW GRANTS FOR PUBLIC"
    report = tools.dump(source, tmp_path)
    assert report.failures == ()
    target.sql("CREATE DATABASE own; GRANT INSERT ON own.* TO PUBLIC")
    before = target.sql(shown)
    (tmp_path / "rollback").mkdir()
    assert tools.restore(target, tmp_path, rollback=tmp_path / "rollback").failures == ()
    assert "ON `shop`.*" in target.sql(shown)
    assert target.sql(shown) == source.sql(shown)
    tools.roll_back(target, tmp_path / "rollback")
    assert target.sql(shown) == before


def test_grants_to_everyone_come_to_a_server_that_never_had_any_and_go_again(
    source: Any, new_server: Any, tools: Any, tmp_path: Path
) -> None:
    source.sql("CREATE DATABASE shop; GRANT SELECT ON shop.* TO PUBLIC")
    tools.dump(source, tmp_path)
    fresh = new_server()
    (tmp_path / "rollback").mkdir()
    assert tools.restore(fresh, tmp_path, rollback=tmp_path / "rollback").failures == ()
    assert fresh.sql("SHOW GRANTS FOR PUBLIC") == source.sql("SHOW GRANTS FOR PUBLIC")
    tools.roll_back(fresh, tmp_path / "rollback")
    assert "shop" not in fresh.sql("SHOW GRANTS FOR PUBLIC")


def test_functions_out_of_libraries_are_named(source: Any, tools: Any, tmp_path: Path) -> None:
    source.sql("INSERT INTO mysql.func VALUES ('lib_mysqludf_area', 2, 'area.so', 'aggregate')")
    try:
        (warning,) = tools.dump(source, tmp_path).warnings
        assert "CREATE AGGREGATE FUNCTION `lib_mysqludf_area` RETURNS … SONAME 'area.so'" in warning
        assert tools.dump(source, tmp_path / "without", "-mysql").warnings == ()
    finally:
        source.sql("DELETE FROM mysql.func")
