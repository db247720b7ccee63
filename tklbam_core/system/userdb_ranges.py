"""Subordinate ids (subuid, subgid): ranges of two systems joined so that none overlaps another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..api.errors import TklbamError
from .userdb_files import IdRange, OddLine, Table, User
from .userdb_ids import IdPolicy, free_range


@dataclass(frozen=True, slots=True)
class RangeMove:
    """Files of the old system with ids `old` … `old + count - 1` belong to ids `new` … here."""

    old: int
    new: int
    count: int


def merge_ranges(
    old: Table[IdRange] | None,
    new: Table[IdRange] | None,
    users: Table[User],
    uids: Mapping[int, int],
    policy: IdPolicy,
    name: str,
) -> tuple[Table[IdRange] | None, list[RangeMove], list[str]]:
    """(merged table, moves, report lines). `users` is the merged passwd, `uids` the full map of old to new uids.

    An owner that has ranges here keeps them: an old range that lies within one of them needs nothing, another goes to
    the first that is long enough and not used yet. What is left keeps its ids when nobody has them, else it gets the
    first gap. Raises TklbamError when there is no gap.
    """
    if old is None or not any(old.entries()):
        return new, [], []
    table: Table[IdRange] = new if new is not None else Table()
    here: dict[str, list[IdRange]] = {}
    for each in table.entries():
        here.setdefault(each.owner, []).append(each)
    accounts = [IdRange("", user.uid, 1) for user in users.entries()]
    occupied = [*table.entries(), *accounts]
    lines: list[IdRange | OddLine] = list(table.lines)
    moves: list[RangeMove] = []
    theirs = [_owned_here(each, uids) for each in old.entries()]
    found: dict[IdRange, IdRange] = {}
    for each in theirs:
        around = [own for own in here.get(each.owner, ()) if own.start <= each.start and each.end <= own.end]
        if around:
            found[each] = around[0]
    used = set(found.values())
    for each in theirs:
        fitting = [own for own in here.get(each.owner, ()) if own not in used and own.count >= each.count]
        if each not in found and fitting:
            found[each] = fitting[0]
            used.add(fitting[0])
            moves.append(RangeMove(each.start, fitting[0].start, each.count))
    waiting = [each for each in theirs if each not in found]
    # First those that can stay where they are, then the others, in the order of the old file.
    staying = set()
    for each in waiting:
        if free_range(each.start, each.count, occupied) == each.start:
            occupied.append(each)
            staying.add(each)
    for each in waiting:
        if each in staying:
            lines.append(each)
            continue
        # Not where another old range was: its ids would mean two things.
        start = free_range(policy.first_sub_id, each.count, [*occupied, *theirs])
        if start is None:
            start = free_range(policy.first_sub_id, each.count, occupied)
        if start is None:
            raise TklbamError(
                f"no {each.count} subordinate ids are left for {each.owner}", f"Make room in /etc/{name}."
            )
        placed = IdRange(each.owner, start, each.count)
        occupied.append(placed)
        lines.append(placed)
        moves.append(RangeMove(each.start, start, each.count))
    moves.sort(key=lambda move: move.old)
    report = [
        f"{name}: ids {move.old} to {move.old + move.count - 1} are now {move.new} to {move.new + move.count - 1}"
        for move in moves
    ]
    return Table(tuple(lines), table.spelling), moves, report


def _owned_here(each: IdRange, uids: Mapping[int, int]) -> IdRange:
    """The range with its owner, which may be a number, in the new system's numbers."""
    if not each.owner.isdecimal():
        return each
    number = int(each.owner)
    return IdRange(str(uids.get(number, number)), each.start, each.count)
