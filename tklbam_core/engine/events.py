"""What duplicity says while it works, from `--log-fd`: records of a level, a code and a message.

A record is a line `LEVEL CODE [EXTRA]`, the message in lines that begin with `. `, and an empty line. Codes are stable
and listed in duplicity's log.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

PROGRESS = 2
"""INFO: a volume is done; the extra is a count of bytes (backup) or `volume volumes` (restore)."""
FILE_NEW, FILE_CHANGED, WRITING = 4, 5, 7
"""INFO: a file was taken into the session, or is being restored; the extra begins with its escaped path."""

UNREAD = frozenset({8, 9, 10, 12, 13, 15})
"""WARNING codes that mean that something of the source is not in the session (or of the archive not restored)."""
ABOUT_OTHERS = frozenset({2, 3, 4, 5, 6, 11})
"""WARNING codes about sessions that are not this one; `prepare` deals with those."""

_HEADER = re.compile(r"(ERROR|WARNING|NOTICE|INFO|DEBUG) (\d+)(?: (.*))?")
_STATISTIC = re.compile(r"^([A-Z]\w+) (-?[\d.]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Record:
    """One record; `extra` is the rest of the header, `message` the text without its dots."""

    level: str
    code: int
    extra: str
    message: str


def records(lines: Iterable[bytes]) -> Iterator[Record]:
    """Parses the stream as it comes. Lines that belong to no record are dropped."""
    header: re.Match[str] | None = None
    message: list[str] = []
    for raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\n")
        if line.startswith(". ") or line == ".":
            message.append(line[2:])
            continue
        if header is not None and (not line or _HEADER.fullmatch(line)):
            yield Record(header[1], int(header[2]), header[3] or "", "\n".join(message))
            header, message = None, []
        if line:
            header = _HEADER.fullmatch(line) or header
    if header is not None:
        yield Record(header[1], int(header[2]), header[3] or "", "\n".join(message))


def parse_statistics(message: str) -> dict[str, float]:
    """The numbers of the block `[ Backup Statistics ]`; empty for any other message."""
    if "[ Backup Statistics ]" not in message:
        return {}
    return {name: float(number) for name, number in _STATISTIC.findall(message)}


@dataclass(slots=True)
class Account:
    """What is kept of a run: bounded, however long it is."""

    statistics: dict[str, float] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    more_unread: int = 0
    warnings: list[str] = field(default_factory=list)
    errors: list[Record] = field(default_factory=list)

    LIMIT = 1000
    """Lines kept of each kind."""

    def take(self, record: Record) -> None:
        """Files a record; INFO ones are for the progress display alone."""
        if record.level == "NOTICE" and not self.statistics:
            self.statistics = parse_statistics(record.message)
        elif record.level == "WARNING" and record.code in UNREAD:
            if len(self.unread) < self.LIMIT:
                self.unread.append(record.message)
            else:
                self.more_unread += 1
        elif record.level == "WARNING" and record.code not in ABOUT_OTHERS:
            if len(self.warnings) < self.LIMIT:
                self.warnings.append(record.message)
        elif record.level == "ERROR" and len(self.errors) < self.LIMIT:
            self.errors.append(record)
