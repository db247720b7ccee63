-- What MySQL and MariaDB both know of all that a dump must carry, in the databases `shop` and `other`; each has more of its own.
SET foreign_key_checks=0, time_zone='+00:00', sql_mode='NO_AUTO_VALUE_ON_ZERO';
CREATE DATABASE `shop` DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
CREATE DATABASE `other` DEFAULT CHARACTER SET latin1;
CREATE DATABASE `we.ird/na``me%` DEFAULT CHARACTER SET utf8mb4;
CREATE USER 'definer'@'%' IDENTIFIED BY 'secret', 'gone'@'%';
GRANT ALL ON *.* TO 'gone'@'%';
USE `shop`;

CREATE TABLE `new
line` (`odd
column` int PRIMARY KEY, v text);
INSERT INTO `new
line` VALUES (1,'x\ny');

CREATE TABLE parent (id int PRIMARY KEY, child_id int, KEY c (child_id),
  CONSTRAINT to_child FOREIGN KEY (child_id) REFERENCES child (id));
CREATE TABLE child (id int PRIMARY KEY, parent_id int NOT NULL, self_id int, CHECK (id < 1000), CONSTRAINT named CHECK (id > -5),
  CONSTRAINT to_parent FOREIGN KEY (parent_id) REFERENCES parent (id) ON DELETE CASCADE,
  CONSTRAINT to_self FOREIGN KEY (self_id) REFERENCES child (id) ON DELETE SET NULL);
INSERT INTO parent VALUES (1,NULL),(2,NULL); INSERT INTO child VALUES (1,1,1),(2,2,1); UPDATE parent SET child_id=id;
CREATE TABLE nokey (a int, b text); INSERT INTO nokey VALUES (3,'c'),(1,'a'),(2,'b'),(1,'a');
CREATE TABLE uniq (a int, b int, UNIQUE KEY u (b)); INSERT INTO uniq VALUES (1,3),(2,2),(3,NULL);
CREATE TABLE empty_table (id int PRIMARY KEY, d datetime DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP);
CREATE TABLE my (id int, t text, FULLTEXT KEY ft (t)) ENGINE=MyISAM CHECKSUM=1; INSERT INTO my VALUES (2,'some words'),(1,'others');
CREATE TABLE my_float (id int PRIMARY KEY, f float) ENGINE=MyISAM; INSERT INTO my_float VALUES (1,16777215);
CREATE TABLE me (id int PRIMARY KEY) ENGINE=MEMORY; INSERT INTO me VALUES (1);
CREATE TABLE cs (id int NOT NULL, t varchar(20) NOT NULL) ENGINE=CSV; INSERT INTO cs VALUES (1,'a,"b');
CREATE TABLE m1 (id int, KEY (id)) ENGINE=MyISAM; CREATE TABLE m2 LIKE m1; INSERT INTO m1 VALUES (1); INSERT INTO m2 VALUES (2);
CREATE TABLE both_ (id int, KEY (id)) ENGINE=MERGE UNION=(m1, m2);
CREATE TABLE parts (id int NOT NULL, d date NOT NULL, PRIMARY KEY (id, d)) PARTITION BY RANGE (YEAR(d))
 SUBPARTITION BY HASH (id) SUBPARTITIONS 2 (PARTITION p0 VALUES LESS THAN (2020), PARTITION p1 VALUES LESS THAN MAXVALUE);
INSERT INTO parts VALUES (1,'2019-01-01'),(2,'2024-01-01');
CREATE TABLE compressed (id int PRIMARY KEY, t text, FULLTEXT KEY (t), KEY pre (t(10) DESC)) ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8;
INSERT INTO compressed VALUES (1,REPEAT('word ',500));
CREATE TABLE log (id int AUTO_INCREMENT PRIMARY KEY, what text);
INSERT INTO log VALUES (0,'zero'),(3,'three');

DELIMITER ;;
CREATE FUNCTION twice(a int) RETURNS int DETERMINISTIC COMMENT 'a function' RETURN a * 2;;
CREATE DEFINER=`gone`@`%` PROCEDURE say(IN x varchar(20) CHARACTER SET latin1, OUT y int)
BEGIN
  /* ;; a comment */ DECLARE z int DEFAULT 1; SET y = twice(z); INSERT INTO log(what) VALUES (concat(x, ';;', 'é'));
END;;
CREATE TRIGGER parent_ai AFTER INSERT ON parent FOR EACH ROW INSERT INTO log(what) VALUES (concat('insert ', NEW.id));;
CREATE TRIGGER parent_ai2 AFTER INSERT ON parent FOR EACH ROW FOLLOWS parent_ai BEGIN INSERT INTO log(what) VALUES ('second;;'); END;;
CREATE TRIGGER parent_ai0 AFTER INSERT ON parent FOR EACH ROW PRECEDES parent_ai SET @first = 'é';;
SET sql_mode='ANSI_QUOTES,STRICT_ALL_TABLES';;
CREATE DEFINER=`definer`@`%` TRIGGER child_bd BEFORE DELETE ON child FOR EACH ROW SET @"x" = OLD."id";;
SET time_zone='+03:00', sql_mode='';;
CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 03:00:00' ON COMPLETION PRESERVE DISABLE COMMENT 'night' DO DELETE FROM log;;
CREATE EVENT once_ ON SCHEDULE AT '2035-01-01 00:00:00' DO SELECT 1;;
SET time_zone='+00:00';;
SET NAMES latin1;;
CREATE TRIGGER log_bi BEFORE INSERT ON log FOR EACH ROW SET NEW.what = concat(NEW.what, 'é');;
CREATE VIEW latin AS SELECT 'é' AS x;;
SET NAMES utf8mb4;;
SET sql_mode='NO_AUTO_VALUE_ON_ZERO';;
DELIMITER ;

CREATE VIEW z_base AS SELECT id, twice(id) AS two, 'é''\\' AS lit FROM parent;
CREATE DEFINER=`definer`@`%` SQL SECURITY INVOKER VIEW a_nested AS SELECT z.id, z.two FROM z_base z WITH CASCADED CHECK OPTION;
CREATE ALGORITHM=TEMPTABLE VIEW m_over AS SELECT count(*) AS n FROM a_nested;
CREATE DEFINER=`gone`@`%` VIEW orphan AS SELECT id FROM child;
CREATE VIEW on_orphan AS SELECT id FROM orphan;

USE `other`;
CREATE TABLE outside (id int PRIMARY KEY, p int, CONSTRAINT far FOREIGN KEY (p) REFERENCES shop.parent (id)) COMMENT='ünïcode';
INSERT INTO outside VALUES (1,1),(2,2);
CREATE VIEW shop.across AS SELECT o.id FROM other.outside o JOIN shop.parent p ON o.id = p.id;
CREATE VIEW back AS SELECT * FROM shop.across;
CREATE FUNCTION far_twice(a int) RETURNS int DETERMINISTIC RETURN shop.twice(a);
CREATE VIEW uses_far AS SELECT far_twice(id) AS t FROM outside;
USE `we.ird/na``me%`;
CREATE TABLE `.dot/slash%` (`id` int PRIMARY KEY, `t` text); INSERT INTO `.dot/slash%` VALUES (1,'x');
CREATE TABLE `CASE` (id int); CREATE TABLE `case` (id int); INSERT INTO `case` VALUES (1);

CREATE USER 'app'@'%' IDENTIFIED BY 'pass''word', 'app'@'localhost' IDENTIFIED BY 'x';
CREATE USER 'locked'@'10.0.0.0/255.0.0.0' IDENTIFIED BY 'y' REQUIRE SSL WITH MAX_USER_CONNECTIONS 3 ACCOUNT LOCK;
CREATE USER 'o''dd`name'@'%';
CREATE ROLE readers, `wri ters`;
GRANT SELECT ON shop.* TO readers;
GRANT readers TO `wri ters`; GRANT INSERT, UPDATE ON shop.* TO `wri ters`;
GRANT `wri ters` TO 'app'@'%' WITH ADMIN OPTION;
GRANT ALL PRIVILEGES ON `we.ird/na``me%`.* TO 'o''dd`name'@'%' WITH GRANT OPTION;
GRANT SELECT (id), UPDATE (child_id) ON shop.parent TO 'locked'@'10.0.0.0/255.0.0.0';
GRANT EXECUTE ON FUNCTION shop.twice TO 'app'@'localhost';
GRANT SELECT ON shop.a_nested TO 'app'@'localhost'; GRANT RELOAD, PROCESS ON *.* TO 'app'@'localhost';
GRANT SELECT, INSERT ON *.* TO 'definer'@'%';
DROP USER 'gone'@'%';
