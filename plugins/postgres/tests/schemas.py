"""Databases of a seed's making: odd names, every kind of object, rows that are hard to carry. Statements may fail."""

from __future__ import annotations

import random

from tklbam_postgres.names import identifier, literal

PIECES = [
    *(
        "a",
        "Käse",
        "角色",
        " ",
        ".",
        "%",
        "/",
        "\\",
        "'",
        '"',
        ";",
        "--",
        "$$",
        "\n",
        "\t",
        "\r",
        "\\.",
        "{",
        "}",
        ",",
        "@",
    ),
    *("select", "TABLE", "x" * 40, "é" * 31, "\x01", "\x7f", "=", "*", "?", "|", "$1", "%s", "~", "😀"),
]
TYPES = {
    "int": ["0", "-2147483648", "7", "NULL"],
    "bigint": ["9223372036854775807", "-1"],
    "numeric": ["'NaN'", "'-Infinity'", "1e-50", "123456789012345678901234567890.5", "0.10"],
    "numeric(12,3)": ["1.5", "-0.001"],
    "float8": ["'-0'", "'NaN'", "4.9e-324", "1.7976931348623157e308", "0.1"],
    "real": ["16777217", "1e-45", "3.4028235e38"],
    "bool": ["true", "false", "NULL"],
    "text": [],
    "varchar(70)": [],
    '"char"': ["'\\x'", "''", "'a'"],
    "char(9)": ["' '", "'a  '", "''"],
    "name": [],
    "bytea": ["'\\x'", "'\\x00'", "'\\x5c2e0a0d09'", "decode(repeat('00ff5c', 900), 'hex')"],
    "timestamptz": ["'infinity'", "'4713-01-01 BC'", "'2026-03-29 01:59:59.999999+00'"],
    "timestamp": ["'-infinity'", "'294276-12-31'"],
    "date": ["'infinity'", "'0001-01-01 BC'"],
    "timetz": ["'24:00:00-15:59'"],
    "interval": ["'-178000000 years'", "'1 mon -1 day 00:00:00.000001'", "'0'"],
    "json": ['\'{"a":  1, "a": [null, "\\\\u00e9\\\\n"]}\'', "' 1 '"],
    "jsonb": ['\'{"k": "\\\\n\\\\\\\\"}\'', "'[]'"],
    "xml": ["'<a>&lt;\n</a>'", "xmlparse(content 'a<b/>')"],
    "uuid": ["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"],
    "inet": ["'::1/128'", "'10.0.0.1/8'"],
    "macaddr": ["'08:00:2b:01:02:03'"],
    "bit varying": ["B''", "B'101'"],
    "bit(3)": ["B'010'"],
    "money": ["'-92233720368547758.08'"],
    "point": ["'(1e-300,-0)'"],
    "polygon": ["'((0,0),(1,1e10),(2,0))'"],
    "tsvector": ["$$'a' 'b\\\\.':3A$$"],
    "tsquery": ["'a & !b'"],
    "int4range": ["'empty'", "'[1,)'", "'(,)'"],
    "tstzmultirange": ["'{}'", "'{[infinity,infinity]}'", "'{[2020-01-01,2021-01-01),[2022-01-01,)}'"],
    "text[]": ["'{}'", "ARRAY[NULL, 'NULL', '', E'a\"\\\\\\n,{}']", "'[-1:0]={a,b}'", "'{{a,b},{c,d}}'"],
    "int[]": ["'{1,NULL}'"],
    "oid": ["4294967295"],
    "pg_lsn": ["'FFFFFFFF/FFFFFFFF'"],
}
TEXTS = [
    "",
    "\\.",
    "\\N",
    "\\",
    "\n",
    "\n\n\n",
    "\\.\n\n\n",
    "\r\n",
    "\t",
    "NULL",
    "\\x41",
    "\b\f\v",
    "a\\tb",
    "'",
    '"',
    "角色😀",
]
KEYS = ("int", "bigint", "text", "uuid", "date", "bytea", "int4range", "text[]")


class Schemas:
    """Writes one script. All that is made is noted, for later statements to build on."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.out: list[str] = []
        self.roles: list[str] = []
        self.tables: dict[str, list[tuple[str, str]]] = {}
        self.parents: set[str] = set()
        self.taken: set[str] = set()

    def say(self, *statements: str) -> None:
        self.out += [f"{statement};" for statement in statements]

    def name(self) -> str:
        """A new quoted identifier of at most 63 bytes."""
        while True:
            word = "".join(self.random.choices(PIECES, k=self.random.randint(1, 6)))
            word = word.encode()[: self.random.choice([63, 63, 20])].decode("utf-8", "ignore")
            if word and word not in self.taken and not word.startswith("pg_"):
                self.taken.add(word)
                return identifier(word)

    def maybe(self, *choices: str, chance: float = 0.3) -> str:
        return f" {self.random.choice(choices)}" if self.random.random() < chance else ""

    def text(self) -> str:
        return literal("".join(self.random.choices([*TEXTS, *PIECES], k=self.random.randint(0, 4))))

    def value(self, kind: str) -> str:
        if kind in ("text", "name", "varchar(70)"):
            return "NULL" if self.random.random() < 0.1 else self.text()
        return self.random.choice([*TYPES[kind], "NULL"])

    def script(self, database: str) -> str:
        pick, some = self.random.choice, range(self.random.randint(2, 4))
        for _ in some:
            self.roles.append(self.name())
            self.say(f"CREATE ROLE {self.roles[-1]}{self.maybe('LOGIN', 'NOINHERIT', 'CONNECTION LIMIT 3')}")
            self.say(f"COMMENT ON ROLE {self.roles[-1]} IS {self.text()}")
        self.say(f"GRANT {self.roles[0]} TO {self.roles[1]}{self.maybe('WITH ADMIN OPTION')}")
        self.say(f"CREATE DATABASE {database} OWNER {pick(self.roles)} TEMPLATE template0")
        self.say(f"COMMENT ON DATABASE {database} IS {self.text()}")
        self.say(f"ALTER DATABASE {database} SET search_path = {self.name()}, public")
        self.say(f"ALTER ROLE {pick(self.roles)} IN DATABASE {database} SET application_name = {self.text()}")
        self.say(f"GRANT ALL ON DATABASE {database} TO {pick(self.roles)}{self.maybe('WITH GRANT OPTION')}")
        self.out.append(f"\\connect {database}")
        self.say("SET search_path = public", "CREATE EXTENSION postgres_fdw", "CREATE EXTENSION btree_gist")
        schemas = [self.name() for _ in some]
        for schema in schemas:
            self.say(f"CREATE SCHEMA {schema}{self.maybe('AUTHORIZATION ' + pick(self.roles))}")
            self.say(f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT ON TABLES TO {pick(self.roles)}")
            self._types(schema)
            for _ in range(self.random.randint(1, 4)):
                pick([self._table, self._table, self._partitioned, self._inherited])(schema)
        for table in list(self.tables):
            for _ in range(self.random.randint(1, 4)):
                each = pick(
                    [
                        self._index,
                        self._constraint,
                        self._rights,
                        self._trigger,
                        self._view,
                        self._properties,
                        self._column,
                    ]
                )
                each(pick(schemas), table)
        self._apart(pick(schemas))
        return "\n".join(self.out) + "\n"

    def _types(self, schema: str) -> None:
        mood, amount, pair = (f"{schema}.{self.name()}" for _ in range(3))
        words = ["'b'", *sorted({word for word in (self.text() for _ in range(3)) if 2 < len(word) < 60})]
        self.say(f"CREATE TYPE {mood} AS ENUM ({', '.join(words)})")
        self.say(f"ALTER TYPE {mood} ADD VALUE 'first' BEFORE {words[0]}")
        self.say(f"CREATE DOMAIN {amount} AS int DEFAULT 3 CHECK (VALUE > -5)")
        self.say(f"CREATE TYPE {pair} AS ({self.name()} int, {self.name()} text)")
        self.say(
            f"CREATE TABLE {schema}.{self.name()}"
            f" ({self.name()} {mood}, {self.name()} {amount}[], {self.name()} {pair})"
        )

    def _columns(self, least: int = 0) -> list[tuple[str, str]]:
        return [(self.name(), self.random.choice(list(TYPES))) for _ in range(self.random.randint(least, 7))]

    def _fill(self, table: str, columns: list[tuple[str, str]]) -> None:
        for _ in range(self.random.choice([0, 1, 5, 12])):
            if not columns:
                self.say(f"INSERT INTO {table} DEFAULT VALUES")
                continue
            some = [each for each in columns if self.random.random() < 0.9] or columns
            names, values = ", ".join(name for name, _ in some), ", ".join(self.value(kind) for _, kind in some)
            self.say(f"INSERT INTO {table} ({names}) VALUES ({values})")
        if self.random.random() < 0.3:
            self.say(f"DELETE FROM {table} WHERE ctid IN (SELECT ctid FROM {table} LIMIT 1)")

    def _table(self, schema: str) -> None:
        table, columns = f"{schema}.{self.name()}", self._columns()
        words = [f"{name} {kind}{self.maybe(f'DEFAULT {self.value(kind)}', chance=0.2)}" for name, kind in columns]
        if self.random.random() < 0.3:
            start = self.random.randint(-50, 50)
            words.append(
                f"{self.name()} int GENERATED {self.random.choice(['ALWAYS', 'BY DEFAULT'])} AS IDENTITY"
                f" (START {start} MINVALUE -99 INCREMENT {self.random.choice([1, 7, -3])}{self.maybe('CYCLE')})"
            )
        numbers = [name for name, kind in columns if kind == "int"]
        if numbers and self.random.random() < 0.5:
            words.append(f"{self.name()} bigint GENERATED ALWAYS AS ({numbers[0]}::bigint * 2) STORED")
        if self.random.random() < 0.3:
            words.append(f"{self.name()} {self.random.choice(['serial', 'smallserial'])}")
        kind = self.random.choice(["TABLE", "TABLE", "TABLE", "UNLOGGED TABLE"])
        options = self.maybe("WITH (fillfactor = 55)", "WITH (autovacuum_enabled = false)")
        self.say(f"CREATE {kind} {table} ({', '.join(words)}){options}")
        self._fill(table, columns)
        self.tables[table] = columns

    def _partitioned(self, schema: str) -> None:
        table, key, columns = f"{schema}.{self.name()}", self.name(), self._columns(1)
        how = self.random.choice(["LIST", "RANGE", "HASH"])
        words = ", ".join(f"{name} {kind}" for name, kind in columns)
        self.say(f"CREATE TABLE {table} ({key} int NOT NULL, {words}) PARTITION BY {how} ({key})")
        bounds = {
            "LIST": ["IN (1, 2)", "IN (3)"],
            "RANGE": ["FROM (MINVALUE) TO (2)", "FROM (2) TO (9)"],
            "HASH": ["WITH (MODULUS 2, REMAINDER 0)", "WITH (MODULUS 2, REMAINDER 1)"],
        }[how]
        first, second = f"{schema}.{self.name()}", f"{schema}.{self.name()}"
        self.say(f"CREATE TABLE {first} PARTITION OF {table} FOR VALUES {bounds[0]}")
        # Made by itself, with its columns in another order.
        self.say(f"CREATE TABLE {second} ({words}, {key} int NOT NULL)")
        self.say(f"ALTER TABLE {table} ATTACH PARTITION {second} FOR VALUES {bounds[1]}")
        names = ", ".join(name for name, _ in columns)
        for number in range(1, 4):
            values = ", ".join(self.value(kind) for _, kind in columns)
            self.say(f"INSERT INTO {table} ({key}, {names}) VALUES ({number}, {values})")
        if self.random.random() < 0.5:
            server = self.name()
            self.say(f"CREATE SERVER {server} FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host {self.text()})")
            if how != "HASH":
                bound = "IN (77)" if how == "LIST" else "FROM (70) TO (80)"
                part = f"{schema}.{self.name()}"
                self.say(f"CREATE FOREIGN TABLE {part} PARTITION OF {table} FOR VALUES {bound} SERVER {server}")
        self.tables[table] = columns

    def _inherited(self, schema: str) -> None:
        if not self.tables:
            return self._table(schema)
        parent, table = self.random.choice(list(self.tables)), f"{schema}.{self.name()}"
        columns = self._columns()
        self.say(f"CREATE TABLE {table} ({', '.join(f'{name} {kind}' for name, kind in columns)}) INHERITS ({parent})")
        self.parents.add(parent)
        self._fill(table, columns + self.tables[parent])
        self.tables[table] = columns + self.tables[parent]
        return None

    def _index(self, schema: str, table: str) -> None:
        columns = [name for name, kind in self.tables[table] if kind in KEYS]
        if not columns:
            return
        column = self.random.choice(columns)
        order, nulls = self.maybe("DESC", "DESC NULLS LAST"), self.maybe("NULLS NOT DISTINCT", chance=0.5)
        unique = self.maybe("UNIQUE")
        where = self.maybe(f"WHERE {column} IS NOT NULL")
        self.say(f"CREATE{unique} INDEX {self.name()} ON {table} ({column}{order}){nulls if unique else ''}{where}")
        self.say(f"CREATE INDEX ON {table} USING hash ({column})")
        self.say(f"CREATE INDEX ON {table} ((({column} IS NULL)::int + 1), ({column}::text || {self.text()}))")
        if len(columns) > 1:
            self.say(
                f"CREATE STATISTICS {schema}.{self.name()} (dependencies) ON {columns[0]}, {columns[1]} FROM {table}"
            )

    def _constraint(self, schema: str, table: str) -> None:
        columns = [name for name, kind in self.tables[table] if kind in KEYS]
        if not columns:
            return
        column, valid = self.random.choice(columns), self.maybe("NOT VALID")
        action = self.maybe("ON DELETE CASCADE", "DEFERRABLE INITIALLY DEFERRED")
        for constraint in (
            f"CHECK ({column} IS NOT NULL OR {self.text()} <> 'x'){valid}",
            f"UNIQUE ({column}){self.maybe('DEFERRABLE')}",
            f"FOREIGN KEY ({column}) REFERENCES {table} ({column}){action}{valid}",
            f"EXCLUDE USING gist ({column} WITH =) WHERE (false)",
        ):
            self.say(f"ALTER TABLE {table} ADD CONSTRAINT {self.name()} {constraint}")

    def _rights(self, schema: str, table: str) -> None:
        one, other = self.random.choice(self.roles), self.random.choice([*self.roles, "PUBLIC"])
        self.say(f"ALTER TABLE {table} OWNER TO {one}")
        self.say(f"GRANT SELECT, INSERT ON {table} TO {other}{self.maybe('WITH GRANT OPTION')}")
        if self.tables[table]:
            self.say(f"GRANT UPDATE ({self.tables[table][0][0]}) ON {table} TO {other}")
        self.say(f"CREATE POLICY {self.name()} ON {table} FOR SELECT TO {other} USING (current_user <> {self.text()})")
        self.say(f"ALTER TABLE {table} {self.random.choice(['ENABLE', 'FORCE'])} ROW LEVEL SECURITY")

    def _trigger(self, schema: str, table: str) -> None:
        function, trigger = f"{schema}.{self.name()}", self.name()
        body = f"BEGIN RAISE EXCEPTION USING MESSAGE = {self.text()}; END"
        self.say(f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS {literal(body)}")
        arguments = f"EXECUTE FUNCTION {function}({self.text()})"
        self.say(f"CREATE TRIGGER {trigger} BEFORE INSERT OR TRUNCATE ON {table} {arguments}")
        how = self.random.choice(["ENABLE ALWAYS", "ENABLE REPLICA", "DISABLE"])
        self.say(f"ALTER TABLE {table} {how} TRIGGER {trigger}")
        self.say(f"CREATE RULE {self.name()} AS ON UPDATE TO {table} DO INSTEAD NOTHING")

    def _view(self, schema: str, table: str) -> None:
        kind = self.random.choice(["VIEW", "MATERIALIZED VIEW", "MATERIALIZED VIEW"])
        data = self.maybe("WITH NO DATA") if kind != "VIEW" else ""
        view = f"{schema}.{self.name()}"
        self.say(f"CREATE {kind} {view} AS SELECT *, {self.text()} AS {self.name()} FROM {table}{data}")
        self.say(f"COMMENT ON {kind} {view} IS {self.text()}")
        self.say(f"CREATE {kind} {schema}.{self.name()} AS SELECT count(*) FROM {view}{data}")

    def _properties(self, schema: str, table: str) -> None:
        self.say(f"COMMENT ON TABLE {table} IS {self.text()}")
        for name, kind in self.tables[table][:2]:
            self.say(f"COMMENT ON COLUMN {table}.{name} IS {self.text()}")
            if kind == "text" and table not in self.parents:
                self.say(f"ALTER TABLE ONLY {table} ALTER {name} SET STORAGE EXTERNAL, ALTER {name} SET STATISTICS 7")
        self.say(f"ALTER TABLE {table} REPLICA IDENTITY {self.random.choice(['FULL', 'NOTHING'])}")
        self.say(f"CREATE PUBLICATION {self.name()} FOR TABLE {table}{self.maybe('WHERE (true)')}")
        self.say(f"ALTER TABLE {table} SET SCHEMA {schema}") if self.random.random() < 0.1 else None

    def _column(self, schema: str, table: str) -> None:
        if table in self.parents:
            return  # pg_dump does not keep where in the heirs such a column stands
        if self.tables[table] and self.random.random() < 0.5:
            self.say(f"ALTER TABLE {table} DROP COLUMN {self.tables[table].pop()[0]} CASCADE")
        name, kind = self.name(), self.random.choice(list(TYPES))
        self.say(f"ALTER TABLE {table} ADD COLUMN {name} {kind} DEFAULT {self.value(kind)}")

    def _apart(self, schema: str) -> None:
        number = self.random.randint(20000, 30000)
        self.say(f"SELECT lo_from_bytea({number}, {self.value('bytea')})", f"SELECT lo_create({number + 1})")
        self.say(f"ALTER LARGE OBJECT {number} OWNER TO {self.random.choice(self.roles)}")
        self.say(f"GRANT SELECT ON LARGE OBJECT {number + 1} TO {self.random.choice(self.roles)}")
        self.say(f"COMMENT ON LARGE OBJECT {number} IS {self.text()}")
        sequence = f"{schema}.{self.name()}"
        self.say(f"CREATE SEQUENCE {sequence} INCREMENT -2 MAXVALUE 9{self.maybe('CYCLE')}{self.maybe('AS smallint')}")
        self.say(f"SELECT setval({literal(sequence)}, -{number % 900}, {self.random.choice(['true', 'false'])})")
        note = f"{schema}.{self.name()}"
        self.say(
            f"CREATE FUNCTION {note}() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END'"
        )
        self.say(f"CREATE EVENT TRIGGER {self.name()} ON ddl_command_start EXECUTE FUNCTION {note}()")
