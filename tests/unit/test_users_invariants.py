"""What holds for any two user databases that are merged."""

from __future__ import annotations

from itertools import combinations, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from tklbam_core.system.userdb_files import Group, GroupShadow, IdRange, Shadow, Table, User
from tklbam_core.system.users import UserDatabase, merge

NAMES = st.sampled_from(["root", "nobody", *"abcdefghij"])
IDS = st.one_of(st.sampled_from([0, 65534]), st.integers(1, 120), st.integers(990, 1010), st.integers(59990, 70000))
HASHES = st.sampled_from(["*", "!", "", "$6$aaaaaaaaaaaaa", "!$6$bbbbbbbbbbbbb"])


@st.composite
def databases(draw: st.DrawFn) -> UserDatabase:
    uids = draw(st.dictionaries(NAMES, IDS, max_size=8))
    gids = draw(st.dictionaries(NAMES, IDS, max_size=8))
    users = [User(name, "x", uid, draw(IDS), "", f"/home/{name}", "/bin/sh") for name, uid in uids.items()]
    members = st.lists(NAMES, unique=True, max_size=3).map(tuple)
    groups = [Group(name, "x", gid, draw(members)) for name, gid in gids.items()]
    shadows = [Shadow(name, draw(HASHES)) for name in draw(st.sets(NAMES))]
    gshadows = [GroupShadow(group.name, draw(HASHES), (), group.members) for group in groups]
    ranges: list[IdRange] = []
    start = 100000
    for owner in draw(st.lists(NAMES, max_size=4)):
        start += draw(st.integers(0, 5))
        count = draw(st.integers(1, 20))
        ranges.append(IdRange(owner, start, count))
        start += count
    return UserDatabase(
        Table(tuple(users)),
        Table(tuple(groups)),
        draw(st.one_of(st.none(), st.just(Table(tuple(shadows))))),
        draw(st.one_of(st.none(), st.just(Table(tuple(gshadows))))),
        Table(tuple(ranges)),
        draw(st.one_of(st.none(), st.just(Table(tuple(ranges))))),
    )


def content(database: UserDatabase) -> dict[str, bytes]:
    return {name: table.to_bytes() for name, table in database.tables().items()}


@given(databases())
@settings(deadline=None)
def test_merged_with_itself_a_database_is_itself(database: UserDatabase) -> None:
    result = merge(database, database)
    assert content(result.database) == content(database)
    assert not result.users
    assert not result.groups
    # An alias whose first name is elsewhere is the one thing that can move: here nothing is elsewhere.
    assert not result.uid_map
    assert not result.gid_map
    assert not result.uid_moves


@given(databases(), databases())
@settings(max_examples=200, deadline=None)
def test_invariants_of_any_merge(old: UserDatabase, new: UserDatabase) -> None:
    result = merge(old, new)
    users, groups = result.database.passwd.by_key(), result.database.group.by_key()

    # Everybody is there, and the new system's accounts stand.
    assert users.keys() == old.passwd.by_key().keys() | new.passwd.by_key().keys()
    assert [user for user in result.database.passwd.entries() if user.name in new.passwd.by_key()] == list(
        new.passwd.entries()
    )
    for group in new.group.entries():
        assert groups[group.name].gid == group.gid
        assert groups[group.name].members[: len(group.members)] == group.members

    # Every id that had a name leads to one that has, and names that shared none share none now.
    for kind, olds, news, merged, mapping in (
        ("uid", old.passwd, new.passwd, users, result.uid_map),
        ("gid", old.group, new.group, groups, result.gid_map),
    ):
        old_ids = {name: getattr(entry, kind) for name, entry in olds.by_key().items()}
        new_ids = {name: getattr(entry, kind) for name, entry in news.by_key().items()}
        ids = {name: getattr(entry, kind) for name, entry in merged.items()}
        assert all(mapping.get(number, number) in ids.values() for number in old_ids.values())
        for one, two in combinations(ids, 2):
            if ids[one] != ids[two] or ids[one] in (0, 65534):
                continue
            # Sharing an id now, they shared one here before, or one of them arrives as an alias it was there.
            arriving = [name for name in (one, two) if name not in new_ids]
            alias = [name for name in arriving if list(old_ids.values()).count(old_ids[name]) > 1]
            assert alias or not arriving
        for name, number in old_ids.items():
            if name not in new_ids:
                assert ids[name] == mapping.get(number, number), "its own files are its own"

    # Subordinate ids overlap nowhere.
    assert result.database.subuid is not None
    spans = sorted(result.database.subuid.entries(), key=lambda each: each.start)
    assert all(first.end <= second.start for first, second in pairwise(spans))

    # Nobody gets in without a password who did not before.
    if result.database.shadow is not None and new.shadow is not None:
        before = {
            entry.name for entry in (*(old.shadow or Table()).entries(), *new.shadow.entries()) if not entry.password
        }
        assert {entry.name for entry in result.database.shadow.entries() if not entry.password} <= before
        assert new.passwd.by_key().keys() & new.shadow.by_key().keys() <= result.database.shadow.by_key().keys()


@given(databases(), databases())
@settings(max_examples=200, deadline=None)
def test_a_merge_repeated_changes_nothing_more(old: UserDatabase, new: UserDatabase) -> None:
    once = merge(old, new)
    twice = merge(old, once.database)
    assert content(twice.database) == content(once.database)
    assert (twice.uid_map, twice.gid_map) == (once.uid_map, once.gid_map)
    assert twice.uid_moves == once.uid_moves
