"""Path rules: the nearest ancestor decides, whatever way it is asked."""

from __future__ import annotations

import fnmatch
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tklbam_core.api.errors import FormatError, UsageError
from tklbam_core.delta.rules import PathRule, PathRules
from tklbam_core.engine.parts import Parts


@pytest.mark.parametrize(
    ("words", "inside", "outside"),
    [
        (["/a", "-/a/b", "/a/b/c"], ["/a", "/a/x", "/a/b/c", "/a/b/c/d"], ["/a/b", "/a/b/x", "/ab", "/", "/b"]),
        (["/a", "-/a"], [], ["/a", "/a/x"]),
        (["-/a", "/a"], ["/a", "/a/x"], ["/b"]),
        (["-/a/b", "/a"], ["/a", "/a/c"], ["/a/b", "/a/b/c"]),
        (["-/a"], ["/b", "/", "/ab"], ["/a", "/a/x"]),
        ([], ["/", "/a"], []),
        (["/"], ["/", "/a/b"], []),
        (["/", "-/a//b/./"], ["/a"], ["/a/b"]),
        (["/srv/*/www"], ["/srv/x/www", "/srv/x/www/y"], ["/srv/x", "/srv/x/y/www", "/srv/.x/www", "/srv/www"]),
        (["/srv/.*"], ["/srv/.x"], ["/srv/x"]),
        (["/srv", "-/srv/*.log", "/srv/keep.log"], ["/srv/keep.log", "/srv/.log"], ["/srv/a.log", "/srv/a.log/x"]),
        (["/srv", "/srv/keep.log", "-/srv/*.log"], ["/srv/x"], ["/srv/keep.log"]),
        (["/srv/[ab]?"], ["/srv/ax", "/srv/bé"], ["/srv/a", "/srv/cx", "/srv/axx"]),
        (["/srv/[!a]"], ["/srv/b"], ["/srv/a", "/srv/.", "/srv/bb"]),
        (["/a\\*b"], ["/a\\xb"], ["/a*b"]),
    ],
)
def test_nearest_ancestor_decides(words: list[str], inside: list[str], outside: list[str]) -> None:
    rules = PathRules.from_words(words)
    assert [path for path in inside if not rules.includes(path.encode())] == []
    assert [path for path in outside if rules.includes(path.encode())] == []


def naive_includes(rules: PathRules, path: bytes) -> bool:
    """The same said as slowly and plainly as can be: from the path upwards, the last rule that matches a level."""
    levels = [path]
    while path != b"/":
        path = path.rsplit(b"/", 1)[0] or b"/"
        levels.append(path)
    for level in levels:
        for rule in reversed(rules.rules):
            names, patterns = ([each for each in path.split(b"/") if each] for path in (level, rule.path))
            if len(names) == len(patterns) and all(
                fnmatch.fnmatchcase(name, pattern) and (name[:1] != b"." or pattern[:1] == b".")
                for name, pattern in zip(names, patterns, strict=True)
            ):
                return rule.include
    return not any(rule.include for rule in rules.rules)


components = st.sampled_from([b"a", b"b", b"ab", b".a", b"*", b"?", b"a*", b"[ab]", b".*", b"[!a]"])
names = st.sampled_from([b"a", b"b", b"ab", b".a", b"c", b"..a"])
paths_of_rules = st.lists(components, max_size=4).map(lambda parts: b"/" + b"/".join(parts))
paths = st.lists(names, max_size=5).map(lambda parts: b"/" + b"/".join(parts))


@given(st.lists(st.builds(PathRule, st.booleans(), paths_of_rules), max_size=8), st.lists(paths, max_size=10))
@settings(max_examples=400, deadline=None)
def test_rules_decide_as_the_plain_definition(listed: list[PathRule], asked: list[bytes]) -> None:
    rules = PathRules(listed)
    bounds = [b"/"] if rules.bounds is None else rules.bounds
    for path in asked:
        assert rules.includes(path) == naive_includes(rules, path), (rules, path)
        if rules.includes(path):
            assert any(path == each or path.startswith(each.rstrip(b"/") + b"/") for each in bounds), (rules, path)


@given(st.lists(st.builds(PathRule, st.booleans(), paths_of_rules), max_size=5), st.lists(paths, max_size=10))
@settings(max_examples=400, deadline=None)
def test_what_rules_take_is_fetched_with_the_directories_it_lies_in(listed: list[PathRule], asked: list[bytes]) -> None:
    rules = PathRules(listed)
    named = rules.named
    parts = Parts.of(None, None if named is None else [os.fsdecode(path.lstrip(b"/")) for path in named])
    for path in asked:
        if rules.includes(path):
            for end in [at for at, byte in enumerate(path) if byte == ord("/")] + [len(path)]:
                assert parts.hold(path[1:end]), (rules, path, path[:end])


def test_little_else_is_fetched() -> None:
    parts = Parts.of(None, ["srv/*/x", "etc/a", "home/[!a]?/.ssh", "opt/[/b"])
    wanted = [b"", b"srv", b"srv/a", b"srv/a/x/y", b"etc", b"etc/a/b", "home/bü/.ssh/k".encode(), b"opt/[/b"]
    assert all(map(parts.hold, wanted))
    others = [b"srv/a/y", b"srv/a/y/x", b"etc/b", b"home/bc/k", b"home/bcde12345/.ssh/k", b"opt/c", b"var"]
    assert not any(map(parts.hold, others))
    assert parts.below == (b"srv", b"etc/a", b"home", b"opt/[/b")


def test_bounds_are_the_directories_that_rules_lead_to() -> None:
    rules = PathRules.from_words(["/srv/*/x", "-/var", "/etc/nginx", "/etc/nginx/a", "/etc/nginx-a", "mysql:shop"])
    assert rules.bounds == (b"/etc/nginx", b"/etc/nginx-a", b"/srv")
    assert PathRules.from_words(["-/var"]).bounds is None
    assert PathRules.from_words(["/var", "/*/x"]).bounds is None


def test_later_list_wins_for_the_same_path() -> None:
    profile = PathRules.from_words(["/etc", "-/etc/x", "-/var"])
    overrides = PathRules.from_words(["/etc/x", "-/etc/y"])
    both = profile + overrides
    assert both.includes(b"/etc/x")
    assert not both.includes(b"/etc/y")
    assert not both.includes(b"/var")


def test_conf_takes_several_words_a_line_comments_and_raw_backslashes(tmp_path: Path) -> None:
    conf = tmp_path / "dirindex.conf"
    conf.write_bytes(
        b"# what to scan\n\n/etc -/etc/x\t/srv # and no more /never\n"
        b"/etc/systemd/system/dev-disk-by\\x2duuid.swap\n/srv/caf\xe9\n-/a/b/\n-mysql:db/table pgsql:x\n/last"
    )
    assert [(rule.include, rule.path) for rule in PathRules.from_file(conf).rules] == [
        (True, b"/etc"),
        (False, b"/etc/x"),
        (True, b"/srv"),
        (True, b"/etc/systemd/system/dev-disk-by\\x2duuid.swap"),
        (True, b"/srv/caf\xe9"),
        (False, b"/a/b"),
        (True, b"/last"),
    ]


@pytest.mark.parametrize("word", ["etc", "-etc", "-", "./x", "/a/../b", "-/..", "--/etc"])
def test_what_is_no_absolute_path_is_named_with_file_and_line(word: str, tmp_path: Path) -> None:
    conf = tmp_path / "overrides"
    conf.write_text(f"/ok\n# comment\n/ok {word}\n")
    with pytest.raises(FormatError) as caught:
        PathRules.from_file(conf)
    assert caught.value.line == 3
    assert str(conf) in str(caught.value)
    assert caught.value.remedy
    with pytest.raises(UsageError):
        PathRules.from_words(["/ok", word])


def test_nul_is_no_path() -> None:
    with pytest.raises(FormatError):
        PathRules.from_text(b"/a\0b\n", "conf")


def test_links_among_parents_are_followed_inside_the_root(tmp_path: Path) -> None:
    (tmp_path / "run/x").mkdir(parents=True)
    (tmp_path / "var").mkdir()
    (tmp_path / "var/run").symlink_to("/run")
    (tmp_path / "up").symlink_to("../../../../../../etc")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "odd").symlink_to("a[1]*")
    rules = PathRules.from_words(
        [
            "/var/run/x",
            "-/var/run/gone/y",
            "/var/run",
            "/up/passwd",
            "/loop/x",
            "/var/run/*/z",
            "/odd/f",
            "/var/[r]un/x",
        ]
    )
    assert [rule.path for rule in rules.resolve(tmp_path).rules] == [
        b"/run/x",
        b"/run/gone/y",
        b"/var/run",
        b"/etc/passwd",
        b"/loop/x",
        b"/run/*/z",
        b"/a[[]1][*]/f",
        b"/var/[r]un/x",
    ]
    assert rules.resolve(tmp_path).includes(b"/a[1]*/f")
    assert not rules.resolve(tmp_path).includes(b"/a1x/f")
