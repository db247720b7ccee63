"""Databases come from an older PostgreSQL, read by its own programs or by newer ones, onto this one and a newer one."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tklbam_core.api import DatabaseError
from tklbam_postgres import connect

from .conftest import OLD_ROOT
from .test_newer import GRANTED, MANY, MEMBERS, printed
from .test_v1 import write_v1

LATER = {
    "GRANT SET ON PARAMETER log_min_duration_statement TO boss;": "",
    "(a int UNIQUE NULLS NOT DISTINCT, r int4multirange)": "(a int UNIQUE, r int4range)",
    "'{[1,3),[5,7)}'": "'[1,3)'",
    "app.customers (id, name) WHERE (id > 1000), app.orders": "app.customers, app.orders",
}
"""What in `everything` PostgreSQL 13 does not know, and what takes its place."""
ROLES = (
    "SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls,"
    " rolconnlimit, rolpassword, rolvaliduntil, shobj_description(oid, 'pg_authid') FROM pg_authid"
    " WHERE rolname !~ '^pg_' ORDER BY 1;"
    "SELECT datname, rolname, setconfig FROM pg_db_role_setting LEFT JOIN pg_database d ON d.oid = setdatabase"
    " LEFT JOIN pg_roles r ON r.oid = setrole ORDER BY 1, 2"
)
PUBLIC = "SELECT pg_get_userbyid(nspowner), nspacl, obj_description(oid) FROM pg_namespace WHERE nspname = 'public'"
OWNERS = """
CREATE ROLE bob;
CREATE DATABASE plain;
CREATE DATABASE bobs;
CREATE DATABASE none;
\\connect bobs
ALTER SCHEMA public OWNER TO bob;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
COMMENT ON SCHEMA public IS 'bob''s';
\\connect none
DROP SCHEMA public;
"""
OUTDATED = """
SET password_encryption = 'md5';
CREATE ROLE "o'ld" LOGIN PASSWORD 'x';
CREATE ROLE group_of_old PASSWORD 'x';
SET password_encryption = 'scram-sha-256';
CREATE ROLE new LOGIN PASSWORD 'x';
ALTER ROLE new SET operator_precedence_warning = on;
CREATE DATABASE shop;
ALTER DATABASE shop SET vacuum_cleanup_index_scale_factor = 0.2;
ALTER ROLE new IN DATABASE shop SET vacuum_cleanup_index_scale_factor = 0.3;
\\connect shop
CREATE TABLE t AS SELECT g AS a FROM generate_series(1, 3) g;
INSERT INTO pg_shseclabel SELECT oid, 'pg_database'::regclass, 'nobody', 'all' FROM pg_database WHERE datname = 'shop';
INSERT INTO pg_seclabel VALUES ('t'::regclass, 'pg_class'::regclass, 0, 'nobody', 'secret'),
    ('t'::regclass, 'pg_class'::regclass, 1, 'nobody', 'more');
GRANT EXECUTE ON FUNCTION pg_start_backup(text, boolean, boolean) TO new;
GRANT EXECUTE ON FUNCTION pg_switch_wal() TO new;
CREATE AGGREGATE "all of"(anyelement) (SFUNC = array_append, STYPE = anyarray, INITCOND = '{}');
COMMENT ON AGGREGATE "all of"(anyelement) IS 'of (anyelement)';
GRANT EXECUTE ON FUNCTION "all of"(anyelement) TO new;
REVOKE EXECUTE ON FUNCTION "all of"(anyelement) FROM PUBLIC;
ALTER AGGREGATE "all of"(anyelement) OWNER TO new;
CREATE VIEW v AS SELECT "all of"(a) FROM t;
CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql AS 'SELECT $1 * 2';
CREATE OPERATOR @!@ (LEFTARG = int, FUNCTION = twice);
COMMENT ON OPERATOR @!@ (int, NONE) IS 'twice';
"""


@pytest.fixture
def programs(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that makes the programs of some servers those that our code finds."""

    def find(*servers: Any) -> None:
        directory = servers[0].base / tmp_path_factory.mktemp("programs").name
        directory.mkdir()
        for server in servers:
            (directory / str(server.major)).symlink_to(server.binaries.parent)
        monkeypatch.setattr(connect, "PROGRAMS", directory)

    return find


def known(script: str) -> str:
    for words, instead in LATER.items():
        assert words in script
        script = script.replace(words, instead)
    return script


@pytest.mark.parametrize("own", [True, False], ids=["own programs", "newer programs"])
def test_everything_arrives_and_what_was_there_comes_back(
    older: Any, other: Any, newest: Any, extras: Path, rollback: Path, programs: Any, everything: str, own: bool
) -> None:
    older.sql(known(everything) + MANY)
    older.sql(GRANTED)
    if own:
        programs(older, other, newest)
    else:
        programs(other, newest)
    assert older.dump(extras).failures == ()
    for server in (other, newest):
        server.sql("CREATE ROLE clerk; CREATE DATABASE shop; \\connect shop\nCREATE TABLE mine AS SELECT 1 AS a")
        before = server.globals(), server.snapshot("shop"), server.databases()
        place = rollback / str(server.major)
        place.mkdir()
        restored = server.restore(extras, rollback=place)
        assert (restored.failures, restored.warnings) == ((), ())
        for name in ("shop", "postgres"):
            assert printed(server, newest, name) == printed(older, newest, name)
        assert server.checksums("shop") == older.checksums("shop")
        assert server.large_objects("shop") == older.large_objects("shop")
        assert server.sql(MEMBERS) == older.sql(MEMBERS)
        assert server.sql(ROLES) == older.sql(ROLES)
        server.roll_back(place)
        assert (server.globals(), server.snapshot("shop"), server.databases()) == before
    before = older.snapshot("shop")
    assert older.restore(extras).failures == ()
    assert older.snapshot("shop") == before


def test_schema_public_is_whose_it_was_and_for_whom(
    older: Any, newest: Any, extras: Path, programs: Any, tmp_path: Path
) -> None:
    older.sql(OWNERS)
    programs(older)
    assert older.dump(extras).failures == ()
    classic = tmp_path / "classic"
    classic.mkdir()
    write_v1(older, classic / "pgfs", "plain")
    programs(newest)
    assert newest.restore(extras).failures == ()
    for name in ("plain", "bobs", "none"):
        assert newest.sql(PUBLIC, name) == older.sql(PUBLIC, name)
    assert newest.sql(PUBLIC, "none") == ""
    assert newest.restore(classic).failures == ()
    everybody = "SELECT has_schema_privilege('bob', 'public', 'CREATE')"
    assert newest.sql(everybody, "plain") == "t\n"


def test_what_newer_servers_no_longer_have_is_fitted_or_told(
    older: Any, newest: Any, extras: Path, programs: Any
) -> None:
    older.sql(OUTDATED)
    older.sql("CREATE ROLE team; GRANT team TO new")
    newest.sql("CREATE ROLE team; CREATE ROLE new; GRANT team TO new WITH INHERIT FALSE, SET FALSE")
    programs(older, newest)
    assert older.dump(extras).failures == ()
    report = newest.restore(extras)
    assert report.failures == ()
    (told,) = [each.warnings for each in report.databases if each.name == "shop"]
    assert [each for each in told if "tklbam_new" in each] == []
    for words in (
        'not set: ALTER DATABASE "shop" SET vacuum_cleanup_index_scale_factor',
        'not set: ALTER ROLE new IN DATABASE "shop" SET vacuum_cleanup_index_scale_factor',
        "operator public.@!@ is left out",
        "not set: GRANT ALL ON FUNCTION pg_catalog.pg_start_backup(",
        "aggregate public.all of(anyelement) takes anycompatible",
        "3 of 3 security labels are not set: SECURITY LABEL FOR nobody ON ",
    ):
        assert [words in each for each in told].count(True) == 1, words
    assert [each for each in report.warnings if "operator_precedence_warning" in each]
    (passwords,) = [each for each in report.warnings if "MD5" in each]
    assert "passwords of o'ld are" in passwords
    options = "SELECT inherit_option, set_option FROM pg_auth_members WHERE roleid = 'team'::regrole"
    assert newest.sql(options) == "t|t\n"
    assert newest.sql("SELECT * FROM v", "shop") == "{1,2,3}\n"
    about = (
        "SELECT proowner::regrole, proacl, obj_description(oid, 'pg_proc') FROM pg_proc WHERE proname = 'all of';"
        "SELECT count(*) FROM pg_operator WHERE oprname = '@!@'"
    )
    assert newest.sql("SELECT has_function_privilege('new', 'pg_switch_wal()', 'EXECUTE')", "shop") == "t\n"
    assert newest.sql(about, "shop") == older.sql(about, "shop").replace("\n1", "\n0")


def test_what_can_be_neither_fitted_nor_left_out_is_said_before_anything_happens(
    older: Any, newest: Any, extras: Path, programs: Any
) -> None:
    older.sql(OUTDATED)
    older.sql("CREATE VIEW uses_it AS SELECT a @!@ AS b FROM t", "shop")
    programs(older, newest)
    assert older.dump(extras).failures == ()
    newest.sql("CREATE DATABASE shop; \\connect shop\nCREATE TABLE mine AS SELECT 1 AS a")
    before = newest.snapshot("shop"), newest.globals()
    for simulate in (True, False):
        with pytest.raises(DatabaseError, match=r"view public.uses_it uses operator public.@!@, .* PostgreSQL 17"):
            newest.restore(extras, simulate=simulate)
        assert newest.snapshot("shop") == before[0]
        if simulate:
            assert newest.globals() == before[1]
    # What is in the way can be left out, by the name that the error calls it.
    report = newest.restore(extras, **{"leave-out": "view public.uses_it; index no.such"})
    assert "left out, as asked for: view public.uses_it" in report.databases[-1].warnings
    assert "leave-out: nothing that was to be restored is called index no.such" in report.warnings
    assert newest.sql("SELECT * FROM v", "shop") == "{1,2,3}\n"
    with pytest.raises(DatabaseError, match=r"table public\.t can't be left out, for .* would go with it"):
        newest.restore(extras, **{"leave-out": "table public.t"})


def test_functions_that_go_by_search_path_find_what_they_use_or_their_index_can_be_left_out(
    older: Any, other: Any, newest: Any, extras: Path, rollback: Path, programs: Any
) -> None:
    older.sql(
        """
        CREATE DATABASE shop;
        ALTER DATABASE shop SET search_path = "of, it", public;
        \\connect shop
        CREATE SCHEMA "of, it";
        CREATE FUNCTION half(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 / 2';
        CREATE FUNCTION quarter(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT half(half($1))';
        CREATE TABLE public.t AS SELECT g AS a FROM generate_series(1, 9) g;
        ALTER TABLE t ADD CHECK (quarter(a) < 3);
        """
    )
    programs(older, other, newest)
    assert older.dump(extras).failures == ()
    for server in (other, newest):
        report = server.restore(extras, rollback=rollback)
        assert report.failures == ()
        assert "restored with search_path 'of, it', 'public'" in report.databases[-1].warnings[0]
        assert server.checksums("shop") == older.checksums("shop")
        server.roll_back(rollback)
        assert server.databases() == ["postgres", "template0", "template1"]
    older.sql("CREATE INDEX by_quarter ON t (quarter(a))", "shop")
    assert older.dump(extras).failures == ()
    assert other.restore(extras).failures == ()
    # Here it is made with a search_path that nobody can set.
    with pytest.raises(DatabaseError, match=r"pgsql:leave-out=index public\.by_quarter"):
        newest.restore(extras)
    assert newest.restore(extras, **{"leave-out": "index public.by_quarter"}).failures == ()
    assert newest.checksums("shop") == older.checksums("shop")


def test_the_version_of_a_collation_is_noted_where_the_server_keeps_none(
    older: Any, extras: Path, programs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs(older)
    locales = older.base / "locales"
    locales.mkdir()
    (locales / "C.utf8").symlink_to("/usr/lib/locale/C.utf8")
    monkeypatch.setenv("I18NPATH", f"{OLD_ROOT}/usr/share/i18n")
    subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8", locales / "de_DE.UTF-8"], check=True)
    older.stop()
    with monkeypatch.context() as patch:
        patch.setenv("LOCPATH", str(locales))
        older.start()
    older.sql(
        """
        CREATE DATABASE shop LOCALE 'de_DE.UTF-8' TEMPLATE template0;
        CREATE DATABASE bytes;
        \\connect shop
        CREATE COLLATION german (locale = 'de_DE.UTF-8');
        """
    )
    assert older.dump(extras).failures == ()
    noted = {name: json.loads((extras / f"pgfs/server/{name}/database.json").read_text()) for name in ("shop", "bytes")}
    libc = os.confstr("CS_GNU_LIBC_VERSION").split()[1]
    assert {name: facts["collation"]["version"] for name, facts in noted.items()} == {"shop": libc, "bytes": None}


def test_limits_hold_across_versions(older: Any, newest: Any, extras: Path, programs: Any, everything: str) -> None:
    older.sql(known(everything))
    programs(older, newest)
    assert older.dump(extras, "pgsql:sh*", "-pgsql:shop/measures", "pgsql:shop/measures_rest").failures == ()
    newest.sql("CREATE DATABASE shop; \\connect shop\nCREATE SCHEMA app; CREATE TABLE app.same AS SELECT 2 AS a")
    simulated = newest.restore(extras, "-pgsql:sh?p/app.s*e", simulate=True)
    report = newest.restore(extras, "-pgsql:sh?p/app.s*e")
    assert ([each.name for each in report.databases], report.failures) == (["shop"], ())
    assert [each.name for each in simulated.databases] == ["shop"]
    counts = "SELECT count(*), (SELECT count(*) FROM app.measures), (SELECT count(*) FROM app.orders) FROM app.same"
    rest = older.sql("SELECT count(*) FROM app.measures_rest", "shop").strip()
    orders = older.sql("SELECT count(*) FROM app.orders", "shop").strip()
    assert newest.sql(counts, "shop") == f"1|{rest}|{orders}\n"
