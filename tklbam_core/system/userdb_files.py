"""The six files of the user database, line by line: what can't be parsed is kept, and its place is known.

Source of the formats: passwd(5), group(5), shadow(5), gshadow(5), subuid(5). Text is UTF-8 with `surrogateescape`;
records end at a newline alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

FILES = ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")

NO_ID = 0xFFFFFFFF
"""(uid_t) -1: no id, but "leave as it is" to the kernel."""


class Record(Protocol):
    """One entry. `key` is what the file is looked up by."""

    @property
    def key(self) -> str: ...

    def line(self) -> str: ...


@dataclass(frozen=True, slots=True)
class User:
    """A line of passwd."""

    name: str
    password: str
    uid: int
    gid: int
    comment: str
    home: str
    shell: str

    @property
    def key(self) -> str:
        return self.name

    def line(self) -> str:
        return f"{self.name}:{self.password}:{self.uid}:{self.gid}:{self.comment}:{self.home}:{self.shell}"


@dataclass(frozen=True, slots=True)
class Group:
    """A line of group."""

    name: str
    password: str
    gid: int
    members: tuple[str, ...]

    @property
    def key(self) -> str:
        return self.name

    def line(self) -> str:
        return f"{self.name}:{self.password}:{self.gid}:{','.join(self.members)}"


@dataclass(frozen=True, slots=True)
class Shadow:
    """A line of shadow; `aging` are its fields 3 to 9 as they stand."""

    name: str
    password: str = field(repr=False)
    aging: tuple[str, ...] = ("",) * 7

    @property
    def key(self) -> str:
        return self.name

    def line(self) -> str:
        return ":".join((self.name, self.password, *self.aging))


@dataclass(frozen=True, slots=True)
class GroupShadow:
    """A line of gshadow."""

    name: str
    password: str = field(repr=False)
    administrators: tuple[str, ...]
    members: tuple[str, ...]

    @property
    def key(self) -> str:
        return self.name

    def line(self) -> str:
        return f"{self.name}:{self.password}:{','.join(self.administrators)}:{','.join(self.members)}"


@dataclass(frozen=True, slots=True)
class IdRange:
    """A line of subuid or subgid: `count` ids from `start` on for `owner`, a name or a number."""

    owner: str
    start: int
    count: int

    @property
    def key(self) -> str:
        return self.line()

    @property
    def end(self) -> int:
        """The first id behind the range."""
        return self.start + self.count

    def line(self) -> str:
        return f"{self.owner}:{self.start}:{self.count}"


@dataclass(frozen=True, slots=True)
class OddLine:
    """A line that is no entry, kept as it stands: `kind` is "blank", "comment", "nis", "duplicate" or "malformed".

    `number` counts from 1. `reason` says what is wrong with a malformed one, without quoting it (it may hold a hash).
    """

    number: int
    text: str = field(repr=False)
    kind: str
    reason: str = ""


R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class Table(Generic[R]):
    """One file: entries and odd lines in their order.

    `spelling` is the text of entries that were not written as we would (`007`, an empty member), so that an entry
    nobody changes comes out as it went in.
    """

    lines: tuple[R | OddLine, ...] = ()
    spelling: Mapping[R, str] = field(default_factory=dict, repr=False)

    def entries(self) -> Iterator[R]:
        for line in self.lines:
            if not isinstance(line, OddLine):
                yield line

    def odd(self) -> Iterator[OddLine]:
        for line in self.lines:
            if isinstance(line, OddLine):
                yield line

    def by_key(self) -> dict[str, R]:
        return {entry.key: entry for entry in self.entries()}

    def to_bytes(self) -> bytes:
        return "".join(f"{self._text(line)}\n" for line in self.lines).encode("utf-8", "surrogateescape")

    def _text(self, line: R | OddLine) -> str:
        return line.text if isinstance(line, OddLine) else self.spelling.get(line) or line.line()


def parse_passwd(data: bytes) -> Table[User]:
    return _parse(data, _user)


def parse_group(data: bytes) -> Table[Group]:
    return _parse(data, _group)


def parse_shadow(data: bytes) -> Table[Shadow]:
    return _parse(data, _shadow)


def parse_gshadow(data: bytes) -> Table[GroupShadow]:
    return _parse(data, _group_shadow)


def parse_ranges(data: bytes) -> Table[IdRange]:
    return _parse(data, _range)


class _MalformedLineError(Exception):
    pass


def _parse(data: bytes, entry: Callable[[list[str]], R]) -> Table[R]:
    text = data.decode("utf-8", "surrogateescape")
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    parsed: list[R | OddLine] = []
    spelling: dict[R, str] = {}
    seen: set[str] = set()
    for number, line in enumerate(lines, 1):
        found = _line(number, line, entry, seen)
        parsed.append(found)
        if not isinstance(found, OddLine) and found.line() != line:
            spelling[found] = line
    return Table(tuple(parsed), spelling)


def _line(number: int, line: str, entry: Callable[[list[str]], R], seen: set[str]) -> R | OddLine:
    if not line.strip():
        return OddLine(number, line, "blank")
    if line.startswith("#"):
        return OddLine(number, line, "comment")
    if line[0] in "+-":
        return OddLine(number, line, "nis")
    try:
        record = entry(line.split(":"))
    except _MalformedLineError as error:
        return OddLine(number, line, "malformed", str(error))
    # Every lookup finds the first, so a second one has no effect: it is no entry.
    if record.key in seen:
        return OddLine(number, line, "duplicate", f"{line.split(':')[0]!r} stands here a second time")
    seen.add(record.key)
    return record


def _user(fields: list[str]) -> User:
    _count(fields, 7)
    name, password, uid, gid, comment, home, shell = fields
    return User(_name(name), password, _number(uid, "uid"), _number(gid, "gid"), comment, home, shell)


def _group(fields: list[str]) -> Group:
    _count(fields, 4)
    name, password, gid, members = fields
    return Group(_name(name), password, _number(gid, "gid"), _names(members))


def _shadow(fields: list[str]) -> Shadow:
    _count(fields, 9)
    return Shadow(_name(fields[0]), fields[1], tuple(fields[2:]))


def _group_shadow(fields: list[str]) -> GroupShadow:
    _count(fields, 4)
    name, password, administrators, members = fields
    return GroupShadow(_name(name), password, _names(administrators), _names(members))


def _range(fields: list[str]) -> IdRange:
    _count(fields, 3)
    owner, start, count = fields
    found = IdRange(_name(owner), _number(start, "start"), _number(count, "count"))
    if found.count == 0 or found.end > NO_ID:
        raise _MalformedLineError("the range is empty or leads beyond the last id")
    return found


def _count(fields: list[str], wanted: int) -> None:
    if len(fields) != wanted:
        raise _MalformedLineError(f"{len(fields)} fields where {wanted} belong")


def _name(text: str) -> str:
    if not text:
        raise _MalformedLineError("no name")
    return text


def _number(text: str, what: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) >= NO_ID:
        raise _MalformedLineError(f"the {what} is no number between 0 and {NO_ID - 1}")
    return int(text)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)
