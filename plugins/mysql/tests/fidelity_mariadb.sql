-- What MariaDB has of its own, after fidelity.sql.
ALTER DATABASE `shop` COMMENT 'the shop''s'; ALTER DATABASE `other` COLLATE latin1_german1_ci; USE `shop`;
CREATE SEQUENCE numbers START WITH 5 INCREMENT BY 3 MAXVALUE 1000 CACHE 2 CYCLE;
SELECT NEXT VALUE FOR numbers, NEXT VALUE FOR numbers;
CREATE TABLE numbered (id int PRIMARY KEY DEFAULT (NEXT VALUE FOR numbers), t text COMMENT 'a, DEFAULT ''b''');
INSERT INTO numbered(t) VALUES ('one'),('two');

CREATE TABLE kinds (
  id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
  f float, fu float unsigned, d double, de decimal(40,20), b bit(13), t1 tinyint(1), y year,
  da date, ti time(6), dt datetime(3), ts timestamp(6) NULL, ch char(10), vb varbinary(300), bi binary(4), bl longblob,
  e enum('a','ä','it''s') , s set('x','y','z'), js json, g geometry, p point, u uuid, i inet6,
  zf int(8) zerofill, sh int GENERATED ALWAYS AS (`zf` * 2) STORED, vi varchar(20) GENERATED ALWAYS AS (concat('v', `zf`)) VIRTUAL,
  inv int INVISIBLE DEFAULT 7, mt mediumtext, `we,ird ``col(` varchar(50) DEFAULT '),\n('
) AUTO_INCREMENT=1000 COMMENT='every kind';
INSERT INTO kinds (id,f,fu,d,de,b,t1,y,da,ti,dt,ts,ch,vb,bi,bl,e,s,js,g,p,u,i,zf,inv,mt,`we,ird ``col(`) VALUES
 (0,16777215,0.1,0.1,-12345678901234567890.12345678901234567890,b'1000000000001',1,2024,'2024-02-29','-838:59:59.999999',
  '2024-03-31 02:30:00.123','2024-03-31 01:30:00.654321','x ',0x00270A5C0D1A22,0xFF00,NULL,'it''s','x,z','{"a": [1, "),\\n("]}',
  ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))',4326),POINT(1.1,-2.2),'123e4567-e89b-12d3-a456-426655440000','fe80::1',42,NULL,
  'line\nbreak\r\ttab \\ back '' quote " dq \0 nul \Z sub 😀 ),\n( ;\n','),('),
 (7,-3.4028235e38,1.17549435e-38,1.7976931348623157e308,0,b'0',-128,1901,'0000-00-00','00:00:00','0000-00-00 00:00:00',
  NULL,'','',0x00,'','','',NULL,NULL,NULL,NULL,'::',0,1,'',DEFAULT),
 (8,1e-30,123456789,5e-324,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL),
 (9,NULL,NULL,2.2250738585072014e-308,0,0,0,0,'2024-02-31','0:0','9999-12-31 23:59:59.999',NULL,'NULL',UNHEX(REPEAT('00FF5C27',60)),
  0x4E554C4C,REPEAT('b',70000),'ä','y','null',NULL,NULL,NULL,NULL,NULL,NULL,'NULL','');
CREATE TABLE `floats only` (a int, b int, x float(7,4), PRIMARY KEY (b, a));
INSERT INTO `floats only` VALUES (1,2,123.4567),(2,1,999.9999),(3,1,0.0001);

CREATE TABLE charsets (
  id int PRIMARY KEY, l1 varchar(20) CHARACTER SET latin1, l2 varchar(20) CHARACTER SET latin2, ru varchar(20) CHARACTER SET cp1251,
  ko varchar(20) CHARACTER SET koi8r, jp varchar(20) CHARACTER SET cp932, sj varchar(20) CHARACTER SET sjis,
  eu varchar(20) CHARACTER SET ujis, gb varchar(20) CHARACTER SET gbk, b5 varchar(20) CHARACTER SET big5,
  u2 varchar(20) CHARACTER SET ucs2, u16 varchar(20) CHARACTER SET utf16, u32 varchar(20) CHARACTER SET utf32,
  ut varchar(20) CHARACTER SET utf8mb3, u4 varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
  en enum('日','本') CHARACTER SET utf8mb3, asc_ char(5) CHARACTER SET ascii);
INSERT INTO charsets VALUES
 (1,'é€ß\'',_latin2 0xB1E6A0,_cp1251 0xCFF0E8E298,_koi8r 0xF0D2C9,_cp932 0xED40FA5C8740,_sjis 0x835C905C,_ujis 0xC6FCCBDC,
  _gbk 0xBFD55CB55C,_big5 0xA55CB3A3,_ucs2 0xD8004E2D,_utf16 0xD83DDE004E2D,'😀中','中é','😀é\\',2,'abc'),
 (2,'','','','','','','','','','','','','','','日','');
CREATE TABLE ar (id int PRIMARY KEY, t text) ENGINE=Aria TRANSACTIONAL=1; INSERT INTO ar VALUES (1,'aria');
CREATE TABLE versions (id int PRIMARY KEY, x text) WITH SYSTEM VERSIONING;
INSERT INTO versions VALUES (1,'a'),(2,'b'); UPDATE versions SET x='c' WHERE id=1; DELETE FROM versions WHERE id=2;
CREATE TABLE periods (id int PRIMARY KEY, s timestamp(6) GENERATED ALWAYS AS ROW START, e timestamp(6) GENERATED ALWAYS AS ROW END,
 PERIOD FOR SYSTEM_TIME(s,e), f float) WITH SYSTEM VERSIONING;
INSERT INTO periods(id,f) VALUES (1,16777215),(2,2); DELETE FROM periods WHERE id=2;
CREATE TABLE app_period (id int, s date, e date, PERIOD FOR valid(s,e), PRIMARY KEY (id, valid WITHOUT OVERLAPS));
INSERT INTO app_period VALUES (1,'2024-01-01','2024-02-01');

DELIMITER ;;
CREATE AGGREGATE FUNCTION total(x int) RETURNS int BEGIN DECLARE t int DEFAULT 0;
  DECLARE CONTINUE HANDLER FOR NOT FOUND RETURN t; LOOP FETCH GROUP NEXT ROW; SET t = t + x; END LOOP; END;;
SET sql_mode=ORACLE;;
CREATE PACKAGE pack AS FUNCTION f RETURN int; PROCEDURE p; END;;
CREATE PACKAGE BODY pack AS FUNCTION f RETURN int AS BEGIN RETURN 3; END; PROCEDURE p AS BEGIN NULL; END; END;;
SET sql_mode='NO_AUTO_VALUE_ON_ZERO';;
DELIMITER ;

USE `other`;
CREATE TABLE seq_user (id int DEFAULT (NEXT VALUE FOR shop.numbers), t int);

ALTER USER 'app'@'localhost' IDENTIFIED VIA unix_socket OR mysql_native_password USING PASSWORD('x');
SET DEFAULT ROLE `wri ters` FOR 'app'@'%';
SET sql_mode=ORACLE; GRANT EXECUTE ON PACKAGE shop.pack TO 'app'@'localhost'; SET sql_mode='';
