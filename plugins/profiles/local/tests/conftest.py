"""A small Debian system made by hand: what dpkg would have unpacked, and dpkg's records of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

from tklbam_core.api import ProfileInfo, ProfileRequest
from tklbam_core.api.profiles import PathRules, Profile, ScanReport, find_changes
from tklbam_profiles_local.sources import DpkgProfile

BUILT = 1_600_000_000
"""The time that files have in packages, seconds since 1970."""


class DebianTree:
    """A root directory with dpkg's database. `package` unpacks one; `record` writes the status file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.info = root / "var/lib/dpkg/info"
        self.info.mkdir(parents=True)
        self._stanzas: list[str] = []
        self.package("dpkg", essential=True, priority="required")
        self.package(
            "base-files",
            {"/usr/share/base-files/profile": "umask 022\n", "/usr/share/base-files/motd": "Welcome to #OSNAME#\n"},
            priority="required",
            directories=["/etc", "/home", "/root", "/var/lib", "/var/www", "/usr/local"],
        )
        self.write("/etc/profile", "umask 022\n")  # as its maintainer script does

    def place(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def write(self, path: str, content: str | bytes, mtime: int | None = None) -> Path:
        place = self.place(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.encode() if isinstance(content, str) else content)
        if mtime is not None:
            os.utime(place, (mtime, mtime))
        return place

    def link(self, path: str, target: str, mtime: int | None = None) -> None:
        place = self.place(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)
        if mtime is not None:
            os.utime(place, (mtime, mtime), follow_symlinks=False)

    def package(
        self,
        name: str,
        files: Mapping[str, str] | None = None,
        *,
        conffiles: Mapping[str, str] | None = None,
        directories: Iterable[str] = (),
        links: Mapping[str, str] | None = None,
        missing: Iterable[str] = (),
        priority: str = "optional",
        essential: bool = False,
        depends: str = "",
        state: str = "install ok installed",
        flags: str = "",
    ) -> None:
        """`missing` are files that were never unpacked; `flags` stands behind each conffile's sum ("obsolete")."""
        files = {f"/usr/share/doc/{name}/changelog.gz": name, **(files or {})}
        conffiles, links = conffiles or {}, links or {}
        for path, content in {**files, **conffiles}.items():
            if path not in missing:
                self.write(path, content, BUILT)
        for directory in directories:
            self.place(directory).mkdir(parents=True, exist_ok=True)
        for path, target in links.items():
            self.link(path, target, BUILT)
        owned = {"/."}
        for path in [*files, *conffiles, *links, *directories]:
            owned |= {path, *(str(parent) for parent in Path(path).parents if str(parent) != "/")}
        (self.info / f"{name}.list").write_text("".join(f"{path}\n" for path in sorted(owned)))
        sums = "".join(f"{_md5(content)}  {path.lstrip('/')}\n" for path, content in files.items())
        (self.info / f"{name}.md5sums").write_text(sums)
        lines = [f"Package: {name}", f"Status: {state}", f"Priority: {priority}", "Architecture: amd64", "Version: 1.0"]
        if essential:
            lines.append("Essential: yes")
        if depends:
            lines.append(f"Depends: {depends}")
        if conffiles:
            lines.append("Conffiles:")
            lines += [f" {path} {_md5(content)}{flags}" for path, content in conffiles.items()]
        self._stanzas.append("\n".join(lines) + "\n")
        (self.root / "var/lib/dpkg/status").write_text("\n".join(self._stanzas))

    def automatic(self, *names: str) -> None:
        self.write(
            "/var/lib/apt/extended_states",
            "\n".join(f"Package: {name}\nArchitecture: amd64\nAuto-Installed: 1\n" for name in names),
        )


class Derivation:
    """A profile made by the `dpkg` plugin, and the changes a scan finds against it."""

    def __init__(self, tree: DebianTree, directory: Path) -> None:
        self._root = tree.root
        directory.mkdir()
        request = ProfileRequest(wanted="dpkg", profile_id="debian-12", directory=directory, root=tree.root)
        info = DpkgProfile().tklbam_profile_find(request)
        assert info is not None
        self.info: ProfileInfo = info
        self.profile = Profile.load(directory)

    def changes(self, *, checksum: bool = False) -> set[tuple[str, str]]:
        found = find_changes(
            root=self._root,
            index=self.profile.index,
            rules=self.profile.rules,
            checksum=checksum,
            report=ScanReport(),
        )
        return {(change.kind, os.fsdecode(change.path)) for change in found}


@pytest.fixture
def tree(tmp_path: Path) -> DebianTree:
    return DebianTree(tmp_path / "root")


@pytest.fixture
def derive(tree: DebianTree, tmp_path: Path) -> Callable[[], Derivation]:
    return lambda: Derivation(tree, tmp_path / "profile")


@pytest.fixture
def rules() -> Callable[..., PathRules]:
    return PathRules.from_words


def _md5(content: str) -> str:
    return hashlib.md5(content.encode(), usedforsecurity=False).hexdigest()
