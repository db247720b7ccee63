-- Databases `shop` and `other` use what MySQL has of its own.
SET foreign_key_checks=0, time_zone='+00:00', sql_mode='NO_AUTO_VALUE_ON_ZERO';
CREATE DATABASE `shop` DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci;
CREATE DATABASE `other` DEFAULT CHARACTER SET latin1;
CREATE DATABASE `we.ird/na``me%` DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_ja_0900_as_cs;
CREATE USER 'definer'@'%' IDENTIFIED BY 'secret', 'gone'@'%';
GRANT ALL ON *.* TO 'gone'@'%';
USE `shop`;

CREATE TABLE kinds (
  id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
  f float, d double, de decimal(40,20), b bit(13), b1 bit(1), t1 tinyint(1), y year,
  da date, ti time(6), dt datetime(3), ts timestamp(6) NULL, ch char(10), vb varbinary(300), bi binary(4), bl longblob,
  e enum('a','ä','it''s'), s set('x','y','z'), js json, jd json DEFAULT (JSON_ARRAY()), g geometry, p point NOT NULL SRID 4326,
  l linestring SRID 0, sh int GENERATED ALWAYS AS (`t1` * 2) STORED, vi varchar(20) GENERATED ALWAYS AS (concat('v),(''', `t1`)) VIRTUAL,
  inv int INVISIBLE DEFAULT 7, mt mediumtext, u varchar(36) DEFAULT (UUID()), `we,ird ``col(` varchar(50) DEFAULT '),\n(',
  SPATIAL KEY (p), KEY fn ((t1 + 1), ch DESC), KEY no_use (y) INVISIBLE
) AUTO_INCREMENT=1000 COMMENT='every kind';
INSERT INTO kinds (id,f,d,de,b,b1,t1,y,da,ti,dt,ts,ch,vb,bi,bl,e,s,js,jd,g,p,l,inv,mt,u,`we,ird ``col(`) VALUES
 (0,16777215,0.1,-12345678901234567890.12345678901234567890,b'1000000000001',b'1',1,2024,'2024-02-29','-838:59:59.999999',
  '2024-03-31 02:30:00.123','2024-03-31 01:30:00.654321','x ',0x00270A5C0D1A22,0xFF00,NULL,'it''s','x,z',
  '{"a": [1, 2], "b": "),\\n(\\"é😀\\u0001", "d": 1.10, "n": null}','[]',ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))',4326),
  ST_GeomFromText('POINT(12.5 -99.25)',4326),ST_GeomFromText('LINESTRING(0 0,1.1 2.2)'),NULL,
  'line\nbreak\r\ttab \\ back '' quote " dq \0 nul \Z sub 😀 ),\n( ;\n','u','),('),
 (7,-3.4028235e38,1.7976931348623157e308,0,b'0',b'0',-128,1901,'0000-00-00','00:00:00','0000-00-00 00:00:00',
  NULL,'','',0x00,'','','','{}','{"x": true}',NULL,ST_GeomFromText('POINT(0 0)',4326),NULL,1,'',DEFAULT,DEFAULT),
 (9,1e-30,2.2250738585072014e-308,0,0,0,0,0,'2024-02-31','0:0','9999-12-31 23:59:59.999',NULL,'NULL',UNHEX(REPEAT('00FF5C27',60)),
  0x4E554C4C,REPEAT('b',70000),'ä','y','null','"s"',NULL,ST_GeomFromText('POINT(-90 180)',4326),NULL,NULL,NULL,'NULL','');
CREATE TABLE whole (id int PRIMARY KEY, a int, j json, s int GENERATED ALWAYS AS (a + 1) STORED NOT NULL, v varchar(9)
  GENERATED ALWAYS AS (concat(a, '''')) VIRTUAL, t text, UNIQUE KEY (v), CHECK (a > 0), CONSTRAINT lax CHECK (a > 5) NOT ENFORCED);
INSERT INTO whole (id,a,j,t) VALUES (1,1,'{"k": 1}','x'),(2,2,NULL,'),(');
CREATE TABLE multi (id int PRIMARY KEY, js json, KEY js_ ((CAST(js->'$.a' AS UNSIGNED ARRAY))));
INSERT INTO multi VALUES (1,'{"a": [1, 2]}'),(2,'{}');
CREATE TABLE generated_key (a int NOT NULL, k int GENERATED ALWAYS AS (a * 10) STORED NOT NULL, f float, PRIMARY KEY (k, a));
INSERT INTO generated_key (a,f) VALUES (2,0.1),(1,16777215);
CREATE TABLE generated_first (k int GENERATED ALWAYS AS (a * 10) STORED NOT NULL, a int NOT NULL, t text, PRIMARY KEY (k));
INSERT INTO generated_first (a,t) VALUES (2,'two'),(1,'one');
CREATE TABLE charsets (
  id int PRIMARY KEY, l1 varchar(20) CHARACTER SET latin1, l2 varchar(20) CHARACTER SET latin2, ru varchar(20) CHARACTER SET cp1251,
  jp varchar(20) CHARACTER SET cp932, sj varchar(20) CHARACTER SET sjis, eu varchar(20) CHARACTER SET ujis,
  gb varchar(20) CHARACTER SET gbk, g18 varchar(20) CHARACTER SET gb18030, b5 varchar(20) CHARACTER SET big5,
  u16 varchar(20) CHARACTER SET utf16, u32 varchar(20) CHARACTER SET utf32, ut varchar(20) CHARACTER SET utf8mb3,
  u4 varchar(20) COLLATE utf8mb4_bin, en enum('日','本') CHARACTER SET utf8mb3, gt text CHARACTER SET gbk);
INSERT INTO charsets VALUES
 (1,'é€ß\'',_latin2 0xB1E6A0,_cp1251 0xCFF0E8E298,_cp932 0xED40FA5C8740,_sjis 0x835C905C,_ujis 0xC6FCCBDC,_gbk 0xBFD55CB55C,
  '中é',_big5 0xA55CB3A3,_utf16 0xD83DDE004E2D,'😀中','中é','😀é\\',2,_gbk 0xBFD55CB55C),(2,'','','','','','','','','','','','','','日','');
CREATE TABLE `new
line` (`odd
column` int PRIMARY KEY, v text);
INSERT INTO `new
line` VALUES (1,'x\ny');
CREATE TABLE vectors (id int PRIMARY KEY, v vector(3)); INSERT INTO vectors VALUES (1, STRING_TO_VECTOR('[1,2.5,-3e-30]')),(2,NULL);

CREATE TABLE parent (id int PRIMARY KEY, child_id int, KEY c (child_id),
  CONSTRAINT to_child FOREIGN KEY (child_id) REFERENCES child (id));
CREATE TABLE child (id int PRIMARY KEY, parent_id int NOT NULL, self_id int, CHECK (id < 1000),
  CONSTRAINT to_parent FOREIGN KEY (parent_id) REFERENCES parent (id) ON DELETE CASCADE,
  CONSTRAINT to_self FOREIGN KEY (self_id) REFERENCES child (id) ON DELETE SET NULL);
INSERT INTO parent VALUES (1,NULL),(2,NULL); INSERT INTO child VALUES (1,1,1),(2,2,1); UPDATE parent SET child_id=id;
CREATE TABLE nokey (a int, b text); INSERT INTO nokey VALUES (3,'c'),(1,'a'),(2,'b'),(1,'a');
CREATE TABLE uniq (a int, b int, UNIQUE KEY u (b)); INSERT INTO uniq VALUES (1,3),(2,2),(3,NULL);
SET sql_generate_invisible_primary_key=1;
CREATE TABLE hidden_key (a int, b text); INSERT INTO hidden_key VALUES (3,'c'),(1,'a'); DELETE FROM hidden_key WHERE a=3;
SET sql_generate_invisible_primary_key=0;
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
CREATE TABLE compressed (id int PRIMARY KEY, t text, FULLTEXT KEY (t) WITH PARSER ngram, KEY pre (t(10) DESC)) ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8;
INSERT INTO compressed VALUES (1,REPEAT('word ',500));
CREATE TABLE log (id int AUTO_INCREMENT PRIMARY KEY, what text);
INSERT INTO log VALUES (0,'zero'),(3,'three');

DELIMITER ;;
CREATE FUNCTION twice(a int) RETURNS int DETERMINISTIC COMMENT 'a function' RETURN a * 2;;
CREATE DEFINER=`gone`@`%` PROCEDURE say(IN x varchar(20) CHARACTER SET latin1, OUT y int)
BEGIN
  /* ;; a comment */ DECLARE z int DEFAULT 1; SET y = twice(z); INSERT INTO log(what) VALUES (concat(x, ';;', 'é'));
END;;
SET sql_mode='NO_BACKSLASH_ESCAPES';;
CREATE PROCEDURE backslash() SELECT 'a\';;
SET sql_mode='PIPES_AS_CONCAT,ANSI_QUOTES,STRICT_TRANS_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,TIME_TRUNCATE_FRACTIONAL';;
CREATE PROCEDURE "strict"() SELECT 'x' || "id" FROM "log";;
SET sql_mode='';;
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

CREATE USER 'app'@'%' IDENTIFIED BY 'pass''word', 'two'@'%' IDENTIFIED BY 'first';
CREATE USER 'app'@'localhost' IDENTIFIED WITH caching_sha2_password BY 'x' COMMENT 'it''s';
ALTER USER 'two'@'%' IDENTIFIED BY 'second' RETAIN CURRENT PASSWORD;
CREATE USER 'locked'@'10.0.0.0/255.0.0.0' IDENTIFIED BY 'y' REQUIRE SSL WITH MAX_USER_CONNECTIONS 3 PASSWORD EXPIRE INTERVAL 180 DAY
 PASSWORD HISTORY 5 FAILED_LOGIN_ATTEMPTS 3 PASSWORD_LOCK_TIME 2 ACCOUNT LOCK ATTRIBUTE '{"dept": "x''y"}';
CREATE USER 'o''dd`name'@'%';
CREATE ROLE readers, `wri ters`;
GRANT SELECT ON shop.* TO readers;
GRANT readers TO `wri ters`; GRANT INSERT, UPDATE ON shop.* TO `wri ters`;
GRANT `wri ters` TO 'app'@'%' WITH ADMIN OPTION; SET DEFAULT ROLE `wri ters` TO 'app'@'%'; GRANT readers TO 'two'@'%';
GRANT ALL PRIVILEGES ON `we.ird/na``me%`.* TO 'o''dd`name'@'%' WITH GRANT OPTION;
GRANT SELECT (id), UPDATE (child_id) ON shop.parent TO 'locked'@'10.0.0.0/255.0.0.0';
GRANT EXECUTE ON FUNCTION shop.twice TO 'app'@'localhost';
GRANT SELECT ON shop.a_nested TO 'app'@'localhost'; GRANT RELOAD, PROCESS, BACKUP_ADMIN ON *.* TO 'app'@'localhost';
GRANT SELECT, INSERT ON *.* TO 'definer'@'%'; REVOKE INSERT ON `shop`.* FROM 'definer'@'%';
GRANT SELECT, INSERT, SYSTEM_VARIABLES_ADMIN ON *.* TO 'two'@'%' WITH GRANT OPTION;
DROP USER 'gone'@'%';
