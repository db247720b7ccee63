"""Debian packages made on the spot, in an archive that apt reads from a folder of the tree itself: no network."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping
from pathlib import Path

ARCHIVE = "srv/archive"


def build(
    root: Path,
    name: str,
    version: str = "1",
    *,
    scripts: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
    conffiles: Mapping[str, str] | None = None,
    **fields: str,
) -> Path:
    """Makes `name_version_all.deb` in the tree's archive; `fields` are control fields (`depends="x (>= 2)"`).

    Every package owns `usr/share/NAME/version`. `scripts` are maintainer scripts by name, `files` and `conffiles`
    contents by path.
    """
    archive = root / ARCHIVE
    archive.mkdir(parents=True, exist_ok=True)
    work = root / "srv/build"
    subprocess.run(["rm", "-rf", str(work)], check=True)
    contents = {f"usr/share/{name}/version": f"{version}\n", **(files or {}), **(conffiles or {})}
    for path, text in contents.items():
        place = work / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    control = work / "DEBIAN"
    control.mkdir()
    lines = {
        "Package": name,
        "Version": version,
        "Architecture": "all",
        "Maintainer": "Nobody <nobody@example.org>",
        "Description": f"{name} for tests",
        **{key.replace("_", "-").title(): value for key, value in fields.items()},
    }
    (control / "control").write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
    if conffiles:
        (control / "conffiles").write_text("".join(f"/{path}\n" for path in conffiles))
    for script, text in (scripts or {}).items():
        (control / script).write_text(text)
        (control / script).chmod(0o755)
    deb = archive / f"{name}_{version}_all.deb"
    argv = ["dpkg-deb", "--root-owner-group", "-Znone", "-b", str(work), str(deb)]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["rm", "-rf", str(work)], check=True)
    return deb


def publish(root: Path) -> None:
    """Makes the archive's index, and it the only source of the tree's apt."""
    archive = root / ARCHIVE
    stanzas = []
    for deb in sorted(archive.glob("*.deb")):
        control = subprocess.run(["dpkg-deb", "-f", str(deb)], check=True, capture_output=True, text=True).stdout
        digest = hashlib.sha256(deb.read_bytes()).hexdigest()
        stanzas.append(f"{control}Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n\n")
    (archive / "Packages").write_text("".join(stanzas))
    for old in [*(root / "etc/apt").glob("sources.list*/*"), *(root / "var/lib/apt/lists").glob("*_*")]:
        old.unlink()
    (root / "etc/apt/sources.list").write_text(f"deb [trusted=yes] file:/{ARCHIVE} ./\n")


def install(root: Path, *debs: Path) -> None:
    """Installs packages with the tree's own dpkg."""
    names = [f"/{deb.relative_to(root)}" for deb in debs]
    subprocess.run(["chroot", str(root), "dpkg", "-i", *names], check=True, stdout=subprocess.PIPE)
