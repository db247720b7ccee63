"""What the archive can't carry survives the way into the extras and back."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.small_disks import tmpfs
from tklbam_core.api.errors import FormatError, SpaceError, UnsafePathError
from tklbam_core.delta.attributes import (
    ProfileAttributes,
    ProfileAttributesWriter,
    is_carried,
    read_attributes,
    set_attributes,
)
from tklbam_core.delta.carry import CarryReader, CarryWriter, OddFile
from tklbam_core.delta.metadata import IdMaps
from tklbam_core.delta.model import Change, Kind

NASTY = [
    b"plain",
    b"tab\there",
    b"new\nline",
    b"back\\slash",
    b"cr\rx",
    b"caf\xc3\xa9",
    b"\xff\xfe",
    b"sp ace",
    b"#tklbam 2",
]


@pytest.fixture
def system(tmp_path: Path) -> Path:
    root = tmp_path / "system"
    (root / "srv").mkdir(parents=True)
    return root


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with tmpfs(tmp_path / "small", "2m") as disk:
        yield disk


@pytest.fixture
def extras(tmp_path: Path) -> Path:
    directory = tmp_path / "TKLBAM"
    directory.mkdir()
    return directory


def carry(
    system: Path, extras: Path, *paths: bytes, kind: Kind = "o", profile: ProfileAttributes | None = None
) -> tuple[list[bytes], CarryReader]:
    """Carries the paths; returns those left out of the archive's list, and what is read back."""
    with CarryWriter(extras, system, profile) as writer:
        left_out = [path for path in paths if writer.add(Change(kind, path))]
    assert writer.problems == []
    return left_out, CarryReader(extras)


def test_extras_of_the_first_version_carry_nothing(extras: Path) -> None:
    reader = CarryReader(extras)
    assert not reader.attributes
    assert not reader.first_names
    assert not reader.sparse
    assert not reader.odd


def test_nothing_special_writes_no_file(system: Path, extras: Path) -> None:
    (system / "srv/a").write_text("a")
    left_out, _ = carry(system, extras, b"/srv/a")
    assert left_out == []
    assert os.listdir(extras) == []


@pytest.mark.parametrize("name", NASTY)
def test_attributes_of_any_path_and_value_come_back(system: Path, extras: Path, name: bytes) -> None:
    path = b"/srv/" + name
    full = os.fsencode(system) + path
    os.close(os.open(full, os.O_CREAT | os.O_WRONLY))
    os.setxattr(full, "user.empty", b"")
    os.setxattr(full, "user.a=b\tc\\", bytes(range(256)))
    _, reader = carry(system, extras, path, kind="a")
    assert reader.attributes == {path: {"user.empty": b"", "user.a=b\tc\\": bytes(range(256))}}


@pytest.mark.root
def test_attributes_of_links_are_the_link_s_own(system: Path, extras: Path) -> None:
    (system / "srv/target").write_text("")
    os.setxattr(system / "srv/target", "user.theirs", b"1")
    (system / "srv/link").symlink_to("target")
    os.setxattr(system / "srv/link", "trusted.mine", b"2", follow_symlinks=False)
    _, reader = carry(system, extras, b"/srv/link")
    assert reader.attributes == {b"/srv/link": {"trusted.mine": b"2"}}


def test_attributes_that_the_profile_had_and_are_gone_are_carried_as_none(
    system: Path, extras: Path, tmp_path: Path
) -> None:
    for name in ("had", "never"):
        (system / "srv" / name).write_text("")
    os.setxattr(system / "srv/had", "user.x", b"1")
    with ProfileAttributesWriter(tmp_path / "attributes", system) as writer:
        writer.add(b"/srv/had")
        writer.add(b"/srv/never")
    profile = ProfileAttributes(tmp_path / "attributes", system)
    os.removexattr(system / "srv/had", "user.x")
    assert profile.differs(b"/srv/had")
    _, reader = carry(system, extras, b"/srv/had", b"/srv/never", kind="s", profile=profile)
    assert reader.attributes == {b"/srv/had": {}}


def test_a_profile_tells_which_attributes_differ(system: Path, tmp_path: Path) -> None:
    for name in ("same", "changed", "added", "plain"):
        (system / "srv" / name).write_text("")
    os.setxattr(system / "srv/same", "user.x", b"1")
    os.setxattr(system / "srv/changed", "user.x", b"1")
    with ProfileAttributesWriter(tmp_path / "attributes", system) as writer:
        for name in sorted(os.listdir(system / "srv")):
            writer.add(b"/srv/" + os.fsencode(name))
    os.setxattr(system / "srv/changed", "user.x", b"2")
    os.setxattr(system / "srv/added", "user.x", b"1")
    profile = ProfileAttributes.load(tmp_path, system)
    differing = [name for name in ("same", "changed", "added", "plain") if profile.differs(b"/srv/" + name.encode())]
    assert differing == ["changed", "added"]
    assert profile.known
    assert not profile.differs(b"/srv/vanished")


def test_a_profile_that_recorded_none_finds_no_difference(system: Path, tmp_path: Path) -> None:
    (system / "srv/a").write_text("")
    os.setxattr(system / "srv/a", "user.x", b"1")
    profile = ProfileAttributes.load(tmp_path, system)
    assert not profile.known
    assert not profile.differs(b"/srv/a")


def test_labels_of_the_machine_s_own_policy_are_not_carried() -> None:
    assert not is_carried("security.selinux")
    assert not is_carried("trusted.overlay.opaque")
    assert not is_carried("btrfs.compression")
    assert is_carried("security.capability")
    assert is_carried("system.posix_acl_default")


@pytest.mark.root
def test_attributes_not_wanted_are_removed_and_others_left_alone(system: Path) -> None:
    path = os.fsencode(system / "srv")
    os.setxattr(path, "user.old", b"1")
    os.setxattr(path, "security.SMACK64x", b"policy")
    assert set_attributes(path, {"user.new": b"2"}) == []
    assert read_attributes(path) == {"user.new": b"2"}
    assert os.getxattr(path, "security.SMACK64x") == b"policy"


def test_a_file_system_that_refuses_an_attribute_is_a_warning(system: Path) -> None:
    (system / "srv/link").symlink_to("x")
    # The kernel allows no user attributes on links, on any file system.
    failures = set_attributes(os.fsencode(system / "srv/link"), {"user.x": b"1"})
    assert len(failures) == 1
    assert "user.x" in failures[0]


def test_hard_links_are_told_by_their_first_name(system: Path, extras: Path) -> None:
    (system / "srv/a").write_text("a")
    for name in ("b", "c", "elsewhere"):
        os.link(system / "srv/a", system / "srv" / name)
    (system / "srv/z").write_text("z")
    os.link(system / "srv/z", system / "srv/also-elsewhere")
    _, reader = carry(system, extras, b"/srv/a", b"/srv/b", b"/srv/c", b"/srv/z")
    assert reader.first_names == {b"/srv/b": b"/srv/a", b"/srv/c": b"/srv/a"}


def test_only_files_with_holes_are_sparse(system: Path, extras: Path) -> None:
    with open(system / "srv/holes", "wb") as file:
        file.seek(1 << 20)
        file.write(b"end")
    (system / "srv/full").write_bytes(b"\0" * (1 << 20))
    (system / "srv/small").write_bytes(b"")
    _, reader = carry(system, extras, b"/srv/full", b"/srv/holes", b"/srv/small")
    assert reader.sparse == {b"/srv/holes"}


@pytest.mark.root
def test_odd_names_are_staged_with_all_that_they_were(system: Path, extras: Path) -> None:
    base = os.fsencode(system) + b"/srv/\xff"
    os.mkdir(base, 0o750)
    os.chown(base, 12, 34)
    os.symlink(b"\xfe\ttarget", base + b"/link")
    os.mkfifo(base + b"/fifo", 0o640)
    os.mknod(base + b"/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with open(base + b"/file\n", "wb") as file:
        file.write(b"content")
    os.chmod(base + b"/file\n", 0o4711)
    os.utime(base + b"/file\n", ns=(1, -5))
    names = [b"/srv/\xff/" + name for name in (b"fifo", b"file\n", b"link", b"null")]
    left_out, reader = carry(system, extras, b"/srv/plain", *names)
    assert left_out == names
    assert reader.odd[b"/srv/\xff"] == OddFile(stat.S_IFDIR | 0o750, 12, 34, os.stat(base).st_mtime_ns, None, None, 0)
    kept = reader.odd[b"/srv/\xff/file\n"]
    assert (kept.mode, kept.mtime) == (stat.S_IFREG | 0o4711, -5)
    assert kept.content is not None
    assert kept.content.read_bytes() == b"content"
    assert kept.content.name.isascii()
    assert kept.content.stat().st_mtime_ns == -5
    assert reader.odd[b"/srv/\xff/link"].target == b"\xfe\ttarget"
    assert reader.odd[b"/srv/\xff/null"].device == os.makedev(1, 3)


def test_a_staged_file_has_the_same_name_at_every_session(system: Path, extras: Path, tmp_path: Path) -> None:
    for name in (b"/srv/\xff", b"/srv/\xfe"):
        os.close(os.open(os.fsencode(system) + name, os.O_CREAT | os.O_WRONLY))
    _, first = carry(system, extras, b"/srv/\xff")
    other = tmp_path / "other"
    other.mkdir()
    _, second = carry(system, other, b"/srv/\xfe", b"/srv/\xff")
    one, two = first.odd[b"/srv/\xff"].content, second.odd[b"/srv/\xff"].content
    assert one is not None
    assert two is not None
    assert one.name == two.name


def test_a_path_that_vanished_is_carried_as_nothing_and_an_unreadable_one_is_named(system: Path, extras: Path) -> None:
    with CarryWriter(extras, system) as writer:
        assert not writer.add(Change("o", b"/srv/gone"))
        assert writer.add(Change("o", b"/srv/\xffgone"))
        assert not writer.add(Change("d", b"/srv/\xffdeleted"))
        (system / "srv/a").symlink_to("a")
        assert not writer.add(Change("o", b"/srv/a/x"))
    assert len(writer.problems) == 1
    assert "/srv/a/x" in writer.problems[0]
    assert CarryReader(extras).odd == {}


@pytest.mark.root
def test_a_full_disk_for_the_extras_says_so(system: Path, small_disk: Path) -> None:
    (system / "srv").mkdir(exist_ok=True)
    with open(os.fsencode(system) + b"/srv/\xff", "wb") as file:
        file.write(os.urandom(3 << 20))
    with pytest.raises(SpaceError, match="no space"), CarryWriter(small_disk, system) as writer:
        writer.add(Change("o", b"/srv/\xff"))


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("attributes", b"no header\n", 1),
        ("attributes", b"#tklbam 2\n/a\tuser.x\n", 2),
        ("attributes", b"#tklbam 2\n/a\tuser.x\t!!!\n", 2),
        ("attributes", b"#tklbam 2\n/a\\x\tuser.x\t\n", 2),
        ("attributes", b"#tklbam 2\n/a\n/b", 3),
        ("hardlinks", b"#tklbam 2\n/a\n", 2),
        ("hardlinks", b"#tklbam 2\n/a\t/b\n/b\t/c\n", 3),
        ("hardlinks", b"#tklbam 2\n/a\t/a\n", 2),
        ("sparse", b"#tklbam 2\n/a\t/b\n", 2),
        ("odd-names/map", b"#tklbam 2\n/a\tfile\t0100644\t0\t0\t0\t../../etc/shadow\n", 2),
        ("odd-names/map", b"#tklbam 2\n/a\tdoor\t0100644\t0\t0\t0\t\n", 2),
        ("odd-names/map", b"#tklbam 2\n/a\tfifo\t0100644\t0\t0\t0\t\n", 2),
        ("odd-names/map", b"#tklbam 2\n/a\tlink\t0120777\t0\t0\t0\t\n", 2),
        ("odd-names/map", b"#tklbam 2\n/a\tchar\t020666\t0\t0\t0\t1\n", 2),
        ("odd-names/map", b"#tklbam 2\n/a\tfifo\t010644\t-1\t0\t0\t\n", 2),
    ],
)
def test_a_damaged_file_is_named_with_its_line(extras: Path, name: str, content: bytes, line: int) -> None:
    (extras / name).parent.mkdir(exist_ok=True)
    (extras / name).write_bytes(content)
    with pytest.raises(FormatError) as caught:
        CarryReader(extras)
    assert caught.value.line == line
    assert name in caught.value.what


@pytest.mark.parametrize("name", ["attributes", "sparse", "hardlinks", "odd-names/map"])
def test_a_path_that_leads_out_is_refused(extras: Path, name: str) -> None:
    columns = {"hardlinks": b"/a\t/../b", "odd-names/map": b"/../x\tfifo\t010644\t0\t0\t0\t"}
    (extras / name).parent.mkdir(exist_ok=True)
    (extras / name).write_bytes(b"#tklbam 2\n" + columns.get(name, b"/../x") + b"\n")
    with pytest.raises(UnsafePathError, match=f"{name}:2"):
        CarryReader(extras)


@settings(max_examples=50)
@given(st.binary(min_size=1, max_size=40).filter(lambda n: b"/" not in n and b"\0" not in n and n not in (b".", b"..")))
def test_any_name_at_all_is_carried(tmp_path_factory: pytest.TempPathFactory, name: bytes) -> None:
    base = tmp_path_factory.mktemp("any")
    system, extras = base / "system", base / "extras"
    system.mkdir()
    extras.mkdir()
    full = os.fsencode(system) + b"/" + name
    with open(full, "wb") as file:
        file.write(name)
    os.setxattr(full, "user.n", name)
    left_out, reader = carry(system, extras, b"/" + name)
    assert reader.attributes == {b"/" + name: {"user.n": name}}
    if left_out:
        content = reader.odd[b"/" + name].content
        assert content is not None
        assert content.read_bytes() == name
    else:
        name.decode("utf-8")


def acl(*entries: tuple[int, int, int]) -> bytes:
    return b"\2\0\0\0" + b"".join(
        tag.to_bytes(2, "little") + perm.to_bytes(2, "little") + who.to_bytes(4, "little") for tag, perm, who in entries
    )


def test_ids_in_acls_are_mapped_once_each() -> None:
    nobody = 0xFFFFFFFF
    old = acl(
        (1, 7, nobody), (2, 4, 1000), (2, 6, 1001), (4, 5, nobody), (8, 5, 1000), (16, 7, nobody), (32, 0, nobody)
    )
    maps = IdMaps({1000: 1002, 1001: 1000}, {1000: 50})
    assert maps.acl(old) == acl(
        (1, 7, nobody), (2, 6, 1000), (2, 4, 1002), (4, 5, nobody), (8, 5, 50), (16, 7, nobody), (32, 0, nobody)
    )
    assert IdMaps({1000: 9, 1001: 9}).acl(old).count(b"\2\0\4\0\11\0\0\0") == 1
    assert IdMaps().acl(old) == old
    assert maps.acl(b"not an acl") == b"not an acl"
