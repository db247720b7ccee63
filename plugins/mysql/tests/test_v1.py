"""A dump that classic TKLBAM wrote restores, its accounts as statements."""

from __future__ import annotations

import subprocess
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


def test_classic_dump_becomes_a_script(target: Any, classic: Path, tmp_path: Path) -> None:
    script = tmp_path / "out.sql"
    result = CliRunner().invoke(fs2mysql, ["--tofile", str(script), str(classic / "myfs"), "blog"])
    assert result.exception is None
    target.sql(script.read_text())
    assert target.sql("SELECT count(*) FROM blog.titles") == "3\n"
    done = subprocess.run(["grep", "-c", "CREATE USER", str(script)], check=False, capture_output=True)
    assert done.stdout == b"0\n"  # without a server named, raw accounts can't be worked out
