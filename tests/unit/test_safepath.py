"""Paths below a root: nothing that a path, a link or another process does leads out of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tklbam_core.api.errors import UnsafePathError
from tklbam_core.delta.safepath import SafeRoot, components, is_below, parent_of, show


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_text("not yours")
    root = tmp_path / "root"
    (root / "etc/deep/er").mkdir(parents=True)
    (root / "srv").mkdir()
    return root


@pytest.mark.parametrize(
    "path",
    [b"", b"etc", b"//", b"/etc//x", b"/etc/", b"/.", b"/..", b"/../x", b"/etc/../../x", b"/etc/./x", b"/a\0b", b"./a"],
)
def test_a_path_not_in_plain_form_is_refused(root: Path, path: bytes) -> None:
    with pytest.raises(UnsafePathError):
        SafeRoot(root).at(path)


def test_a_plain_path_leads_to_its_place(root: Path) -> None:
    place = SafeRoot(root).at(b"/etc/deep/file")
    assert place.lstat() is None
    os.mkdir(place.name, dir_fd=place.fd)
    assert (root / "etc/deep/file").is_dir()


def test_the_root_itself_can_be_looked_at(root: Path) -> None:
    status = SafeRoot(root).at(b"/").lstat()
    assert status is not None
    assert os.path.samestat(status, root.stat())


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("target", ["/outside", "/etc", "/"])
def test_an_absolute_link_among_the_parents_stays_inside(root: Path, depth: int, target: str) -> None:
    (root / "outside").mkdir()
    parent = root.joinpath(*["etc", "deep", "er"][: depth - 1])
    (parent / "link").symlink_to(target)
    path = os.fsencode("/" + str((parent / "link" / "planted").relative_to(root)))
    place = SafeRoot(root).at(path)
    os.close(os.open(place.name, os.O_CREAT | os.O_WRONLY, dir_fd=place.fd))
    assert (root / target.lstrip("/") / "planted").exists()
    assert not (root.parent / "outside/planted").exists()


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_a_relative_link_that_climbs_out_is_refused_by_name(root: Path, depth: int) -> None:
    parent = root.joinpath(*["etc", "deep", "er"][:depth])
    (parent / "link").symlink_to("../" * (depth + 1) + "outside")
    path = os.fsencode("/" + str((parent / "link" / "secret").relative_to(root)))
    with pytest.raises(UnsafePathError, match="on the way to"):
        SafeRoot(root).at(path)


def test_a_relative_link_inside_may_climb(root: Path) -> None:
    (root / "etc/deep/er/link").symlink_to("../../../srv")
    place = SafeRoot(root).at(b"/etc/deep/er/link/x")
    assert os.path.samestat(place.directory.status(), (root / "srv").stat())


def test_a_chain_of_links_that_climbs_out_is_refused(root: Path) -> None:
    (root / "srv/one").symlink_to("../etc/two")
    (root / "etc/two").symlink_to("../../outside")
    with pytest.raises(UnsafePathError):
        SafeRoot(root).at(b"/srv/one/secret")


def test_a_loop_of_links_ends(root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("/a")
    with pytest.raises(OSError, match="Too many levels"):
        SafeRoot(root).at(b"/a/x")
    assert not SafeRoot(root).leads_to_directory(b"/a")


def test_the_last_component_is_never_followed(root: Path) -> None:
    (root / "etc/link").symlink_to("../../outside/secret")
    place = SafeRoot(root).at(b"/etc/link")
    status = place.lstat()
    assert status is not None
    assert stat.S_ISLNK(status.st_mode)
    with pytest.raises(OSError, match="symbolic link"):
        place.open_file()
    with pytest.raises(NotADirectoryError):
        place.inside()


def test_a_directory_swapped_for_a_link_after_resolving_does_not_redirect(root: Path) -> None:
    place = SafeRoot(root).at(b"/etc/deep/new")
    (root / "etc/deep").rename(root / "etc/was")
    (root / "etc/deep").symlink_to(root.parent / "outside")
    os.close(os.open(place.name, os.O_CREAT | os.O_WRONLY, dir_fd=place.fd))
    assert (root / "etc/was/new").exists()
    assert not (root.parent / "outside/new").exists()


def test_missing_parents_and_files_as_parents_are_told_apart(root: Path) -> None:
    (root / "etc/file").write_text("")
    with pytest.raises(FileNotFoundError):
        SafeRoot(root).at(b"/etc/none/x")
    with pytest.raises(NotADirectoryError):
        SafeRoot(root).at(b"/etc/file/x")


def test_the_live_root_works_the_same() -> None:
    place = SafeRoot(Path("/")).at(b"/etc/passwd")
    status = place.lstat()
    assert status is not None
    assert os.path.samestat(status, Path("/etc/passwd").lstat())
    with pytest.raises(UnsafePathError):
        SafeRoot(Path("/")).at(b"/etc/../etc/passwd")


def test_descriptors_are_not_leaked(root: Path) -> None:
    with SafeRoot(root) as safe:
        for number in range(50):
            (root / f"etc/deep/d{number}").mkdir()
            safe.at(b"/etc/deep/d%d/x" % number)
            with pytest.raises(FileNotFoundError):
                safe.at(b"/etc/deep/none/x")
    del safe
    left = [target for entry in os.scandir("/proc/self/fd") if (target := _leads_to(entry.path)).startswith(str(root))]
    assert left == []


def _leads_to(descriptor: str) -> str:
    """What a descriptor is open at; one that another thread has closed since, at nothing."""
    try:
        return os.readlink(descriptor)
    except FileNotFoundError:
        return ""


NAMES = st.binary(min_size=1, max_size=20).filter(lambda n: b"/" not in n and b"\0" not in n and n not in (b".", b".."))


@given(st.lists(NAMES, min_size=1, max_size=5))
def test_every_plain_path_is_taken_apart_and_shown_on_one_line(names: list[bytes]) -> None:
    path = b"/" + b"/".join(names)
    assert components(path) == names
    assert parent_of(path) == (b"/" + b"/".join(names[:-1]))
    assert "\n" not in show(path)
    assert show(path).isprintable()
    assert is_below(path, parent_of(path))
    assert not is_below(path, path)
    assert not is_below(path + b"-", path)
