-- What MySQL has of its own, after fidelity.sql.
ALTER DATABASE `shop` COLLATE utf8mb4_0900_ai_ci; ALTER DATABASE `we.ird/na``me%` COLLATE utf8mb4_ja_0900_as_cs; USE `shop`;

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
CREATE TABLE vectors (id int PRIMARY KEY, v vector(3)); INSERT INTO vectors VALUES (1, STRING_TO_VECTOR('[1,2.5,-3e-30]')),(2,NULL);
SET sql_generate_invisible_primary_key=1;
CREATE TABLE hidden_key (a int, b text); INSERT INTO hidden_key VALUES (3,'c'),(1,'a'); DELETE FROM hidden_key WHERE a=3;
SET sql_generate_invisible_primary_key=0;
CREATE TABLE grams (id int PRIMARY KEY, t text, FULLTEXT KEY (t) WITH PARSER ngram); INSERT INTO grams VALUES (1,'words');

DELIMITER ;;
SET sql_mode='NO_BACKSLASH_ESCAPES';;
CREATE PROCEDURE backslash() SELECT 'a\';;
SET sql_mode='PIPES_AS_CONCAT,ANSI_QUOTES,STRICT_TRANS_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,TIME_TRUNCATE_FRACTIONAL';;
CREATE PROCEDURE "strict"() SELECT 'x' || "id" FROM "log";;
SET sql_mode='';;
DELIMITER ;

CREATE USER 'two'@'%' IDENTIFIED BY 'first';
ALTER USER 'two'@'%' IDENTIFIED BY 'second' RETAIN CURRENT PASSWORD;
ALTER USER 'app'@'localhost' IDENTIFIED WITH caching_sha2_password BY 'x' COMMENT 'it''s';
ALTER USER 'locked'@'10.0.0.0/255.0.0.0' PASSWORD EXPIRE INTERVAL 180 DAY PASSWORD HISTORY 5 FAILED_LOGIN_ATTEMPTS 3 PASSWORD_LOCK_TIME 2
 ATTRIBUTE '{"dept": "x''y"}';
SET DEFAULT ROLE `wri ters` TO 'app'@'%'; GRANT readers TO 'two'@'%'; GRANT BACKUP_ADMIN ON *.* TO 'app'@'localhost';
REVOKE INSERT ON `shop`.* FROM 'definer'@'%';
GRANT SELECT, INSERT, SYSTEM_VARIABLES_ADMIN ON *.* TO 'two'@'%' WITH GRANT OPTION;
