"""Any tree, any change: compared with the table said plainly over two dictionaries."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.indexes import create_index
from tklbam_core.delta.changes import find_changes
from tklbam_core.delta.model import Entry
from tklbam_core.delta.rules import PathRules
from tklbam_core.delta.scan import ScanReport, scan

OLD = 1_000_000_000
NAMES = st.sampled_from(["a", "b", "a-b", "a\nb", "a\\nb", "\udcff"])
PLACES = st.lists(NAMES, min_size=1, max_size=3)
ACTS = st.sampled_from(["write", "grow", "mkdir", "link", "fifo", "chmod", "remove", "touch"])


def act(root: Path, what: str, names: list[str]) -> None:
    place = root.joinpath(*names)
    if any(parent.is_symlink() or not parent.is_dir() for parent in place.parents if root in parent.parents):
        return
    there = os.path.lexists(place)
    if what == "remove" and there:
        shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()
    elif what == "chmod" and there and not place.is_symlink():
        place.chmod(0o750)
    elif what == "touch" and there:
        os.utime(place, (OLD, OLD), follow_symlinks=False)
    elif what == "grow" and there and stat.S_ISREG(os.lstat(place).st_mode):
        with place.open("a") as file:
            file.write("more")
    elif what in ("write", "mkdir", "link", "fifo"):
        if there and not (place.is_dir() and not place.is_symlink()):
            place.unlink()
        if not os.path.lexists(place):
            make = {"write": Path.touch, "mkdir": Path.mkdir, "fifo": os.mkfifo, "link": lambda p: p.symlink_to("..")}
            make[what](place)


def plain_kind(old: Entry | None, new: Entry) -> str:
    is_directory, is_link = stat.S_ISDIR(new.mode), stat.S_ISLNK(new.mode)
    if old is None or stat.S_IFMT(old.mode) != stat.S_IFMT(new.mode):
        return "s" if is_directory else "o"
    if is_link and old.target != new.target:
        return "o"
    if not is_directory and not is_link and (old.size, old.mtime) != (new.size, new.mtime):
        return "o"
    return "s" if (old.mode, old.uid, old.gid) != (new.mode, new.uid, new.gid) else ""


def plain_changes(before: dict[bytes, Entry], after: dict[bytes, Entry]) -> list[tuple[str, bytes]]:
    found = []
    for path in sorted(before.keys() | after.keys(), key=lambda path: path.split(b"/")):
        old, new = before.get(path), after.get(path)
        kind = "d" if new is None else plain_kind(old, new)
        if kind:
            found.append((kind, path))
    return found


@given(st.lists(st.tuples(ACTS, PLACES), max_size=12), st.lists(st.tuples(ACTS, PLACES), max_size=8))
@settings(max_examples=100, deadline=None)
def test_any_change_is_found_and_nothing_else(
    before: list[tuple[str, list[str]]], between: list[tuple[str, list[str]]]
) -> None:
    rules = PathRules.from_words(["/", "-/", "/?*"])
    with tempfile.TemporaryDirectory() as directory:
        root, index = Path(directory) / "root", Path(directory) / "index"
        root.mkdir()

        def found() -> list[tuple[str, bytes]]:
            changes = find_changes(root=root, index=index, rules=rules, report=ScanReport())
            return [(change.kind, change.path) for change in changes]

        for what, names in before:
            act(root, what, names)
        create_index(index, root=root, rules=rules, digests=False)
        assert found() == []
        old = {entry.path: entry for entry in scan(root, rules)}
        for what, names in between:
            act(root, what, names)
        assert found() == plain_changes(old, {entry.path: entry for entry in scan(root, rules)})
