-- Run in database `postgres` of an empty server: makes roles, and a database `shop` that uses everything.
CREATE ROLE "shop owner" LOGIN PASSWORD 'sécret''s' CONNECTION LIMIT 7 VALID UNTIL '2030-01-01';
CREATE ROLE readers NOLOGIN;
CREATE ROLE clerk LOGIN PASSWORD 'clerk' IN ROLE readers;
CREATE ROLE boss LOGIN CREATEDB;
GRANT readers TO boss WITH ADMIN OPTION;
GRANT pg_read_all_stats TO clerk;
ALTER ROLE clerk SET work_mem = '7MB';
ALTER ROLE clerk SET search_path = app, public;
COMMENT ON ROLE clerk IS E'sells;\r\ndoesn''t buy';
ALTER ROLE ALL SET application_name = 'who=ever';
ALTER ROLE ALL SET "odd.setting" = E'a''\\b';
GRANT SET ON PARAMETER log_min_duration_statement TO boss;
CREATE ROLE "ro""le, 'x'
角色 with as many bytes as a name in SQL may have.";
CREATE ROLE database;
GRANT readers TO database GRANTED BY postgres;
CREATE DATABASE shop OWNER "shop owner" CONNECTION LIMIT 50;
ALTER DATABASE shop SET search_path TO app, public;
ALTER DATABASE shop SET timezone TO 'Europe/Vienna';
ALTER ROLE database IN DATABASE shop SET search_path = "odd, one", public;
REVOKE CONNECT ON DATABASE shop FROM PUBLIC;
GRANT CONNECT ON DATABASE shop TO readers;
COMMENT ON DATABASE shop IS 'The shop; "everything"';
CREATE TABLE kept_in_postgres (a int);
INSERT INTO kept_in_postgres VALUES (1), (2);

\connect shop
CREATE SCHEMA app AUTHORIZATION "shop owner";
CREATE SCHEMA "Odd. schema/x";
GRANT USAGE ON SCHEMA app TO readers;
CREATE EXTENSION hstore SCHEMA public;
CREATE EXTENSION pg_trgm SCHEMA public;
CREATE EXTENSION postgres_fdw;
CREATE COLLATION app.german (provider = icu, locale = 'de-u-co-phonebk');
CREATE TYPE app.mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN app.price AS numeric(10,2) CHECK (VALUE >= 0);
CREATE TYPE app.pair AS (a int, b text);

CREATE TABLE app.customers (
    id bigint GENERATED ALWAYS AS IDENTITY (START 1000 INCREMENT 7) PRIMARY KEY,
    name text NOT NULL COLLATE app.german,
    mood app.mood DEFAULT 'ok',
    tags public.hstore,
    photo bytea,
    ratio double precision,
    small real,
    at timestamptz DEFAULT '2026-01-01 00:00+00',
    lower_name text GENERATED ALWAYS AS (lower(name)) STORED
);
INSERT INTO app.customers (name, mood, tags, photo, ratio, small)
SELECT 'Käufer ' || g || E'\ttab\nline\\back\r', (ARRAY['sad','ok','happy'])[1 + g % 3]::app.mood,
       ('k=>' || g)::public.hstore, sha256(g::text::bytea), 1.0 / (g + 1), 16777215 + g
FROM generate_series(1, 2000) g;
INSERT INTO app.customers (name, ratio) VALUES ('', 'NaN'), ('\N', 'Infinity'), ('\.', '-0');
DELETE FROM app.customers WHERE id % 13 = 0;
UPDATE app.customers SET mood = 'sad' WHERE id % 17 = 0;
CREATE INDEX customers_trgm ON app.customers USING gin (name public.gin_trgm_ops);
CREATE INDEX customers_partial ON app.customers (lower(name)) WHERE mood = 'happy';
CREATE STATISTICS app.customer_stats (dependencies) ON mood, ratio FROM app.customers;
COMMENT ON COLUMN app.customers.name IS 'as they spell it';

CREATE TABLE app.orders (
    id serial PRIMARY KEY,
    customer bigint REFERENCES app.customers ON DELETE CASCADE,
    total app.price,
    period tstzrange,
    detail jsonb,
    pairs app.pair[],
    EXCLUDE USING gist (period WITH &&) WHERE (period IS NOT NULL)
);
INSERT INTO app.orders (customer, total, detail, pairs)
SELECT id, (id % 100)::numeric / 3, jsonb_build_object('n', id), ARRAY[ROW(1, 'x,"y"')::app.pair]
FROM app.customers WHERE id % 2 = 0;
SELECT setval('app.orders_id_seq', 987654);
CREATE SEQUENCE app.tickets INCREMENT -5 MINVALUE -10000 MAXVALUE 0 CYCLE;
SELECT nextval('app.tickets'), nextval('app.tickets');

-- Foreign keys in a cycle
CREATE TABLE app.hens (id int PRIMARY KEY, egg int);
CREATE TABLE app.eggs (id int PRIMARY KEY, hen int REFERENCES app.hens);
INSERT INTO app.hens VALUES (1, 1), (2, 1);
INSERT INTO app.eggs VALUES (1, 2);
ALTER TABLE app.hens ADD CONSTRAINT hens_egg FOREIGN KEY (egg) REFERENCES app.eggs DEFERRABLE INITIALLY DEFERRED;

CREATE TABLE app.measures (at date NOT NULL, value int) PARTITION BY RANGE (at);
CREATE TABLE app.measures_2025 PARTITION OF app.measures FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE app.measures_2026 PARTITION OF app.measures FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')
    PARTITION BY HASH (value);
CREATE TABLE app.measures_2026_0 PARTITION OF app.measures_2026 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE app.measures_2026_1 PARTITION OF app.measures_2026 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE app.measures_rest PARTITION OF app.measures DEFAULT;
INSERT INTO app.measures SELECT date '2025-06-01' + g, g FROM generate_series(1, 900) g;
CREATE INDEX ON app.measures (value);

CREATE TABLE app.animals (name text);
CREATE TABLE app.dogs (bark int) INHERITS (app.animals);
INSERT INTO app.animals VALUES ('cat');
INSERT INTO app.dogs VALUES ('rex', 5);

CREATE TABLE "Odd. schema/x"."t.a%ble ""q""" ("Col ""umn" text);
INSERT INTO "Odd. schema/x"."t.a%ble ""q""" VALUES ('x'), (NULL), ('');
CREATE TABLE app.no_columns ();
INSERT INTO app.no_columns DEFAULT VALUES;
CREATE TABLE app.empty (a int);
CREATE TABLE app.computed (a int GENERATED ALWAYS AS (1 + 1) STORED);
INSERT INTO app.computed DEFAULT VALUES;
CREATE TABLE app.holes (a int, b int, c int);
INSERT INTO app.holes VALUES (1, 2, 3);
ALTER TABLE app.holes DROP b, ADD d int DEFAULT 7;
CREATE UNLOGGED TABLE app.unlogged (a int UNIQUE NULLS NOT DISTINCT, r int4multirange);
INSERT INTO app.unlogged VALUES (NULL, '{[1,3),[5,7)}');
CREATE SCHEMA "app.x";
CREATE TABLE "app.x".y AS SELECT 'app.x, y' AS t;
CREATE TABLE app."x.y" AS SELECT 'app, x.y' AS t;
CREATE TABLE app.blank ("new
line" text);
INSERT INTO app.blank VALUES ('x'), (E'\\.'), (''), ('');
CREATE TABLE app.same (a int);
INSERT INTO app.same SELECT 1 FROM generate_series(1, 50);

CREATE VIEW app.happy AS SELECT id, name FROM app.customers WHERE mood = 'happy' WITH CHECK OPTION;
CREATE VIEW app.nested AS SELECT * FROM app.happy WHERE id > 1100;
CREATE MATERIALIZED VIEW app.totals AS SELECT customer, sum(total) AS total FROM app.orders GROUP BY 1 ORDER BY 1;
CREATE UNIQUE INDEX ON app.totals (customer);
CREATE MATERIALIZED VIEW app.not_yet AS SELECT * FROM app.totals WITH NO DATA;
CREATE RULE no_delete AS ON DELETE TO app.empty DO INSTEAD NOTHING;

CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN NEW.at := now(); RETURN NEW; END; $f$;
CREATE TRIGGER touch BEFORE UPDATE ON app.customers FOR EACH ROW EXECUTE FUNCTION app.touch();
ALTER TABLE app.customers DISABLE TRIGGER touch;
CREATE PROCEDURE app.noop(INOUT x int) LANGUAGE sql AS 'SELECT x';
CREATE AGGREGATE app.product(numeric) (SFUNC = numeric_mul, STYPE = numeric, INITCOND = '1');
CREATE OPERATOR app.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
CREATE CAST (app.pair AS text) WITH INOUT;
CREATE FUNCTION app.notice() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN NULL; END';
CREATE EVENT TRIGGER noticed ON ddl_command_start EXECUTE FUNCTION app.notice();
CREATE TEXT SEARCH CONFIGURATION app.simple_copy (COPY = simple);

CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'nowhere.invalid', dbname 'x');
CREATE USER MAPPING FOR clerk SERVER elsewhere OPTIONS (user 'u', password 'p');
CREATE FOREIGN TABLE app.remote (a int) SERVER elsewhere OPTIONS (table_name 't');
CREATE TABLE app.spread (a int, b text) PARTITION BY LIST (a);
CREATE TABLE app.spread_1 (b text, a int);
ALTER TABLE app.spread ATTACH PARTITION app.spread_1 FOR VALUES IN (1);
CREATE FOREIGN TABLE app.spread_2 PARTITION OF app.spread FOR VALUES IN (2) SERVER elsewhere;
INSERT INTO app.spread VALUES (1, 'one');

CREATE TABLE app.secrets (owner text, what text);
INSERT INTO app.secrets VALUES ('clerk', 'a'), ('boss', 'b');
ALTER TABLE app.secrets ENABLE ROW LEVEL SECURITY;
ALTER TABLE app.secrets FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON app.secrets FOR SELECT TO readers USING (owner = current_user);
GRANT SELECT (owner) ON app.secrets TO clerk WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO readers;
ALTER TABLE app.customers OWNER TO "shop owner";

CREATE PUBLICATION news FOR TABLE app.customers (id, name) WHERE (id > 1000), app.orders;
CREATE SUBSCRIPTION feed CONNECTION 'host=nowhere.invalid dbname=x' PUBLICATION p WITH (connect = false);

SELECT lo_from_bytea(4242, 'large object'), lo_from_bytea(4243, ''), lo_create(4244);
SELECT lo_put(4244, 300000, sha256('end'));
COMMENT ON LARGE OBJECT 4242 IS 'a large one';
GRANT SELECT ON LARGE OBJECT 4242 TO clerk;
ALTER LARGE OBJECT 4243 OWNER TO boss;
