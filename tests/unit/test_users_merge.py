"""Two systems' user databases made one: what stands, what arrives, and what the old files' owners become."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tklbam_core.system.userdb_files import parse_group, parse_gshadow, parse_passwd, parse_ranges, parse_shadow
from tklbam_core.system.userdb_ids import IdPolicy
from tklbam_core.system.userdb_ranges import RangeMove
from tklbam_core.system.users import MergeResult, UserDatabase, format_map, merge

HASH = "$6$salt$OldOldOldOldOld"
OTHER = "$6$salt$NewNewNewNewNew"
NEW_PASSWD = """\
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
_apt:x:100:65534::/nonexistent:/usr/sbin/nologin
admin:x:1000:1000:Admin:/home/admin:/bin/bash
"""
NEW_GROUP = """\
root:x:0:
daemon:x:1:
sudo:x:27:admin
www-data:x:33:
nogroup:x:65534:
docker:x:101:
admin:x:1000:
"""


def database(source: str = "etc", **files: str) -> UserDatabase:
    parsers = {
        "passwd": parse_passwd,
        "group": parse_group,
        "shadow": parse_shadow,
        "gshadow": parse_gshadow,
        "subuid": parse_ranges,
        "subgid": parse_ranges,
    }
    tables = {name: parsers[name](text.encode()) for name, text in files.items()}  # type: ignore[operator]
    return UserDatabase(**tables, source=source)  # type: ignore[arg-type]


def merged(old: dict[str, str], new: dict[str, str] | None = None) -> MergeResult:
    there = {"passwd": NEW_PASSWD, "group": NEW_GROUP} if new is None else new
    return merge(database("old/etc", **old), database("new/etc", **there))


def lines(result: MergeResult, name: str) -> list[str]:
    return result.database.tables()[name].to_bytes().decode().splitlines()


def test_names_on_both_keep_the_new_systems_ids_and_lines() -> None:
    result = merged(
        {
            "passwd": "root:x:0:0::/root:/bin/zsh\nadmin:x:1004:1004:Old:/data/admin:/bin/zsh\n",
            "group": "root:x:0:\nadmin:x:1004:\n",
        }
    )
    assert lines(result, "passwd") == NEW_PASSWD.splitlines()
    assert (result.uid_map, result.gid_map) == ({1004: 1000}, {1004: 1000})
    assert any("/home/admin here and was /data/admin" in line for line in result.report)


def test_a_free_id_is_kept_and_a_taken_one_becomes_a_free_one_of_the_same_range() -> None:
    result = merged(
        {
            "passwd": "alice:x:1001:1001::/home/alice:/bin/sh\nbob:x:1000:1000::/home/bob:/bin/sh\n"
            "mysql:x:100:101:MySQL:/nonexistent:/bin/false\nldap:x:200000:200000::/:/bin/sh\n",
            "group": "alice:x:1001:\nbob:x:1000:\nmysql:x:101:\nldap:x:200000:\n",
        }
    )
    # 1000 is admin's; 1001 is kept for alice; 100 is _apt's and 101 docker's.
    assert lines(result, "passwd")[6:] == [
        "alice:x:1001:1001::/home/alice:/bin/sh",
        "bob:x:1002:1002::/home/bob:/bin/sh",
        "mysql:x:102:102:MySQL:/nonexistent:/bin/false",
        "ldap:x:200000:200000::/:/bin/sh",
    ]
    assert (result.uid_map, result.gid_map) == ({1000: 1002, 100: 102}, {1000: 1002, 101: 102})
    assert result.users == ("alice", "bob", "mysql", "ldap")


def test_aliases_stay_aliases_also_where_only_one_of_them_is_here() -> None:
    result = merged(
        {
            "passwd": "toor:x:0:0::/root:/bin/sh\nroot:x:0:0::/root:/bin/bash\n"
            "site:x:1003:1003::/srv:/bin/sh\nadmin:x:1003:1003::/home/admin:/bin/sh\n"
            "one:x:1000:1003::/srv:/bin/sh\ntwo:x:1000:1003::/srv:/bin/sh\n",
            "group": "admin:x:1003:\n",
        }
    )
    uids = {user.name: user.uid for user in result.database.passwd.entries()}
    assert uids["toor"] == uids["root"] == 0
    assert uids["site"] == uids["admin"] == 1000
    assert uids["one"] == uids["two"] == 1001
    assert result.uid_map == {1003: 1000, 1000: 1001}


def test_aliases_that_are_apart_here_are_reported_and_files_go_to_the_first() -> None:
    result = merged(
        {"passwd": "admin:x:7:7::/:/bin/sh\nwww-data:x:7:7::/:/bin/sh\n", "group": ""},
    )
    assert result.uid_map == {7: 1000}
    assert any("www-data and admin were one uid (7)" in line for line in result.report)


def test_nobodys_id_stays_nobodys_under_any_name() -> None:
    result = merged({"passwd": "nfsnobody:x:65534:65534::/:/sbin/nologin\n", "group": "nfsnobody:x:65534:\n"})
    assert {user.uid for user in result.database.passwd.entries() if user.name == "nfsnobody"} == {65534}
    assert not result.uid_map
    assert not result.gid_map


def test_members_of_a_group_on_both_are_those_of_both() -> None:
    result = merged({"passwd": "alice:x:1001:27::/:/bin/sh\n", "group": "sudo:x:25:alice,admin\n"})
    assert "sudo:x:27:admin,alice" in lines(result, "group")
    assert result.gid_map == {25: 27}


def test_a_primary_group_without_a_name_never_becomes_somebody_elses_group() -> None:
    result = merged({"passwd": "eve:x:1001:101::/:/bin/sh\nfree:x:1002:777::/:/bin/sh\n", "group": ""})
    gids = {user.name: user.gid for user in result.database.passwd.entries()}
    assert gids["eve"] == 65534, "101 is docker's here"
    assert gids["free"] == 777
    assert any("eve: had the group 101" in line for line in result.report)


def test_passwords_travel_for_accounts_on_both_but_never_weaken_what_is_here() -> None:
    old = {
        "passwd": "".join(f"{name}:x:{uid}:1::/:/bin/sh\n" for uid, name in enumerate(("root", *"abcde"))),
        "group": "",
        "shadow": f"root:{HASH}:19000:0:99999:7:::\na:*:1:0:99999:7:::\nb::2:0:99999:7:::\n"
        f"c:!{HASH}:3:::::20000:\nd:{HASH}:4::::::\n",
    }
    new = {
        "passwd": old["passwd"].replace("e:x", "f:x"),
        "group": "",
        "shadow": f"root:{OTHER}:20000:0:99999:7:::\na:{OTHER}:9::::::\nb:{OTHER}:9::::::\n"
        f"c:{OTHER}:9::::::\nd:*:9::::::\nf:{OTHER}:9::::::\n",
    }
    result = merged(old, new)
    assert lines(result, "shadow") == [
        f"root:{HASH}:19000:0:99999:7:::",
        f"a:{OTHER}:9::::::",
        f"b:{OTHER}:9::::::",
        f"c:!{HASH}:3:::::20000:",
        f"d:{HASH}:4::::::",
        f"f:{OTHER}:9::::::",
        "e:!:::::::",
    ]


def test_an_account_that_arrives_with_no_shadow_entry_is_locked() -> None:
    result = merged(
        {"passwd": f"alice:x:1001:1001::/:/bin/sh\nold:{HASH}:1002:1001::/:/bin/sh\n", "group": "alice:x:1001:\n"},
        {"passwd": NEW_PASSWD, "group": NEW_GROUP, "shadow": "root:*:1::::::\n"},
    )
    assert lines(result, "shadow") == ["root:*:1::::::", "alice:!:::::::", f"old:{HASH}:::::::"]
    assert "old:x:1002:1001::/:/bin/sh" in lines(result, "passwd"), "a hash does not stay in a file that all can read"
    assert any("alice: arrived with no password and is locked" in line for line in result.report)


def test_a_shadow_entry_without_an_account_gives_the_arriving_account_nothing() -> None:
    result = merged(
        {"passwd": "alice:x:1001:1001::/:/bin/sh\n", "group": ""},
        {"passwd": NEW_PASSWD, "group": NEW_GROUP, "shadow": f"alice:{OTHER}:1::::::\n"},
    )
    assert lines(result, "shadow") == ["alice:!:::::::"]


def test_group_shadow_is_joined_like_the_groups() -> None:
    result = merged(
        {
            "passwd": "",
            "group": "sudo:x:27:alice\nteam:x:1005:alice\nplain:x:1006:\n",
            "gshadow": f"sudo:*:boss:alice\nteam:{HASH}:boss:alice\n",
        },
        {"passwd": NEW_PASSWD, "group": NEW_GROUP, "gshadow": "root:*::\nsudo:*::admin\n"},
    )
    assert lines(result, "gshadow") == ["root:*::", "sudo:*:boss:admin,alice", f"team:{HASH}:boss:alice", "plain:!::"]


def test_subordinate_ids_never_overlap_and_their_files_follow() -> None:
    old = {
        "passwd": "admin:x:1000:1::/:/bin/sh\nbob:x:1005:1::/:/bin/sh\ncarl:x:1006:1::/:/bin/sh\n",
        "group": "",
        "subuid": "admin:300000:1000\nbob:100000:65536\ncarl:500000:1000\n1005:600000:10\n",
    }
    new = {"passwd": NEW_PASSWD, "group": NEW_GROUP, "subuid": "admin:100000:65536\n"}
    result = merged(old, new)
    assert lines(result, "subuid") == [
        "admin:100000:65536",
        "bob:165536:65536",
        "carl:500000:1000",
        "1005:600000:10",
    ]
    assert result.uid_moves == (RangeMove(100000, 165536, 65536), RangeMove(300000, 100000, 1000))
    assert [result.map_uid(uid) for uid in (300999, 100001, 500001, 7)] == [100999, 165537, 500001, 7]


def test_no_account_gets_an_id_out_of_a_subordinate_range() -> None:
    result = merged(
        {"passwd": "big:x:100005:1::/:/bin/sh\n", "group": ""},
        {"passwd": NEW_PASSWD, "group": NEW_GROUP, "subuid": "admin:65536:70000\n"},
    )
    assert {user.uid for user in result.database.passwd.entries() if user.name == "big"} == {135536}


def test_odd_lines_here_stay_in_place_and_nis_lines_last() -> None:
    new = {"passwd": "# managed\nroot:x:0:0::/root:/bin/sh\nbroken:x:1\n\n+@admins::::::\n+::::::\n", "group": ""}
    old = {"passwd": "alice:x:1001:1::/:/bin/sh\n# by hand\nbad:x:abc:1::/:/bin/sh\n-guest\n+::::::\n", "group": ""}
    result = merged(old, new)
    assert lines(result, "passwd") == [
        "# managed",
        "root:x:0:0::/root:/bin/sh",
        "broken:x:1",
        "",
        "alice:x:1001:1::/:/bin/sh",
        "# by hand",
        "+@admins::::::",
        "+::::::",
        "-guest",
    ]
    assert "new/etc/passwd:3: 3 fields where 7 belong; kept as it stands" in result.report
    assert any(line.startswith("old/etc/passwd:3: the uid is no number") for line in result.report)


def test_reports_never_show_a_hash() -> None:
    result = merged({"passwd": "", "group": "", "shadow": f"x:{HASH}:1\ny:{HASH}:1::::::\ny:{HASH}:1::::::\n"})
    assert len(result.report) == 2
    assert HASH not in repr(result)
    assert HASH not in " ".join(result.report)


def test_an_entry_that_nobody_changes_comes_out_as_it_went_in() -> None:
    odd = "root:x:00:0::/root:/bin/sh\n"
    assert lines(merged({"passwd": "", "group": ""}, {"passwd": odd, "group": "g:x:01:a,,b,\n"}), "passwd") == [
        odd[:-1]
    ]


def test_ranges_follow_login_defs() -> None:
    policy = IdPolicy.from_login_defs(
        "UID_MIN 500\nUID_MAX 999 # few\nGID_MIN\t 2000\n#UID_MIN 3\nSUB_UID_MIN 700000\n"
    )
    assert (policy.system_users, policy.regular_users) == ((100, 499), (500, 999))
    assert (policy.system_groups, policy.regular_groups) == ((100, 1999), (2000, 59999))
    assert policy.first_sub_id == 700000


def test_a_full_range_spills_into_the_next() -> None:
    crowd = "".join(f"u{uid}:x:{uid}:1::/:/bin/sh\n" for uid in range(100, 1000))
    result = merged({"passwd": "new:x:100:1::/:/bin/sh\n", "group": ""}, {"passwd": crowd, "group": ""})
    assert {user.uid for user in result.database.passwd.entries() if user.name == "new"} == {1000}


def test_command_prints_both_maps_each_on_its_line_even_when_empty(tmp_path: Path) -> None:
    old = {"passwd": "mysql:x:100:101::/:/bin/false\nbob:x:1000:5::/:/bin/sh\n", "group": "tape:x:5:\n"}
    for name, text in [("op", old["passwd"]), ("og", old["group"]), ("np", NEW_PASSWD), ("ng", NEW_GROUP)]:
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [Path(sys.executable).with_name("tklbam"), "internal", "merge-userdb", "op", "og", "np", "ng", "p", "g"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "100,102:1000,1001\n\n"
    assert (tmp_path / "p").read_text().splitlines()[-1] == "bob:x:1001:5::/:/bin/sh"
    assert (tmp_path / "g").read_text().splitlines()[-1] == "tape:x:5:"


def test_a_map_is_written_in_order() -> None:
    assert format_map({12: 3, 5: 4}) == "5,4:12,3"


def test_a_range_that_moves_never_lands_on_ids_that_meant_something_else() -> None:
    old = {"passwd": "admin:x:1000:1::/:/bin/sh\n", "group": "", "subuid": "admin:100000:2\nadmin:100002:1\n"}
    new = {"passwd": NEW_PASSWD, "group": NEW_GROUP, "subuid": "root:100000:2\nadmin:200000:1\n"}
    result = merged(old, new)
    assert lines(result, "subuid")[2:] == ["admin:100003:2"]
    assert [result.map_uid(uid) for uid in (100000, 100001, 100002)] == [100003, 100004, 200000]
