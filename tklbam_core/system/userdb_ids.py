"""Which id a name gets on the new system, and how the old system's ids translate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..api.errors import TklbamError
from .userdb_files import NO_ID, IdRange

FIXED = frozenset({0, 65534})
"""root and nobody: the same on every system, so a name that has one of them keeps it."""

_DEFAULTS = {"UID_MIN": 1000, "UID_MAX": 59999, "GID_MIN": 1000, "GID_MAX": 59999, "SUB_UID_MIN": 100000}


@dataclass(frozen=True, slots=True)
class IdPolicy:
    """Where ids of a kind begin and end, (first, last), both included. Sources: login.defs(5), Debian Policy 9.2."""

    system_users: tuple[int, int] = (100, 999)
    regular_users: tuple[int, int] = (1000, 59999)
    system_groups: tuple[int, int] = (100, 999)
    regular_groups: tuple[int, int] = (1000, 59999)
    first_sub_id: int = 100000

    @classmethod
    def from_login_defs(cls, text: str) -> IdPolicy:
        """Takes `UID_MIN` and the like from login.defs; Debian's defaults stand for what it does not say."""
        values = dict(_DEFAULTS)
        for line in text.split("\n"):
            words = line.split()
            if len(words) >= 2 and words[0] in values and words[1].isdecimal():
                values[words[0]] = int(words[1])
        user_min, group_min = max(values["UID_MIN"], 101), max(values["GID_MIN"], 101)
        # Debian's own ids begin at 60000, whatever login.defs says about the end.
        return cls(
            (100, user_min - 1),
            (user_min, max(user_min, min(values["UID_MAX"], 59999))),
            (100, group_min - 1),
            (group_min, max(group_min, min(values["GID_MAX"], 59999))),
            values["SUB_UID_MIN"],
        )

    def user_ranges(self) -> tuple[tuple[int, int], ...]:
        return _all_ranges(self.system_users, self.regular_users)

    def group_ranges(self) -> tuple[tuple[int, int], ...]:
        return _all_ranges(self.system_groups, self.regular_groups)


@dataclass(slots=True)
class Assignment:
    """`ids`: the new id of every name that only the old system has. `mapping`: every id the old system has a name for
    → its id here. `notes`: what someone should know, one line each."""

    ids: dict[str, int] = field(default_factory=dict)
    mapping: dict[int, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def assign(
    old: Sequence[tuple[str, int]],
    new: Sequence[tuple[str, int]],
    ranges: Sequence[tuple[int, int]],
    *,
    kind: str,
    blocked: Sequence[IdRange] = (),
    avoid: Iterable[int] = (),
    prefer: Mapping[str, int] | None = None,
) -> Assignment:
    """Translates the ids of `old` (name, id) to those of `new`. `kind` is "uid" or "gid", for words.

    Names that share an id (aliases) stay together: they get the id of the first of them that the new system has, else
    the old id where it is free, else `prefer[name]` if free, else the lowest free one of the same range, at best one
    that is neither in `avoid` nor anyone's on the old system. Ids in `blocked` ranges are never handed out.
    Raises TklbamError when no id is left.
    """
    result = Assignment()
    here = dict(new)
    sharing: dict[int, list[str]] = {}
    for name, number in old:
        sharing.setdefault(number, []).append(name)
    homeless = []
    for number, names in sharing.items():
        known = [name for name in names if name in here]
        if known:
            _give(result, number, names, here, here[known[0]])
            for name in known[1:]:
                if here[name] != here[known[0]]:
                    result.notes.append(
                        f"{name} and {known[0]} were one {kind} ({number}); here they are "
                        f"{here[name]} and {here[known[0]]}, and its files go to {known[0]}"
                    )
        elif number in FIXED:
            _give(result, number, names, here, number)
        else:
            homeless.append(number)
    taken = set(here.values()) | FIXED
    crowded = []
    for number in homeless:
        if number in taken or _is_blocked(number, blocked):
            crowded.append(number)
        else:
            taken.add(number)
            _give(result, number, sharing[number], here, number)
    shunned = set(avoid) | sharing.keys()
    for number in crowded:
        wish = (prefer or {}).get(sharing[number][0])
        found = _free(number, ranges, taken, shunned, blocked, wish)
        if found is None:
            raise TklbamError(
                f"no {kind} is left for {sharing[number][0]}",
                f"Widen the range in /etc/login.defs ({kind.upper()}_MAX).",
            )
        taken.add(found)
        _give(result, number, sharing[number], here, found)
        result.notes.append(f"{', '.join(sharing[number])}: {kind} {number} is another's here, now {found}")
    return result


def free_range(start: int, count: int, occupied: Iterable[IdRange]) -> int | None:
    """The lowest start ≥ `start` of `count` ids that overlap none of `occupied`; None where there is none."""
    position = start
    for each in sorted(occupied, key=lambda each: each.start):
        if each.start >= position + count:
            break
        position = max(position, each.end)
    return position if position + count <= NO_ID else None


def _give(result: Assignment, number: int, names: list[str], here: Mapping[str, int], new: int) -> None:
    result.mapping[number] = new
    result.ids |= {name: new for name in names if name not in here}


def _free(
    number: int,
    ranges: Sequence[tuple[int, int]],
    taken: set[int],
    shunned: set[int],
    blocked: Sequence[IdRange],
    wish: int | None,
) -> int | None:
    own = next((index for index, (first, last) in enumerate(ranges) if first <= number <= last), len(ranges) - 1)
    first, last = ranges[own]
    if wish is not None and first <= wish <= last and wish not in taken and not _is_blocked(wish, blocked):
        return wish
    # The same range; where it is full, those above it, and then whatever there is.
    for first, last in (*ranges[own:], *ranges[:own]):
        for bad in (taken | shunned, taken):
            found = _lowest(first, last, bad, blocked)
            if found is not None:
                return found
    return None


def _lowest(first: int, last: int, bad: set[int], blocked: Sequence[IdRange]) -> int | None:
    number = first
    while number <= last:
        block = next((each for each in blocked if each.start <= number < each.end), None)
        if block is not None:
            number = block.end
        elif number in bad:
            number += 1
        else:
            return number
    return None


def _is_blocked(number: int, blocked: Sequence[IdRange]) -> bool:
    return any(each.start <= number < each.end for each in blocked)


def _all_ranges(system: tuple[int, int], regular: tuple[int, int]) -> tuple[tuple[int, int], ...]:
    # What lies between: Debian's global static ids (0-99, 60000-64999), systemd's dynamic ones, and the large ids of
    # directories such as LDAP.
    return ((1, system[0] - 1), system, regular, (regular[1] + 1, 65533), (65536, NO_ID - 1))
