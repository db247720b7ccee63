"""Which profile a system gets, and what is refused as one."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tklbam_core.api import ProfileError, ProfileRequest
from tklbam_core.api.profiles import Profile, read_index
from tklbam_core.testing.profiles import ProfileCase, ProfileContract, find_profile
from tklbam_profiles_local.sources import ArchiveProfile, CustomProfile, DpkgProfile, EmptyProfile

CONF = b"/etc /srv -/srv/tmp\n"
V1_INDEX = (
    b"/etc\t41ed\t0\t0\t1000\t5f5e1000\n"
    b"/etc/a\t41ed\t0\t0\t0\t1\n"
    b"/etc/a-b\t81a4\t0\t0\t1\t1\n"
    b"/etc/a/b\t81a4\t0\t0\t1\t1\n"
)
FOLDER = "var/lib/tklbam/profiles"


@pytest.fixture
def ask(tmp_path):
    """Asks all four sources as the core does."""
    sources = [source() for source in (EmptyProfile, DpkgProfile, CustomProfile, ArchiveProfile)]

    def asked(root, wanted, profile_id="debian-12", known=None):
        directory = tmp_path / "found"
        directory.mkdir()
        request = ProfileRequest(wanted=wanted, profile_id=profile_id, directory=directory, root=root, known=known)
        info = find_profile(sources, request)
        return info, Profile.load(directory) if info else None

    return asked


def archive(place: Path, members: list[tuple[tarfile.TarInfo | str, bytes]]) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(place, "w:gz") as tar:
        for member, content in members:
            if isinstance(member, str):
                member = tarfile.TarInfo(member)
                member.mtime = 1_500_000_000
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return place


def members(*more: tuple[tarfile.TarInfo | str, bytes]) -> list[tuple[tarfile.TarInfo | str, bytes]]:
    return [("./dirindex.conf", CONF), ("./dirindex", V1_INDEX), ("./packages", b"bash\napt\n"), *more]


def special(name: str, kind: bytes, link: str = "") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member, b""


# --- which one -------------------------------------------------------------------------------------------


def test_a_debian_system_gets_one_derived_from_dpkg(tree, ask):
    info, profile = ask(tree.root, None)
    assert info.source == "dpkg: derived from 2 packages of debian-12"
    assert info.profile_id == profile.profile_id == "debian-12"
    assert profile.packages == ["base-files", "dpkg"]


def test_a_system_without_dpkg_gets_the_empty_one(tmp_path, ask):
    (tmp_path / "root/etc").mkdir(parents=True)
    info, profile = ask(tmp_path / "root", None, "fedora-40")
    assert info.profile_id == "empty"
    assert info.source.startswith("empty: ")
    assert list(read_index(profile.index)) == []
    assert profile.packages == []
    assert profile.rules.includes(b"/etc/x")


def test_an_archive_for_the_system_comes_before_dpkg(tree, ask):
    place = archive(tree.root / FOLDER / "turnkey-lamp-18.0-amd64.tar.gz", members())
    info, profile = ask(tree.root, None, "turnkey-lamp-18.0-amd64")
    assert info.source == f"archive: {place}"
    assert info.warnings == ()
    assert profile.timestamp == info.timestamp == datetime.fromtimestamp(1_500_000_000, UTC)


@pytest.mark.parametrize("name", ["turnkey-lamp-18.0", "turnkey-lamp", "lamp"])
def test_an_archive_is_found_by_less_than_the_whole_id_and_says_so(tree, ask, name):
    archive(tree.root / FOLDER / f"{name}.tar.gz", members())
    info, profile = ask(tree.root, "turnkey-lamp-18.0-amd64")
    assert profile.profile_id == "turnkey-lamp-18.0-amd64"
    assert info.warnings == (f"there is no profile archive for turnkey-lamp-18.0-amd64; that of {name} is used",)


def test_the_administrators_folder_comes_before_the_distributions(tree, ask):
    archive(tree.root / "usr/share/tklbam/profiles/debian-12.tar.gz", members())
    own = archive(tree.root / FOLDER / "debian-12.tar.gz", members())
    info, _ = ask(tree.root, "debian-12")
    assert info.source == f"archive: {own}"


def test_dpkg_never_replaces_the_profile_in_force_by_itself(tree, ask):
    assert ask(tree.root, "dpkg", known=datetime(2020, 1, 1, tzinfo=UTC)) == (None, None)


def test_dpkg_asked_for_where_there_is_none_is_an_error(tmp_path, ask):
    with pytest.raises(ProfileError, match="no dpkg"):
        ask(tmp_path, "dpkg")


def test_an_unknown_id_has_no_profile(tree, ask):
    assert ask(tree.root, "turnkey-unknown-1.0-amd64") == (None, None)


@pytest.mark.parametrize("wanted", [".hidden", "custom:../x", "custom:", "a\nb"])
def test_an_id_that_is_no_name_is_refused(tree, ask, wanted):
    with pytest.raises(ProfileError, match="no profile id"):
        ask(tree.root, wanted)


# --- a directory -----------------------------------------------------------------------------------------


def folder(place: Path, **files: bytes) -> Path:
    place.mkdir(parents=True)
    for name, content in {"dirindex.conf": CONF, "dirindex": V1_INDEX, "packages": b"bash\napt\n", **files}.items():
        (place / name.replace("_conf", ".conf")).write_bytes(content)
    return place


def test_a_directory_is_taken_over_with_its_v1_index_sorted_anew(tree, ask, tmp_path):
    source = folder(tmp_path / "mine", stamp=b"")
    os.utime(source / "stamp", (1_400_000_000, 1_400_000_000))
    info, profile = ask(tree.root, str(source))
    assert info.profile_id == profile.profile_id == "custom:mine"
    assert info.timestamp == datetime.fromtimestamp(1_400_000_000, UTC)
    assert profile.index.read_bytes().startswith(b"#tklbam 2\n")
    assert [e.path for e in read_index(profile.index)] == [b"/etc", b"/etc/a", b"/etc/a/b", b"/etc/a-b"]
    assert profile.packages == ["apt", "bash"]


def test_a_named_directory_of_the_local_folder_is_found(tree, ask):
    source = folder(tree.root / FOLDER / "mine")
    info, _ = ask(tree.root, "custom:mine")
    assert (info.profile_id, info.source) == ("custom:mine", f"custom: {source}")


def test_hooks_travel_with_a_profile_and_stay_executable(tree, ask, tmp_path):
    source = folder(tmp_path / "mine")
    (source / "hooks.d").mkdir()
    (source / "hooks.d/run").write_text("#!/bin/sh\n")
    (source / "hooks.d/run").chmod(0o755)
    (source / "hooks.d/run.sig").write_bytes(b"x")
    _, profile = ask(tree.root, str(source))
    modes = {path.name: path.stat().st_mode & 0o777 for path in (profile.directory / "hooks.d").iterdir()}
    assert modes == {"run": 0o700, "run.sig": 0o600}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"dirindex": b"/etc\t41ed\n"}, "dirindex:1"),
        ({"dirindex": b"#tklbam 2\n/etc\t41ed\t0\t0\t0\t1\t-\t-\n/a/../b\t81a4\t0\t0\t0\t1\t-\t-\n"}, "dirindex:3"),
        ({"dirindex_conf": b"etc\n"}, "dirindex.conf:1"),
        ({"dirindex_conf": b"# nothing\n"}, "names no path to scan"),
        ({"packages": b"bash\n--option\n"}, "packages:2"),
        ({"attributes": b"#tklbam 2\n/etc\tuser.x\t%%%\n"}, "attributes:2"),
    ],
)
def test_a_directory_with_a_bad_file_is_refused_with_its_place(tree, ask, tmp_path, files, message):
    source = folder(tmp_path / "mine", **files)
    with pytest.raises(ProfileError, match=message):
        ask(tree.root, str(source))


def test_a_directory_that_is_no_profile_is_refused(tree, ask, tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(ProfileError, match="is no profile"):
        ask(tree.root, str(tmp_path / "mine"))


def test_a_path_that_leads_nowhere_is_refused(tree, ask, tmp_path):
    with pytest.raises(ProfileError, match="there is no profile"):
        ask(tree.root, str(tmp_path / "nothing"))


# --- hostile archives ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hostile", "message"),
    [
        (("../outside", b"x"), "leads out"),
        (("hooks.d/../../outside", b"x"), "leads out"),
        (("/etc/outside", b"x"), "leads out"),
        (special("hooks.d/run", tarfile.SYMTYPE, "/etc/passwd"), "neither a file nor a directory"),
        (special("attributes", tarfile.LNKTYPE, "dirindex"), "neither a file nor a directory"),
        (special("hooks.d/null", tarfile.CHRTYPE), "neither a file nor a directory"),
        (special("stamp", tarfile.FIFOTYPE), "neither a file nor a directory"),
        (("dirindex", b"x"), "occurs twice"),
    ],
)
def test_an_archive_with_what_no_profile_holds_is_refused_whole(tree, ask, tmp_path, hostile, message):
    place = archive(tmp_path / "a/b/bad.tar.gz", members(hostile))
    before = sorted(tmp_path.rglob("outside"))
    with pytest.raises(ProfileError, match=message) as caught:
        ask(tree.root, str(place))
    assert str(place) in str(caught.value)
    assert list((tmp_path / "found").iterdir()) == []
    assert sorted(tmp_path.rglob("outside")) == before == []


def test_an_archive_without_end_is_refused(tree, ask, tmp_path, monkeypatch):
    monkeypatch.setattr("tklbam_core.delta.profile_import.MOST_BYTES", 1 << 20)
    place = archive(tmp_path / "bomb.tar.gz", members(("hooks.d/zeros", bytes(2 << 20))))
    assert place.stat().st_size < 10_000
    with pytest.raises(ProfileError, match="GiB"):
        ask(tree.root, str(place))


def test_an_archive_of_too_many_members_is_refused(tree, ask, tmp_path, monkeypatch):
    monkeypatch.setattr("tklbam_core.delta.profile_import.MOST_MEMBERS", 10)
    place = archive(tmp_path / "many.tar.gz", members(*((f"x{number}", b"") for number in range(20))))
    with pytest.raises(ProfileError, match="more than 10 members"):
        ask(tree.root, str(place))


@pytest.mark.parametrize("damage", ["cut", "not gzip", "not tar", "flipped", "empty"])
def test_a_damaged_archive_is_an_error_that_names_it(tree, ask, tmp_path, damage):
    place = archive(tmp_path / "bad.tar.gz", members(("hooks.d/noise", os.urandom(5000))))
    whole = place.read_bytes()
    place.write_bytes(
        {
            "cut": whole[: len(whole) // 2],
            "not gzip": b"hello" * 100,
            "not tar": gzip.compress(b"hello" * 1000),
            "flipped": whole[:60] + bytes([whole[60] ^ 0xFF]) + whole[61:],
            "empty": b"",
        }[damage]
    )
    with pytest.raises(ProfileError, match=r"bad\.tar\.gz"):
        ask(tree.root, str(place))


def test_an_archive_with_a_bad_index_names_the_archive_and_the_line(tree, ask, tmp_path):
    place = archive(tmp_path / "bad.tar.gz", [("dirindex.conf", CONF), ("dirindex", b"no index\n"), ("packages", b"")])
    with pytest.raises(ProfileError, match=r"bad\.tar\.gz: .*dirindex:1"):
        ask(tree.root, str(place))


# --- the contract ----------------------------------------------------------------------------------------


class TestEmptyContract(ProfileContract):
    @pytest.fixture
    def plugin(self):
        return EmptyProfile()

    @pytest.fixture
    def case(self, tree):
        return ProfileCase(root=tree.root, profile_id="debian-12", wanted="empty")


class TestCustomContract(ProfileContract):
    @pytest.fixture
    def plugin(self):
        return CustomProfile()

    @pytest.fixture
    def case(self, tree, tmp_path):
        source = folder(tmp_path / "mine")
        return ProfileCase(root=tree.root, profile_id="debian-12", wanted=str(source), unknown="/no/such/profile")


class TestArchiveContract(ProfileContract):
    @pytest.fixture
    def plugin(self):
        return ArchiveProfile()

    @pytest.fixture
    def case(self, tree):
        archive(tree.root / FOLDER / "debian-12.tar.gz", members())
        return ProfileCase(root=tree.root, profile_id="debian-12", wanted=None)


class TestDpkgContract(ProfileContract):
    @pytest.fixture
    def plugin(self):
        return DpkgProfile()

    @pytest.fixture
    def case(self, tree):
        tree.package("tool", conffiles={"/etc/tool.conf": "on\n"}, links={"/etc/tool.link": "tool.conf"})
        return ProfileCase(root=tree.root, profile_id="debian-12", wanted="dpkg")
