"""Debian 12's duplicity, 0.8.22: writes by the slow way, with a warning, and what it wrote restores with newer ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine_support import SECRET, Lab, tree_state
from tklbam_core.engine.duplicity import DuplicityEngine
from tklbam_core.engine.interface import FetchRequest

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="Debian 12's packages are for its own Python"),
]
PACKAGES = ("duplicity=0.8.22*", "python3-fasteners", "python3-future", "librsync2", "libb2-1", "libgomp1")


@pytest.fixture(scope="module")
def old_duplicity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian's package, unpacked, not installed."""
    place = tmp_path_factory.mktemp("debian")
    download = ["apt-get", "-q", "download", *PACKAGES]
    fetched = subprocess.run(download, cwd=place, capture_output=True, check=False)
    if fetched.returncode != 0:  # apt may know no packages yet
        subprocess.run(["apt-get", "-q", "update"], capture_output=True, check=False)
        fetched = subprocess.run(download, cwd=place, capture_output=True, check=False)
    if fetched.returncode != 0:
        pytest.skip(f"Debian 12's packages can't be had here: {fetched.stderr.decode().strip()}")
    for package in place.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, place / "root"], check=True)
    (libraries,) = (place / "root/usr/lib").glob("*-linux-gnu")
    script = place / "duplicity"
    script.write_text(
        "#!/bin/sh\n"
        f"export LD_LIBRARY_PATH={libraries} PYTHONPATH={place}/root/usr/lib/python3/dist-packages\n"
        f'exec /usr/bin/python3 {place}/root/usr/bin/duplicity "$@"\n'
    )
    script.chmod(0o755)
    return script


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
