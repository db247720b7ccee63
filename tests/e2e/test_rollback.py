"""A rollback destroys nothing that came after the restore."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.small import initialised, small_system

pytestmark = pytest.mark.root


def test_what_others_put_into_a_restored_directory_is_kept(tmp_path: Path) -> None:
    a, b = initialised(tmp_path / "a"), small_system(tmp_path / "b")
    a.write("/srv/data/file", "restored\n")
    a.tklbam("backup", "--address", f"file://{tmp_path}/target")
    b.write("/srv/data", "a file where the backup has a directory\n")
    b.tklbam("restore", "--address", f"file://{tmp_path}/target", "--secretfile", str(a.secret_file))
    b.write("/srv/data/uploaded", "by somebody, after the restore\n")
    done = b.json("restore-rollback", "--force")
    assert b.path("/srv/data").read_text() == "a file where the backup has a directory\n"
    kept = [path.read_text() for path in Path(done["kept"]).rglob("uploaded")]
    assert kept == ["by somebody, after the restore\n"]


def test_a_root_named_by_a_link_is_the_same_system(tmp_path: Path) -> None:
    a = initialised(tmp_path / "a")
    a.write("/srv/data/file", "content\n")
    (tmp_path / "link").symlink_to("a")
    a.root = tmp_path / "link"
    a.tklbam("backup", "--address", f"file://{tmp_path}/target")
    a.tklbam("restore", "--address", f"file://{tmp_path}/target", "--raw-download", str(tmp_path / "out"))
    assert (tmp_path / "out/srv/data/file").read_text() == "content\n"
