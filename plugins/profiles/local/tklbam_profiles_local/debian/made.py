"""What maintainer scripts make and no package lists: the table in data/made.conf, ucf's files, login shells, AppArmor.

Sources: the maintainer scripts themselves; ucf(1); update-shells(8); dh_apparmor(1).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources

from .expected import Expected, content, directory, file, link
from .system import System

UCF = b"/var/lib/ucf/hashfile"


@dataclass(frozen=True, slots=True)
class Made:
    """One line of the table."""

    how: str
    path: bytes
    words: tuple[bytes, ...]

    @property
    def template(self) -> bytes | None:
        """The packaged file it is made from, if any."""
        return self.words[0] if self.how in ("copy", "fill") else None


def table() -> list[Made]:
    """The lines of data/made.conf."""
    text = resources.files("tklbam_profiles_local").joinpath("data/made.conf").read_bytes()
    rows = [line.split() for line in text.split(b"\n") if line.strip() and not line.startswith(b"#")]
    return [Made(row[0].decode(), row[1], tuple(row[2:])) for row in rows]


def made_files(system: System, rows: list[Made]) -> Iterator[Expected]:
    """The pristine states of what the table names."""
    for row in rows:
        match row.how:
            case "copy":
                if (shipped := system.shipped.get(row.words[0])) is not None:
                    yield file(row.path, shipped, required=_was_made(system, row.path, row.words[0]))
            case "fill":
                if (template := system.shipped_content(row.words[0])) is not None:
                    mark, _, value = row.words[1].partition(b"=")
                    yield content(row.path, template.replace(mark, value))
            case "empty":
                yield content(row.path, b"")
            case "line":
                yield content(row.path, b" ".join(row.words) + b"\n")
            case "md5":
                yield file(row.path, row.words[0])
            case "link":
                target = os.path.join(os.path.dirname(row.path), row.words[0])
                yield link(row.path, row.words[0], required=_was_made(system, row.path, target))
            case "directory":
                yield directory(row.path)
            case _:
                raise ValueError(f"made.conf has a line that begins with {row.how}")


def _was_made(system: System, path: bytes, source: bytes) -> bool:
    return system.exists(source) and system.exists(os.path.dirname(path))


def ucf_sums(system: System) -> dict[bytes, bytes]:
    """Path → MD5 of the version of each file that ucf installed last."""
    sums = {}
    for line in (system.read(UCF) or b"").split(b"\n"):
        md5, _, path = line.partition(b" ")
        if len(md5) == 32 and path.strip().startswith(b"/"):
            sums[path.strip()] = md5
    return sums


def ucf_files(sums: Mapping[bytes, bytes], shipped_sums: frozenset[bytes]) -> Iterator[Expected]:
    """Files that ucf manages, where what it installed is a file that some package ships.

    Where it is not, a maintainer script made it from answers, and often from passwords: that is the administrator's.
    """
    for path, md5 in sums.items():
        if md5 in shipped_sums:
            yield file(path, md5, required=True)


def login_shells(system: System) -> Iterator[Expected]:
    """/etc/shells with the shells that packages brought, and no other."""
    head = system.shipped_content(b"/usr/share/debianutils/shells")
    state = system.read(b"/var/lib/shells.state")
    if head is not None and state is not None:
        comments = [line for line in head.split(b"\n") if line.startswith(b"#")]
        yield content(b"/etc/shells", b"\n".join([*comments, state]))


def apparmor_places(system: System) -> Iterator[Expected]:
    """The empty files in which an administrator adds to a packaged AppArmor profile."""
    for name in system.names(b"/etc/apparmor.d/local"):
        if b"/etc/apparmor.d/" + name in system.owned:
            yield content(b"/etc/apparmor.d/local/" + name, b"")
