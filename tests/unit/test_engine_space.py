"""Full and unwritable disks: a clear error that names the place, earlier sessions intact, the next run good."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engine_support import SECRET, Lab, noise, tree_state
from tklbam_core.api.errors import SpaceError, TargetError

pytestmark = pytest.mark.root


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.fixture
def small_disk() -> Iterator[Callable[[Path, str], None]]:
    """Mounts a file system of a given size."""
    mounted: list[Path] = []

    def mount(place: Path, size: str) -> None:
        place.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", place], check=True)
        mounted.append(place)

    yield mount
    for place in mounted:
        subprocess.run(["umount", place], check=True)


def test_a_full_target(lab: Lab, small_disk: Callable[[Path, str], None]) -> None:
    small_disk(lab.store, "4m")
    first = lab.backup()
    state = tree_state(lab.source)
    lab.put("srv/big", noise(6_000_000, 1))
    with pytest.raises(SpaceError) as caught:
        lab.backup()
    assert f"file://{lab.store}" in caught.value.what
    assert "bytes free" in caught.value.what
    assert lab.engine.chains(lab.target)[-1].sessions == (first.session,)
    assert lab.target.free_bytes() > 3_000_000, "what did not count must not fill the disk"  # type: ignore[operator]
    assert tree_state(lab.restore()) == state
    (lab.source / "srv/big").unlink()
    assert lab.backup().session.kind == "incremental"


def test_a_target_that_is_too_small_is_told_before_anything_is_sent(
    lab: Lab, small_disk: Callable[[Path, str], None]
) -> None:
    small_disk(lab.store, "2m")
    with pytest.raises(SpaceError, match="at least"):
        lab.backup(full=True, total_bytes=500 << 20)
    assert list(lab.store.iterdir()) == []


def test_a_full_temporary_directory_is_told_before_it_is_used(
    lab: Lab, small_disk: Callable[[Path, str], None]
) -> None:
    small_disk(lab.base / "temp", "2m")
    with pytest.raises(SpaceError) as caught:
        lab.backup()
    assert str(lab.base / "temp") in caught.value.what
    assert "TMPDIR" in caught.value.remedy


def test_a_temporary_directory_that_becomes_full(lab: Lab, small_disk: Callable[[Path, str], None]) -> None:
    first = lab.backup()
    # The list of files, the volume and the rest: the check passes, and then it is not enough.
    small_disk(lab.base / "temp", "2500k")
    lab.put("srv/big", noise(6_000_000, 1))
    many = [os.fsencode(f"no/such/file/{'x' * 200}/{number}") for number in range(8000)]
    with pytest.raises(SpaceError) as caught:
        lab.backup([*lab.listed(), *many])
    assert str(lab.base / "temp") in caught.value.what
    assert lab.engine.chains(lab.target)[-1].sessions == (first.session,)
    assert lab.temporary_files() == []


def test_a_full_destination(lab: Lab, small_disk: Callable[[Path, str], None]) -> None:
    lab.put("srv/big", bytes(6_000_000))
    lab.backup()
    small_disk(lab.base / "restored", "3m")
    with pytest.raises(SpaceError) as caught:
        lab.restore()
    assert str(lab.base / "restored") in caught.value.what


def test_a_target_that_became_read_only(lab: Lab, small_disk: Callable[[Path, str], None]) -> None:
    small_disk(lab.store, "8m")
    first = lab.backup()
    subprocess.run(["mount", "-o", "remount,ro", lab.store], check=True)
    with pytest.raises(TargetError) as caught:
        lab.backup()
    assert "Read-only" in caught.value.what
    with pytest.raises(TargetError):
        lab.engine.write(lab.target, lab.request())
    assert lab.engine.verify(lab.target, first.session, SECRET).ok
    assert tree_state(lab.restore()) == tree_state(lab.source)
