"""Debian 12's duplicity, 0.8.22: writes by the slow way, with a warning, and what it wrote restores with newer ones."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine_support import SECRET, Lab, tree_state
from tests.trees import mounted
from tklbam_core.engine.duplicity import DuplicityEngine
from tklbam_core.engine.interface import FetchRequest

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def old_duplicity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Debian 12's, with all that it runs on, from a tree of that system; what it runs is this system's."""
    place = tmp_path_factory.mktemp("debian")
    with mounted("bookworm", place) as root:
        words = ["apt-get", "-qq", "-y", "--no-install-recommends", "install", "duplicity"]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["chroot", root, *words], check=True, capture_output=True, env=environment)
        (libraries,) = (root / "usr/lib").glob("*-linux-gnu")
        (loader,) = libraries.glob("ld-linux*.so.*")  # where it is a file: links to it lead out of the tree
        script = place / "duplicity"
        script.write_text(
            f"#!/bin/sh\nexport PYTHONHOME={root}/usr PYTHONPATH={root}/usr/lib/python3/dist-packages\n"
            f'exec {loader} --library-path {libraries} {root}/usr/bin/python3 {root}/usr/bin/duplicity "$@"\n'
        )
        script.chmod(0o755)
        yield script


def test_old_duplicity_writes_what_old_and_new_restore(tmp_path: Path, old_duplicity: Path) -> None:
    lab = Lab(tmp_path)
    for name in ("plain", "a*b?[c]", " spaces ", "new\nline", "ümläut"):
        lab.put(f"srv/{name}", name.encode())
    lab.put("srv/left out", b"not in the list")
    lab.put("srv/alone/below", b"not in the list either")
    (lab.extras / "myfs/db").mkdir(parents=True)
    (lab.extras / "myfs/db/rows").write_bytes(b"1\n")
    wanted = [
        path for path in lab.listed() if path.startswith(b"srv/") and b"left" not in path and b"below" not in path
    ]
    old = DuplicityEngine(lab.cache, lab.base / "temp", old_duplicity)
    assert old.program.version == (0, 8, 22)
    lab.target.check(write=True)
    old.prepare(lab.target, SECRET)
    result = old.write(lab.target, lab.request(wanted))
    assert any("0.8.22" in line and "duplicity 2" in line for line in result.warnings)
    expected = {path: state for path, state in tree_state(lab.source).items() if path == b"srv" or path in wanted}
    expected |= {path: state for path, state in tree_state(lab.source).items() if path.startswith(b"TKLBAM")}
    assert tree_state(lab.restore("by-new")) == expected
    old.fetch(lab.target, FetchRequest(destination=lab.base / "by-old", secret=SECRET))
    assert tree_state(lab.base / "by-old") == expected
    lab.put("srv/plain", b"changed")
    os.utime(lab.source / "srv/plain", (2_000_000_000, 2_000_000_000))  # it sees no change within a second
    increment = lab.engine.write(lab.target, lab.request(wanted))
    assert increment.session.kind == "incremental", "a newer duplicity goes on where the old one stopped"
    assert (lab.restore("after") / "srv/plain").read_bytes() == b"changed"
