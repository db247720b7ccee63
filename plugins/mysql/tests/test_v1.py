"""A dump that classic TKLBAM wrote restores, its accounts as statements."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tklbam_mysql.cli import fs2mysql

USER_INIT = """CREATE TABLE `user` (
  `Host` char(60) COLLATE utf8_bin NOT NULL DEFAULT '',
  `User` char(16) COLLATE utf8_bin NOT NULL DEFAULT '',
  `Password` char(41) CHARACTER SET latin1 COLLATE latin1_bin NOT NULL DEFAULT '',
  `Select_priv` enum('N','Y') CHARACTER SET utf8 NOT NULL DEFAULT 'N',
  `Create_tmp_table_priv` enum('N','Y') CHARACTER SET utf8 NOT NULL DEFAULT 'N',
  `Super_priv` enum('N','Y') CHARACTER SET utf8 NOT NULL DEFAULT 'N',
  `Grant_priv` enum('N','Y') CHARACTER SET utf8 NOT NULL DEFAULT 'N',
  `ssl_type` enum('','ANY','X509','SPECIFIED') CHARACTER SET utf8 NOT NULL DEFAULT '',
  `max_user_connections` int(11) unsigned NOT NULL DEFAULT '0',
  PRIMARY KEY (`Host`,`User`)
) ENGINE=MyISAM DEFAULT CHARSET=utf8 COLLATE=utf8_bin COMMENT='Users and global privileges'"""
DB_INIT = """CREATE TABLE `db` (
  `Host` char(60) NOT NULL DEFAULT '', `Db` char(64) NOT NULL DEFAULT '', `User` char(16) NOT NULL DEFAULT '',
  `Select_priv` enum('N','Y') NOT NULL DEFAULT 'N', `Insert_priv` enum('N','Y') NOT NULL DEFAULT 'N',
  `Grant_priv` enum('N','Y') NOT NULL DEFAULT 'N', PRIMARY KEY (`Host`,`Db`,`User`)
) ENGINE=MyISAM DEFAULT CHARSET=utf8"""
TABLES_INIT = """CREATE TABLE `tables_priv` (
  `Host` char(60) NOT NULL DEFAULT '', `Db` char(64) NOT NULL DEFAULT '', `User` char(16) NOT NULL DEFAULT '',
  `Table_name` char(64) NOT NULL DEFAULT '', `Grantor` char(77) NOT NULL DEFAULT '',
  `Timestamp` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  `Table_priv` set('Select','Insert','Update','Grant','Create View') NOT NULL DEFAULT '',
  `Column_priv` set('Select','Update') NOT NULL DEFAULT ''
) ENGINE=MyISAM DEFAULT CHARSET=utf8"""
PROC_INIT = """CREATE TABLE `proc` (
  `db` char(64) character set utf8 collate utf8_bin NOT NULL default '',
  `name` char(64) NOT NULL default '',
  `type` enum('FUNCTION','PROCEDURE') NOT NULL,
  `sql_data_access` enum('CONTAINS_SQL','NO_SQL','READS_SQL_DATA','MODIFIES_SQL_DATA') NOT NULL default 'CONTAINS_SQL',
  `is_deterministic` enum('YES','NO') NOT NULL default 'NO',
  `security_type` enum('INVOKER','DEFINER') NOT NULL default 'DEFINER',
  `param_list` blob NOT NULL,
  `returns` char(64) NOT NULL default '',
  `body` longblob NOT NULL,
  `definer` char(77) character set utf8 collate utf8_bin NOT NULL default '',
  `sql_mode` set('REAL_AS_FLOAT','PIPES_AS_CONCAT','ANSI_QUOTES') NOT NULL default '',
  `comment` char(64) character set utf8 collate utf8_bin NOT NULL default '',
  `modified` timestamp NOT NULL default '0000-00-00 00:00:00',
  `character_set_client` char(32) character set utf8 collate utf8_bin default NULL,
  `collation_connection` char(32) character set utf8 collate utf8_bin default NULL,
  `db_collation` char(32) character set utf8 collate utf8_bin default NULL,
  `body_utf8` longblob,
  PRIMARY KEY  (`db`,`name`,`type`)
) TYPE=MyISAM DEFAULT CHARSET=utf8 COMMENT='Stored (old) Procedures'"""
EVENT_INIT = """CREATE TABLE `event` (
  `db` char(64) NOT NULL, `name` char(64) NOT NULL, `body` longblob NOT NULL, `definer` char(77) NOT NULL,
  `execute_at` datetime DEFAULT NULL, `interval_value` int(11) DEFAULT NULL,
  `interval_field` enum('DAY','HOUR_MINUTE') DEFAULT NULL, `starts` datetime DEFAULT NULL, `ends` datetime DEFAULT NULL,
  `status` enum('ENABLED','DISABLED','SLAVESIDE_DISABLED') NOT NULL, `on_completion` enum('DROP','PRESERVE') NOT NULL,
  `sql_mode` set('ANSI_QUOTES') NOT NULL, `comment` char(64) NOT NULL, `time_zone` char(64) NOT NULL
) ENGINE=MyISAM DEFAULT CHARSET=utf8"""
OLD_TABLE = """CREATE TABLE `old` (
  `id` int(10) unsigned NOT NULL auto_increment,
  `t` varchar(20) character set latin1 collate latin1_german1_ci NOT NULL default '',
  `changed` timestamp(14) NOT NULL,
  `made` timestamp(14) NOT NULL,
  `d` date NOT NULL default '0000-00-00',
  `y` year(4) default NULL,
  `b` bit(2) default b'1',
  `c` varchar(20) NOT NULL default '/*!50001 c*/',
  PRIMARY KEY  USING BTREE (`id`),
  KEY `k` USING BTREE (`t`(5))
) TYPE=MyISAM DEFAULT CHARSET=latin1 PACK_KEYS=1 COMMENT='a TYPE=x)'"""
HASH = "*94BDCEBE19083CE2A1F959FD02F964C7AF4CFC29"


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def classic(tmp_path: Path) -> Path:
    """A `myfs` in the classic layout, made by hand from its description."""
    myfs = tmp_path / "myfs"
    blog = myfs / "blog"
    put(blog / "init", "CREATE DATABASE /*!32312 IF NOT EXISTS*/ `blog` /*!40100 DEFAULT CHARACTER SET utf8 */;\n")
    put(
        blog / "tables/posts/init",
        "CREATE TABLE `posts` (\n  `id` int(11) NOT NULL AUTO_INCREMENT,\n  `title` varchar(99) DEFAULT NULL,\n"
        "  `data` blob,\n  PRIMARY KEY (`id`)\n) ENGINE=MyISAM AUTO_INCREMENT=3 DEFAULT CHARSET=utf8;\n",
    )
    put(blog / "tables/posts/rows", "0,'zéro',0x00FF\n1,'a\\n),(\\'b',NULL\n2,'','x'\n")
    put(
        blog / "tables/posts/triggers",
        "/*!50003 SET sql_mode = 'STRICT_ALL_TABLES' */ ;;\n"
        "/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`localhost`*/ /*!50003 TRIGGER `upper` BEFORE INSERT ON `posts`\n"
        "FOR EACH ROW BEGIN SET NEW.title = UPPER(NEW.title); SET @a = 1; END */;;\n",
    )
    put(blog / "tables/empty/init", "CREATE TABLE `empty` (\n  `id` int(11) DEFAULT NULL\n) ENGINE=InnoDB;\n")
    put(blog / "views/titles/pre", "CREATE TABLE `titles` (\n  `title` varchar(99)\n) ENGINE=MyISAM;\n")
    put(
        blog / "views/titles/post",
        "/*!50001 DROP TABLE `titles`*/;\n/*!50001 DROP VIEW IF EXISTS `titles`*/;\n"
        "/*!50001 CREATE ALGORITHM=UNDEFINED */\n"
        "/*!50013 DEFINER=`root`@`localhost` SQL SECURITY DEFINER */\n"
        "/*!50001 VIEW `titles` AS select `posts`.`title` AS `title` from `posts` */;\n",
    )
    mysql = myfs / "mysql"
    put(mysql / "init", "CREATE DATABASE `mysql`;\n")
    put(mysql / "tables/user/init", USER_INIT + ";\n")
    put(
        mysql / "tables/user/rows",
        f"'localhost','root','{HASH}','Y','Y','Y','Y','',0\n'localhost','debian-sys-maint','{HASH}','Y','Y','Y','Y','',0\n"
        f"'%','wp','{HASH}','N','N','N','N','',0\n'%','boss','','Y','Y','Y','Y','ANY',5\n"
        "'%','ancient','5d2e19393cc5ef67','N','N','N','N','',0\n",
    )
    put(mysql / "tables/db/init", DB_INIT + ";\n")
    put(mysql / "tables/db/rows", "'%','blog','wp','Y','Y','Y'\n")
    put(mysql / "tables/tables_priv/init", TABLES_INIT + ";\n")
    put(
        mysql / "tables/tables_priv/rows",
        "'%','blog','ancient','posts','root@localhost','2015-01-01 00:00:00','Select,Grant','Update'\n",
    )
    put(mysql / "tables/columns_priv/init", (
        "CREATE TABLE `columns_priv` (`Host` char(60), `Db` char(64), `User` char(16), `Table_name` char(64), "
        "`Column_name` char(64), `Timestamp` timestamp, `Column_priv` set('Select','Update')) ENGINE=MyISAM;\n"
    ))  # fmt: skip
    put(mysql / "tables/columns_priv/rows", "'%','blog','ancient','posts','title','2015-01-01 00:00:00','Update'\n")
    return tmp_path


def row(*values: str | bytes | int | None) -> bytes:
    """A row as mysqldump printed it."""
    literals = []
    for value in values:
        if value is None or isinstance(value, int):
            literals.append(b"NULL" if value is None else b"%d" % value)
        else:
            data = value.encode() if isinstance(value, str) else value
            for plain, escaped in ((b"\\", b"\\\\"), (b"'", b"\\'"), (b"\n", b"\\n"), (b"\0", b"\\0")):
                data = data.replace(plain, escaped)
            literals.append(b"'" + data + b"'")
    return b",".join(literals) + b"\n"


@pytest.fixture
def old(classic: Path) -> Path:
    """What MySQL 4.0 to 5.1 had: tables in words of then, routines and events in raw tables."""
    blog, mysql = classic / "myfs/blog", classic / "myfs/mysql/tables"

    def table(place: Path, statement: str, *rows: bytes) -> None:
        put(place / "init", f"{statement};\n")
        (place / "rows").write_bytes(b"".join(rows))

    last = row(2, "", 0, 0, "0000-00-00", None, None, "").rstrip(b"\n")
    table(blog / "tables/old", OLD_TABLE, row(1, "é", 20100102030405, 0, "2010-00-00", 2010, b"\1", ""), last)
    put(
        blog / "tables/old/triggers",
        '/*!50003 SET SESSION SQL_MODE="PIPES_AS_CONCAT" */;;\n'
        "--\n/*!50003 CREATE */ /*!50017 DEFINER=`root`@`localhost` */ "
        "/*!50003 TRIGGER `t` BEFORE INSERT ON `old` FOR EACH ROW BEGIN\n"
        "  -- don't */ stop\n  SET NEW.t = 'a' || '*/\n-- b'; END */;;\n/*!50003 SET SQL_MODE=@OLD_SQL_MODE */;;\n",
    )
    # Without rows in mysqldump's output, but with a file for them.
    merge = "CREATE TABLE `both` (\n  `id` int(11) default NULL\n) TYPE=MRG_MyISAM INSERT_METHOD=LAST UNION=(`part`)"
    table(blog / "tables/both", merge)
    table(blog / "tables/part", "CREATE TABLE `part` (\n  `id` int(11) default NULL\n) TYPE=MyISAM", row(5))
    told = ("2010-01-01 00:00:00", "latin1", "latin1_swedish_ci", "utf8_general_ci")
    hello, ask = "return concat('é', a)", "begin\n select \"id\", 'é' from old; end"
    table(
        mysql / "proc",
        PROC_INIT,
        row("blog", "hello", "FUNCTION", "NO_SQL", "YES", "DEFINER", "a varchar(9), b int", "varchar(20) CHARSET utf8",
            hello.encode("latin-1"), "root@localhost", "", "it's", *told, hello),
        row("blog", "né", "PROCEDURE", "CONTAINS_SQL", "NO", "INVOKER", "", "", ask.encode("latin-1"), "w@p@%",
            "ANSI_QUOTES", "", *told, ask).replace(b"'begin", b"_binary 'begin"),
        row("gone", "p", "PROCEDURE", "CONTAINS_SQL", "NO", "DEFINER", "", "", "do 1", "w@%", "", "", *told, "do 1"),
    )  # fmt: skip
    table(
        mysql / "event",
        EVENT_INIT,
        row("blog", "daily", "delete from old", "root@localhost", None, 90, "HOUR_MINUTE", "2030-01-01 03:00:00", None,
            "DISABLED", "PRESERVE", "", "", "+02:00"),
        row("blog", "once", "do 1", "root@localhost", "2035-01-01 00:00:00", None, None, None, None,
            "ENABLED", "DROP", "", "n", "SYSTEM"),
    )  # fmt: skip
    table(mysql / "func", "CREATE TABLE `func` (\n  `name` char(64),\n  `dl` char(9)\n)", row("udf", "a.so"))
    return classic


@pytest.fixture(params=["target", *(["newer"] if os.environ.get("TKLBAM_MARIADB_ROOT") else [])])
def server(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def test_what_old_servers_had_restores(server: Any, old: Path, tools: Any) -> None:
    report = tools.restore(server, old)
    assert (report.failures, report.databases[0].warnings) == ((), ())
    assert [each for each in report.warnings if "function udf of the library a.so" in each]
    assert server.sql("SELECT *, b + 0 FROM blog.old") == (
        "1\té\t2010-01-02 03:04:05\t0000-00-00 00:00:00\t2010-00-00\t2010\t\1\t\t1\n"
        "2\t\t0000-00-00 00:00:00\t0000-00-00 00:00:00\t0000-00-00\tNULL\tNULL\t\tNULL\n"
    )
    insert = "INSERT INTO blog.old (changed) VALUES (0); SELECT t, c FROM blog.old WHERE id=3; SELECT id FROM blog.both"
    assert server.sql(insert) == "a*/\\n-- b\t/*!50001 c*/\n5\n"
    assert server.sql("SELECT SQL_MODE FROM information_schema.TRIGGERS WHERE TRIGGER_NAME='t'") == "PIPES_AS_CONCAT\n"
    statement = server.sql("SHOW CREATE TABLE blog.old")
    assert "`changed` timestamp NOT NULL DEFAULT current_timestamp() ON UPDATE current_timestamp()" in statement
    assert "`made` timestamp NOT NULL DEFAULT '0000-00-00 00:00:00'" in statement
    assert "ENGINE=MyISAM" in statement
    assert "COMMENT='a TYPE=x)'" in statement
    assert server.sql("SELECT blog.hello('x', 1); CALL blog.`né`()") == "éx\n1\té\n2\té\n3\té\n"
    assert server.sql(
        "SELECT ROUTINE_NAME, SECURITY_TYPE, IS_DETERMINISTIC, SQL_DATA_ACCESS, SQL_MODE, ROUTINE_COMMENT, DEFINER,"
        " CHARACTER_SET_CLIENT FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA='blog' ORDER BY 1"
    ) == (
        "hello\tDEFINER\tYES\tNO SQL\t\tit's\troot@localhost\tlatin1\n"
        "né\tINVOKER\tNO\tCONTAINS SQL\tANSI_QUOTES\t\tw@p@%\tutf8mb4\n"
    )
    assert server.sql(
        "SELECT EVENT_NAME, TIME_ZONE, EXECUTE_AT, INTERVAL_VALUE, INTERVAL_FIELD, STARTS, STATUS, ON_COMPLETION,"
        " EVENT_COMMENT FROM information_schema.EVENTS ORDER BY 1",
        "--init-command=SET time_zone='+00:00'",
    ) == (
        "daily\t+02:00\tNULL\t90\tMINUTE\t2030-01-01 05:00:00\tDISABLED\tPRESERVE\t\n"
        "once\tSYSTEM\t2035-01-01 00:00:00\tNULL\tNULL\tNULL\tENABLED\tNOT PRESERVE\tn\n"
    )
    # As an upgrade in place gives it.
    grants = server.sql("SHOW GRANTS FOR boss@'%'")
    assert [each for each in ("EVENT, TRIGGER", "READ_ONLY ADMIN") if each not in grants] == []


def test_roles_proxies_and_what_keeps_somebody_out_restore(server: Any, old: Path, tools: Any) -> None:
    """As MySQL 5.7 and MariaDB 10.0 to 10.3 had them."""
    mysql = old / "myfs/mysql/tables"
    states = ("password_expired", "account_locked", "is_role", "default_role")
    columns = ("Host", "User", "Password", "Select_priv", *states)
    rows = (
        row("", "readers", "", "Y", "N", "N", "Y", ""),
        row("%", "wp", HASH, "N", "Y", "N", "N", "readers"),
        row("%", "left", HASH, "N", "N", "Y", "N", ""),
    )
    raw = {
        "user": (columns, rows),
        "roles_mapping": (("Host", "User", "Role", "Admin_option"), [row("%", "wp", "readers", "Y")]),
        "proxies_priv": (
            ("Host", "User", "Proxied_host", "Proxied_user", "With_grant"),
            [row("%", "wp", "%", "left", 1)],
        ),
    }
    for name, (names, lines) in raw.items():
        definitions = ",\n".join(f"  `{each}` char(80) NOT NULL default ''" for each in names)
        put(mysql / name / "init", f"CREATE TABLE `{name}` (\n{definitions}\n) TYPE=MyISAM;\n")
        (mysql / name / "rows").write_bytes(b"".join(lines))
    tools.restore(server, old)
    grants = server.sql("SHOW GRANTS FOR wp@'%'")
    for each in (
        "GRANT `readers` TO `wp`@`%` WITH ADMIN OPTION",
        "GRANT PROXY ON `left`@`%` TO `wp`@`%` WITH GRANT OPTION",
        "SET DEFAULT ROLE `readers` FOR `wp`@`%`",
    ):
        assert each in grants
    assert "PASSWORD EXPIRE" in server.sql("SHOW CREATE USER wp@'%'")
    assert "ACCOUNT LOCK" in server.sql("SHOW CREATE USER `left`@'%'")


def test_a_script_holds_what_the_raw_tables_hold(server: Any, old: Path) -> None:
    script = old / "out.sql"
    CliRunner().invoke(fs2mysql, ["--tofile", str(script), str(old / "myfs")], catch_exceptions=False)
    server.sql(script.read_text(errors="surrogateescape"), "--binary-mode")
    assert server.sql("SELECT blog.hello('x', 1); CALL blog.`né`()") == "éx\n1\té\n2\té\n"
    assert server.sql("SELECT COUNT(*) FROM information_schema.EVENTS") == "2\n"
    assert HASH in server.sql("SHOW CREATE USER wp@'%'")


def test_classic_dump_restores(target: Any, classic: Path, tools: Any, tmp_path: Path) -> None:
    (tmp_path / "rollback").mkdir()
    before = target.state()
    root = target.sql("SHOW CREATE USER root@localhost")
    report = tools.restore(target, classic, rollback=tmp_path / "rollback")
    assert report.failures == ()
    assert "ACCOUNT LOCK" in target.sql("SHOW CREATE USER ancient@'%'")
    assert "GRANT SELECT, UPDATE (`title`) ON `blog`.`posts`" in target.sql("SHOW GRANTS FOR ancient@'%'")
    assert [warning for warning in report.warnings if "ancient" in warning]
    assert target.sql("SELECT id, title, hex(data) FROM blog.posts ORDER BY id") == (
        "0\tzéro\t00FF\n1\ta\\n),('b\tNULL\n2\t\t78\n"
    )
    assert target.sql("SELECT count(*) FROM blog.empty; SELECT count(*) FROM blog.titles") == "0\n3\n"
    assert (
        target.sql("INSERT INTO blog.posts(title) VALUES ('low'); SELECT title FROM blog.posts WHERE id=3") == "LOW\n"
    )
    assert "STRICT_ALL_TABLES" in target.sql("SHOW TRIGGERS FROM blog")
    assert HASH in target.sql("SHOW CREATE USER wp@'%'")
    assert "GRANT SELECT, INSERT ON `blog`.* TO `wp`@`%` WITH GRANT OPTION" in target.sql("SHOW GRANTS FOR wp@'%'")
    boss = target.sql("SHOW CREATE USER boss@'%'; SHOW GRANTS FOR boss@'%'")
    assert "REQUIRE SSL" in boss
    assert "MAX_USER_CONNECTIONS 5" in boss
    assert "CREATE TEMPORARY TABLES" in boss
    assert target.sql("SHOW CREATE USER root@localhost") == root
    assert target.sql("SELECT count(*) FROM mysql.user WHERE User='debian-sys-maint'") == "0\n"
    tools.roll_back(target, tmp_path / "rollback")
    assert target.state() == before


def test_classic_dump_is_simulated_without_a_change(target: Any, classic: Path, tools: Any) -> None:
    before = target.state()
    report = tools.restore(target, classic, simulate=True)
    assert {result.name: result.rows for result in report.databases} == {"blog": 3}
    assert any("`wp`@`%`" in warning for warning in report.warnings)
    assert target.state() == before
