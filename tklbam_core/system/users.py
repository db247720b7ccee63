"""The user databases of two systems made one: the new system's accounts stand, the old one's arrive.

What is decided here, and why:

- *Ids.* A name that both have keeps the new system's id, for the new system's own files bear it; the old system's
  files are remapped. See `userdb_ids.assign` for the others.
- *The line of an account that both have* stays the new system's (home, shell, comment): the shell may not exist here,
  and packages here rely on their accounts. A home that differs is reported.
- *Its password* is the old system's, root's too: it is the same person's account. Only a usable hash travels: an
  account that had none, or an empty one, never takes away or weakens the password that is here.
- *An account that arrives* brings its shadow entry; with none it is locked.
- *Members* of groups that both have are those of both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from .userdb_files import Group, GroupShadow, IdRange, OddLine, Record, Shadow, Table, User
from .userdb_ids import Assignment, IdPolicy, assign
from .userdb_ranges import RangeMove, merge_ranges

LOCKED = "!"
_NOGROUP = 65534

AnyTable = Table[User] | Table[Group] | Table[Shadow] | Table[GroupShadow] | Table[IdRange]
R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class UserDatabase:
    """The six files of a system. None: the file is not there. `source` names the directory they came from."""

    passwd: Table[User] = field(default_factory=Table)
    group: Table[Group] = field(default_factory=Table)
    shadow: Table[Shadow] | None = None
    gshadow: Table[GroupShadow] | None = None
    subuid: Table[IdRange] | None = None
    subgid: Table[IdRange] | None = None
    policy: IdPolicy = field(default_factory=IdPolicy)
    source: str = "etc"

    def tables(self) -> dict[str, AnyTable]:
        """File name → table, of the files that are there."""
        named: dict[str, AnyTable | None] = {
            "passwd": self.passwd,
            "group": self.group,
            "shadow": self.shadow,
            "gshadow": self.gshadow,
            "subuid": self.subuid,
            "subgid": self.subgid,
        }
        return {name: table for name, table in named.items() if table is not None}


@dataclass(frozen=True, slots=True)
class MergeResult:
    """The merged database, and what the old system's files need.

    `uid_map`, `gid_map`: old id → id here, of those ids alone that differ. `uid_moves`, `gid_moves`: likewise for
    whole ranges of subordinate ids. `users`, `groups`: the names that arrived. `report`: lines for people.
    """

    database: UserDatabase
    uid_map: Mapping[int, int]
    gid_map: Mapping[int, int]
    uid_moves: tuple[RangeMove, ...] = ()
    gid_moves: tuple[RangeMove, ...] = ()
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    report: tuple[str, ...] = ()

    def map_uid(self, uid: int) -> int:
        """The id here of the owner of a file of the old system."""
        return _mapped(uid, self.uid_map, self.uid_moves)

    def map_gid(self, gid: int) -> int:
        return _mapped(gid, self.gid_map, self.gid_moves)


def merge(old: UserDatabase, new: UserDatabase) -> MergeResult:
    """Merges the old system's database into the new one's (whose `policy` holds). Changes neither.

    Merged with itself a database comes out as it went in, and so does a result that is merged again.
    Raises TklbamError when no id is left to give out.
    """
    report = [*_odd_lines(old, "left out here, it stays in the backup"), *_odd_lines(new, "kept as it stands")]
    uids, gids = _assign(old, new)
    report += [*uids.notes, *gids.notes]
    users = [user for user in old.passwd.entries() if user.name in uids.ids]
    groups = [group for group in old.group.entries() if group.name in gids.ids]
    passwd, notes = _merge_passwd(old, new, uids, gids)
    report += notes
    group = _merge_group(old, new, gids)
    shadow, notes = _merge_shadow(old, new, users)
    report += notes
    subuid, uid_moves, notes = merge_ranges(old.subuid, new.subuid, passwd, uids.mapping, new.policy, "subuid")
    report += notes
    subgid, gid_moves, notes = merge_ranges(old.subgid, new.subgid, passwd, uids.mapping, new.policy, "subgid")
    report += notes
    merged = replace(
        new,
        passwd=passwd,
        group=group,
        shadow=shadow,
        gshadow=_merge_gshadow(old, new, group),
        subuid=subuid,
        subgid=subgid,
    )
    return MergeResult(
        merged,
        {number: here for number, here in uids.mapping.items() if number != here},
        {number: here for number, here in gids.mapping.items() if number != here},
        tuple(uid_moves),
        tuple(gid_moves),
        tuple(user.name for user in users),
        tuple(group.name for group in groups),
        tuple(report),
    )


def format_map(mapping: Mapping[int, int]) -> str:
    """An id map as `old,new:old,new`, in order of the old ids."""
    return ":".join(f"{old},{new}" for old, new in sorted(mapping.items()))


def _assign(old: UserDatabase, new: UserDatabase) -> tuple[Assignment, Assignment]:
    new_groups = [(group.name, group.gid) for group in new.group.entries()]
    uids = assign(
        [(user.name, user.uid) for user in old.passwd.entries()],
        [(user.name, user.uid) for user in new.passwd.entries()],
        new.policy.user_ranges(),
        kind="uid",
        blocked=list(new.subuid.entries()) if new.subuid else [],
        avoid=[gid for _, gid in new_groups],
    )
    gids = assign(
        [(group.name, group.gid) for group in old.group.entries()],
        new_groups,
        new.policy.group_ranges(),
        kind="gid",
        blocked=list(new.subgid.entries()) if new.subgid else [],
        # A user's own group gets the user's new number where it can.
        prefer={user.name: uids.mapping[user.uid] for user in old.passwd.entries()},
    )
    return uids, gids


def _merge_passwd(
    old: UserDatabase, new: UserDatabase, uids: Assignment, gids: Assignment
) -> tuple[Table[User], list[str]]:
    here = new.passwd.by_key()
    groups_here = {group.gid for group in new.group.entries()} | set(gids.ids.values())
    report = []
    arrivals = {}
    for user in old.passwd.entries():
        known = here.get(user.name)
        if known is not None:
            if known.home != user.home:
                report.append(f"{user.name}: the home is {known.home} here and was {user.home}")
            continue
        gid = gids.mapping.get(user.gid, user.gid)
        if user.gid not in gids.mapping and user.gid in groups_here:
            report.append(
                f"{user.name}: had the group {user.gid}, which had no name; it is another's here: now nogroup"
            )
            gid = _NOGROUP
        uid = uids.ids[user.name]
        password = "x" if old.shadow is not None or new.shadow is not None else user.password
        arrivals[user.name] = replace(user, uid=uid, gid=gid, password=password)
    return _joined(old.passwd, new.passwd, arrivals, {}), report


def _merge_group(old: UserDatabase, new: UserDatabase, gids: Assignment) -> Table[Group]:
    before = old.group.by_key()
    changed = {}
    for group in new.group.entries():
        if group.name in before:
            members = _union(group.members, before[group.name].members)
            changed[group.name] = group if members == group.members else replace(group, members=members)
    has_gshadow = old.gshadow is not None or new.gshadow is not None
    arrivals = {}
    for name, gid in gids.ids.items():
        password = "x" if has_gshadow else before[name].password
        arrivals[name] = replace(before[name], gid=gid, password=password)
    return _joined(old.group, new.group, arrivals, changed)


def _merge_shadow(
    old: UserDatabase, new: UserDatabase, users: Iterable[User]
) -> tuple[Table[Shadow] | None, list[str]]:
    if old.shadow is None and new.shadow is None:
        return None, []
    report = []
    before = old.shadow.by_key() if old.shadow is not None else {}
    table: Table[Shadow] = new.shadow if new.shadow is not None else Table()
    there = table.by_key()
    accounts = new.passwd.by_key()
    changed: dict[str, Shadow] = {}
    arrivals: dict[str, Shadow] = {}
    for user in users:
        entry = before.get(user.name) or Shadow(user.name, _password_of(user))
        (changed if user.name in there else arrivals)[user.name] = entry
        if entry.password == LOCKED:
            report.append(f"{user.name}: arrived with no password and is locked")
        elif entry.password == "":
            report.append(f"{user.name}: has an empty password, as it had on the old system")
    for name, entry in before.items():
        if name in accounts and _is_hash(entry.password):
            (changed if name in there else arrivals)[name] = entry
    return _joined(old.shadow or Table(), table, arrivals, changed, carry_odd=False), report


def _merge_gshadow(old: UserDatabase, new: UserDatabase, group: Table[Group]) -> Table[GroupShadow] | None:
    if old.gshadow is None and new.gshadow is None:
        return None
    before = old.gshadow.by_key() if old.gshadow is not None else {}
    table: Table[GroupShadow] = new.gshadow if new.gshadow is not None else Table()
    there = table.by_key()
    old_names, new_names = old.group.by_key().keys(), new.group.by_key().keys()
    changed = {}
    arrivals = {}
    for entry in group.entries():
        if entry.name not in old_names:
            continue
        was = before.get(entry.name) or GroupShadow(entry.name, LOCKED, (), ())
        known = there.get(entry.name)
        if known is None:
            if entry.name in before or entry.name not in new_names:
                arrivals[entry.name] = replace(was, members=_union(entry.members, was.members))
            continue
        merged = replace(
            known,
            password=was.password if _is_hash(was.password) else known.password,
            administrators=_union(known.administrators, was.administrators),
            members=_union(known.members, was.members),
        )
        changed[entry.name] = known if merged == known else merged
    return _joined(old.gshadow or Table(), table, arrivals, changed, carry_odd=False)


def _joined(
    old: Table[R], new: Table[R], arrivals: Mapping[str, R], changed: Mapping[str, R], *, carry_odd: bool = True
) -> Table[R]:
    """The new table's lines, `changed` in place; then what arrives, in the old order; NIS lines stay the last."""
    lines: list[R | OddLine] = []
    tail: list[R | OddLine] = []
    for line in new.lines:
        if isinstance(line, OddLine):
            (tail if line.kind == "nis" or tail else lines).append(line)
        else:
            (tail if tail else lines).append(changed.get(line.key, line))
    texts = {line.text for line in new.odd()}
    for line in old.lines:
        if not isinstance(line, OddLine):
            if line.key in arrivals:
                lines.append(arrivals[line.key])
        elif carry_odd and line.kind in ("comment", "nis") and line.text not in texts:
            (tail if line.kind == "nis" else lines).append(line)
            texts.add(line.text)
    known = {line.key for line in old.entries()}
    lines += [entry for key, entry in arrivals.items() if key not in known]
    return Table((*lines, *tail), new.spelling)


def _odd_lines(database: UserDatabase, fate: str) -> list[str]:
    report = []
    for name, table in database.tables().items():
        for line in table.odd():
            if line.kind in ("malformed", "duplicate"):
                report.append(f"{database.source}/{name}:{line.number}: {line.reason}; {fate}")
    return report


def _is_hash(password: str) -> bool:
    """Whether a password field holds a hash, locked (`!` in front) or not, rather than a mark for "none"."""
    return len(password.lstrip("!*")) >= 13  # the shortest, DES, has 13 characters


def _password_of(user: User) -> str:
    return user.password if _is_hash(user.password) else LOCKED


def _union(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second))) if set(second) - set(first) else first


def _mapped(number: int, exact: Mapping[int, int], moves: Iterable[RangeMove]) -> int:
    if number in exact:
        return exact[number]
    return next((move.new + number - move.old for move in moves if move.old <= number < move.old + move.count), number)
