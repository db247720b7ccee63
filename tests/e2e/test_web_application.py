"""A small web application travels with its database: the same questions get the same answers on the new machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.small import initialised, small_system
from tests.mariadb import MariaDB, running

pytestmark = pytest.mark.root

SCHEMA = """
CREATE DATABASE blog DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
CREATE USER 'wp'@'localhost' IDENTIFIED BY 'its password';
GRANT ALL PRIVILEGES ON blog.* TO 'wp'@'localhost';
USE blog;
CREATE TABLE wp_users (ID bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, user_login varchar(60) NOT NULL,
  user_pass varchar(255) NOT NULL, user_registered datetime NOT NULL, KEY user_login_key (user_login));
CREATE TABLE wp_posts (ID bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, post_author bigint unsigned NOT NULL,
  post_date datetime NOT NULL, post_content longtext NOT NULL, post_title text NOT NULL,
  post_status varchar(20) NOT NULL DEFAULT 'publish', post_type varchar(20) NOT NULL DEFAULT 'post',
  KEY type_status_date (post_type, post_status, post_date, ID), KEY post_author (post_author));
CREATE TABLE wp_postmeta (meta_id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
  post_id bigint unsigned NOT NULL, meta_key varchar(255), meta_value longtext,
  KEY post_id (post_id), KEY meta_key (meta_key(191)));
CREATE TABLE wp_options (option_id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
  option_name varchar(191) NOT NULL UNIQUE, option_value longtext NOT NULL,
  autoload varchar(20) NOT NULL DEFAULT 'yes');
INSERT INTO wp_users (user_login, user_pass, user_registered) VALUES ('admin', '$P$hash', '2020-01-01 00:00:00'),
  ('zoë', '$P$other', '2021-02-03 04:05:06');
INSERT INTO wp_posts (post_author, post_date, post_content, post_title)
  SELECT 1 + seq % 2, '2024-01-01' + INTERVAL seq HOUR, CONCAT(REPEAT(MD5(seq), 30), '\\n"it''s" — 🐘'),
  CONCAT('Title ', seq) FROM seq_1_to_2000;
INSERT INTO wp_postmeta (post_id, meta_key, meta_value)
  SELECT 1 + seq DIV 3, CONCAT('_key', seq % 7), SHA1(seq) FROM seq_1_to_6000;
INSERT INTO wp_options (option_name, option_value)
  VALUES ('siteurl', 'http://shop.example'), ('active_plugins', 'a:0:{}');
CREATE VIEW recent AS SELECT p.ID, p.post_title, u.user_login FROM wp_posts p JOIN wp_users u ON u.ID = p.post_author
  ORDER BY p.post_date DESC LIMIT 20;
"""
QUESTIONS = """
SELECT option_value FROM wp_options WHERE option_name = 'siteurl';
SELECT * FROM recent;
SELECT user_login, COUNT(*), MAX(post_date) FROM wp_posts p JOIN wp_users u ON u.ID = post_author GROUP BY 1 ORDER BY 1;
SELECT MD5(GROUP_CONCAT(post_content ORDER BY ID)) FROM wp_posts WHERE ID % 100 = 7;
SELECT p.post_title, m.meta_value FROM wp_posts p JOIN wp_postmeta m ON m.post_id = p.ID
  WHERE m.meta_key = '_key3' ORDER BY m.meta_id LIMIT 30;
SELECT COUNT(*), SUM(CRC32(CONCAT_WS('|', meta_id, post_id, meta_key, meta_value))) FROM wp_postmeta;
"""
AS_THE_APPLICATION = ("--user=wp", "--password=its password", "blog")


def ask(server: MariaDB) -> str:
    return server.sql(QUESTIONS, *AS_THE_APPLICATION)


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[MariaDB, MariaDB]]:
    with running() as old, running() as new:
        yield old, new


def option(server: MariaDB) -> list[str]:
    return [word for key, value in server.options.items() for word in ("--database-option", f"mysql:{key}={value}")]


def size_of(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir())


def test_the_applications_questions_get_the_same_answers_on_the_new_machine(
    servers: tuple[MariaDB, MariaDB], tmp_path: Path
) -> None:
    old, new = servers
    a, b = initialised(tmp_path / "a"), small_system(tmp_path / "b")
    a.write("/srv/www/wp-config.php", "<?php define('DB_NAME', 'blog');\n")
    old.sql(SCHEMA)
    target = tmp_path / "target"
    words = ["backup", "--address", f"file://{target}", *option(old)]
    first = a.json(*words)
    assert [each["databases"] for each in first["databases"]] == [["blog"]]
    full = size_of(target)

    old.sql("UPDATE wp_posts SET post_title = 'Edited' WHERE ID IN (10, 1000, 1990)", "blog")
    old.sql("INSERT INTO wp_options (option_name, option_value) VALUES ('theme', 'plain')", "blog")
    a.write("/srv/www/upload.bin", bytes(range(256)) * 40)
    second = a.json(*words)
    assert second["sessions"][0]["kind"] == "incremental"
    assert size_of(target) - full < full / 3, "an increment of a few rows is small"

    restore = ["restore", "--address", f"file://{target}", "--secretfile", str(a.secret_file), *option(new)]
    plan = b.json(*restore, "--simulate")
    assert "blog" in plan["plan"]["databases"]["mysql"]
    assert "blog" not in new.sql("SHOW DATABASES")
    done = b.json(*restore)
    assert done["outcome"] == "complete"
    assert b.path("/srv/www/wp-config.php").read_text() == a.path("/srv/www/wp-config.php").read_text()
    assert ask(new) == ask(old)
    assert "Edited" in new.sql("SELECT post_title FROM wp_posts WHERE ID = 1000", "blog")

    b.tklbam("restore-rollback", "--force", *option(new))
    assert "blog" not in new.sql("SHOW DATABASES").split()
    assert not b.path("/srv/www/wp-config.php").exists()
    assert "wp" not in new.sql("SELECT User FROM mysql.user").split()


def test_a_database_that_can_not_be_dumped_is_never_silent(servers: tuple[MariaDB, MariaDB], tmp_path: Path) -> None:
    a = initialised(tmp_path / "a")
    a.write("/srv/www/file", "kept\n")
    words = ["backup", "--quiet", "--address", f"file://{tmp_path}/target"]
    nowhere = ["--database-option", f"mysql:socket={tmp_path}/no-server", "--database-option", "mysql:user=root"]
    done = a.tklbam(*words, *nowhere, status=3)
    assert "mysql was not dumped" in done.err
    status = a.json("status", status=10)
    assert "mysql was not dumped" in str(status)
    allowed = a.tklbam(*words, *nowhere, "--allow-missing-database")
    assert "mysql was not dumped" in allowed.err
