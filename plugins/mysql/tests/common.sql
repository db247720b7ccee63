-- Database `plain` uses what MySQL and MariaDB both know, each with its own defaults.
SET sql_mode='NO_ENGINE_SUBSTITUTION'; CREATE DATABASE plain DEFAULT CHARACTER SET utf8mb4; USE plain;
CREATE TABLE users (id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, name varchar(100) NOT NULL, mail varchar(200), data json, f float,
 d double, de decimal(20,4), created datetime NOT NULL DEFAULT CURRENT_TIMESTAMP, touched timestamp NULL DEFAULT NULL ON UPDATE CURRENT_TIMESTAMP,
 low varchar(100) GENERATED ALWAYS AS (lower(name)) STORED, up varchar(100) GENERATED ALWAYS AS (upper(mail)) VIRTUAL, b bit(9), bl blob,
 p point, e enum('a','b'), s set('x','y'), hidden int INVISIBLE DEFAULT 7, z date DEFAULT '0000-00-00',
 UNIQUE KEY (name), KEY (low), FULLTEXT KEY (mail), CHECK (de < 100000)) ENGINE=InnoDB COMMENT='the users';
INSERT INTO users (name,mail,data,f,d,de,b,bl,p,e,s,created) VALUES
 ('ann','A@x','{"a": [1, "é😀"]}',16777215,0.1,1.5,5,0x00FF,POINT(1,2),'a','x,y','2020-01-01'),
 ('bob','B),(\'@x',NULL,0.1,1e300,-1,NULL,'',NULL,NULL,'','2021-01-01'),('Zoë','z\n@x','[]',NULL,NULL,NULL,0,NULL,NULL,'b','y','2022-02-02');
CREATE TABLE posts (id int PRIMARY KEY, user bigint unsigned, t mediumtext, KEY (user),
 CONSTRAINT fk FOREIGN KEY (user) REFERENCES users (id) ON DELETE CASCADE);
INSERT INTO posts VALUES (1,1,'hello'),(2,2,'x');
CREATE TABLE my (id int PRIMARY KEY, f float) ENGINE=MyISAM; INSERT INTO my VALUES (1,16777215);
CREATE VIEW v AS SELECT u.name, count(*) n, 'lit' AS x FROM users u LEFT JOIN posts p ON p.user=u.id GROUP BY u.name;
SET sql_mode=DEFAULT;
DELIMITER ;;
CREATE PROCEDURE pr(a int) BEGIN SELECT count(*) FROM posts WHERE id > a; END;;
CREATE FUNCTION fu(a varchar(20)) RETURNS varchar(40) DETERMINISTIC RETURN concat(a, '!');;
CREATE TRIGGER tr BEFORE INSERT ON posts FOR EACH ROW SET NEW.t = fu(NEW.t);;
CREATE EVENT ev ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' DISABLE DO DELETE FROM posts WHERE id < 0;;
DELIMITER ;
CREATE USER pw@'%' IDENTIFIED BY 'x'; GRANT SELECT, INSERT ON plain.* TO pw@'%';
