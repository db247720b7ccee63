"""Which databases and tables a backup or restore takes: the `mysql:db/table`, `-pgsql:db` rules of one engine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from .errors import UsageError


@dataclass(frozen=True, slots=True)
class LimitRule:
    """One rule: `database` and `table` are glob patterns (`* ? [ ]`); `table` is None for the whole database."""

    include: bool
    database: str
    table: str | None

    def __str__(self) -> str:
        return f"{'' if self.include else '-'}{self.database}{'' if self.table is None else '/' + self.table}"

    def worded(self, engine: str) -> str:
        """The rule as the administrator writes it: `-mysql:shop/log`."""
        return f"{'' if self.include else '-'}{engine}:{str(self).removeprefix('-')}"


@dataclass(slots=True)
class Limits:
    """The rules of one engine.

    The nearest rule wins: a table's own, then its database's, then the default; between two of the same nearness the
    later one. The default is "in", and "out" as soon as one rule is positive. `always` names databases that a positive
    rule elsewhere does not turn out (MySQL keeps `mysql` itself in); an explicit negative rule still does.
    """

    rules: tuple[LimitRule, ...] = ()
    always: frozenset[str] = frozenset()
    _matched: set[LimitRule] = field(default_factory=set, repr=False, compare=False)

    @classmethod
    def parse(cls, words: Iterable[str], engine: str, *, prefixed: bool = True, always: Iterable[str] = ()) -> Limits:
        """Takes the rules of `engine` out of `words`; words of other engines and paths are passed over.

        With `prefixed` False the words carry no `engine:` prefix (the `internal` commands). Raises UsageError for an
        empty database or table name.
        """
        rules = []
        for word in words:
            include, rest = (False, word[1:]) if word.startswith("-") else (True, word)
            if prefixed:
                if not rest.startswith(engine + ":"):
                    continue
                rest = rest[len(engine) + 1 :]
            database, slash, table = rest.partition("/")
            if not database or (slash and not table):
                raise UsageError(
                    f"limit {word!r} names no {'table' if database else 'database'}",
                    f"Write it as {engine}:database or {engine}:database/table.",
                )
            rules.append(LimitRule(include, database, table if slash else None))
        return cls(tuple(rules), frozenset(always))

    def takes_database(self, database: str) -> bool:
        """Whether anything of `database` is taken (its own rule says so, or a rule includes one of its tables)."""
        whole = self._database_rule(database)
        tables = [rule for rule in self._table_rules(database) if rule.include]
        return whole or bool(tables)

    def takes_table(self, database: str, table: str) -> bool:
        """Whether the rows of `database`.`table` are taken."""
        verdict = None
        for rule in self._table_rules(database):
            assert rule.table is not None
            if fnmatchcase(table, rule.table):
                self._matched.add(rule)
                verdict = rule.include
        return self._database_rule(database) if verdict is None else verdict

    def unmatched(self) -> tuple[LimitRule, ...]:
        """Rules that no database or table asked about so far has matched: worth a warning once all were asked."""
        return tuple(rule for rule in self.rules if rule not in self._matched)

    def _table_rules(self, database: str) -> list[LimitRule]:
        return [rule for rule in self.rules if rule.table is not None and fnmatchcase(database, rule.database)]

    def _database_rule(self, database: str) -> bool:
        verdict = None
        for rule in self.rules:
            if rule.table is None and fnmatchcase(database, rule.database):
                self._matched.add(rule)
                verdict = rule.include
        if verdict is not None:
            return verdict
        return database in self.always or not any(rule.include for rule in self.rules)
