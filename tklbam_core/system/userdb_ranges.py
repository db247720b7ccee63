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

    An owner that has ranges here keeps them; its n-th old range then goes to its n-th here, if that is as long. Any
    other old range keeps its ids when nobody has them, else it gets the first gap. Raises TklbamError: no gap left.
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
    counts: dict[str, int] = {}
    waiting: list[IdRange] = []
    for each in old.entries():
        owner = str(uids.get(int(each.owner), int(each.owner))) if each.owner.isdecimal() else each.owner
        position = counts.get(owner, 0)
        counts[owner] = position + 1
        mine = here.get(owner, [])
        same = next((own for own in mine if own.start <= each.start and each.end <= own.end), None)
        if same is None and position < len(mine) and mine[position].count >= each.count:
            same = mine[position]
            moves.append(RangeMove(each.start, same.start, each.count))
        if same is None:
            waiting.append(IdRange(owner, each.start, each.count))
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
        start = free_range(policy.first_sub_id, each.count, occupied)
        if start is None:
            raise TklbamError(
                f"no {each.count} subordinate ids are left for {each.owner}", f"Make room in /etc/{name}."
            )
        placed = IdRange(each.owner, start, each.count)
        occupied.append(placed)
        lines.append(placed)
        moves.append(RangeMove(each.start, start, each.count))
    report = [
        f"{name}: ids {move.old} to {move.old + move.count - 1} are now {move.new} to {move.new + move.count - 1}"
        for move in moves
    ]
    return Table(tuple(lines), table.spelling), moves, report
