"""What dpkg and apt know of a system, read from its files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tklbam_core.api.errors import FormatError
from tklbam_core.system import dpkg, dpkg_files
from tklbam_core.system.packages import (
    format_package_list,
    is_machine_package,
    is_package_name,
    new_packages,
    read_package_list,
)

STATUS = """\
Package: dpkg
Status: install ok installed
Architecture: amd64
Version: 1.21.22
Conffiles:
 /etc/with space.conf 0123456789abcdef0123456789abcdef
 /etc/old.conf 0123456789abcdef0123456789abcdee obsolete
 /etc/fresh.conf newconffile
Description: first
 Status: not a field
 .

Package: held
Status: hold ok installed
Architecture: all
Version: 1:2-3

Package: libfoo
Status: install ok installed
Architecture: i386
Version: 1
Multi-Arch: same

Package: libfoo
Status: install ok installed
Architecture: amd64
Version: 1
Multi-Arch: same

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: broken
Status: install reinstreq half-installed
Architecture: amd64
Version: 1

Package: waits
Status: install ok triggers-pending
Architecture: amd64
Version: 1
"""


def system(root: Path, **files: str) -> Path:
    for name, text in {"status": STATUS, **files}.items():
        place = root / "var/lib/dpkg" / name.replace("__", "/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8", errors="surrogateescape")
    return root


def test_installed_are_those_in_place_with_foreign_architectures_named(tmp_path: Path) -> None:
    root = system(tmp_path)
    assert dpkg.installed(root) == {"dpkg": "1.21.22", "held": "1:2-3", "libfoo:i386": "1", "libfoo": "1", "waits": "1"}
    assert [package.name for package in dpkg.unfinished(root)] == ["broken", "waits"]
    assert [package.name for package in dpkg.packages(root) if package.is_held] == ["held"]


def test_a_system_without_dpkg_has_no_packages(tmp_path: Path) -> None:
    assert not dpkg.has_dpkg(tmp_path)
    assert list(dpkg.packages(tmp_path)) == list(dpkg_files.file_lists(tmp_path)) == []
    assert dpkg.native_architecture(tmp_path) == ""
    assert dpkg.automatic(tmp_path) == frozenset()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Package: a\nStatus: install ok installed\nVersion: 1\n\nPackage: b\nno field\n", 6),
        ("Package: a\nStatus: install ok installed\nVersion: 1\n\nPackage: b\nVersion: 1\n", 5),
        (" continued\n", 1),
        ("Status: install ok installed\nVersion: 1\n", 1),
        ("Package: a\nStatus: install ok installed\n", 1),
        ("Package: a\nStatus: install ok nonsense\nVersion: 1\n", 1),
    ],
)
def test_a_damaged_status_file_is_an_error_with_file_and_line(tmp_path: Path, text: str, line: int) -> None:
    root = system(tmp_path, status=text)
    with pytest.raises(FormatError, match=rf"dpkg/status:{line}: "):
        list(dpkg.packages(root))


def test_automatic_are_those_apt_marked(tmp_path: Path) -> None:
    root = system(tmp_path)
    states = root / "var/lib/apt/extended_states"
    states.parent.mkdir()
    states.write_text(
        "Package: a\nArchitecture: amd64\nAuto-Installed: 1\n\nPackage: b\nArchitecture: amd64\nAuto-Installed: 0\n\n"
        "Package: c\nArchitecture: i386\nAuto-Installed: 1\n"
    )
    assert dpkg.automatic(root) == {"a", "c:i386"}


def test_conffiles_come_with_their_sums_odd_names_and_what_became_of_them(tmp_path: Path) -> None:
    found = list(dpkg_files.conffiles(system(tmp_path)))
    assert [(each.path, each.md5 and each.md5[-1], each.obsolete) for each in found] == [
        (b"/etc/with space.conf", "f", False),
        (b"/etc/old.conf", "e", True),
        (b"/etc/fresh.conf", None, False),
    ]


def test_file_lists_and_sums_name_the_package_and_the_absolute_path(tmp_path: Path) -> None:
    root = system(
        tmp_path,
        **{
            "info__libfoo:i386.list": "/.\n/usr/lib/foo\n",
            "info__libfoo:amd64.list": "/.\n/usr/lib/bar \udcff\n",
            "info__dpkg.md5sums": "0123456789abcdef0123456789abcdef  usr/bin/dpkg\n"
            "0123456789abcdef0123456789abcdef  ./usr/with  two\n",
        },
    )
    assert list(dpkg_files.file_lists(root)) == [("libfoo", b"/usr/lib/bar \xff"), ("libfoo:i386", b"/usr/lib/foo")]
    assert [path for _, path, _ in dpkg_files.md5sums(root)] == [b"/usr/bin/dpkg", b"/usr/with  two"]


def test_one_packages_bad_sums_need_not_spoil_the_rest(tmp_path: Path) -> None:
    root = system(
        tmp_path,
        **{
            "info__a.md5sums": "nonsense\n0123456789abcdef0123456789abcdef  usr/a\n",
            "info__b.md5sums": "0123456789abcdef0123456789abcdef  usr/b\n",
        },
    )
    with pytest.raises(FormatError, match=r"a\.md5sums:1: "):
        list(dpkg_files.md5sums(root))
    errors: list[FormatError] = []
    assert [path for _, path, _ in dpkg_files.md5sums(root, errors.append)] == [b"/usr/a", b"/usr/b"]
    assert len(errors) == 1


def test_diversions_overrides_and_alternatives_are_read(tmp_path: Path) -> None:
    root = system(
        tmp_path,
        diversions="/bin/sh\n/bin/sh.distrib\ndash\n/etc/x\n/etc/x.own\n:\n",
        statoverride="root #7 4755 /usr/bin/su do\n",
        alternatives__vi="manual\n/usr/bin/vi\nvi.1\n/usr/share/man/vi.1\n\n/usr/bin/vim\n50\n/m/vim.1\n/usr/bin/ed\n5\n\n\n",
    )
    assert [(each.original, each.moved_to, each.package) for each in dpkg_files.diversions(root)] == [
        (b"/bin/sh", b"/bin/sh.distrib", "dash"),
        (b"/etc/x", b"/etc/x.own", None),
    ]
    assert list(dpkg_files.stat_overrides(root)) == [dpkg_files.StatOverride(b"/usr/bin/su do", "root", "#7", 0o4755)]
    (found,) = dpkg_files.alternatives(root)
    assert (found.name, found.manual, found.choices) == ("vi", True, ((b"/usr/bin/vim", 50), (b"/usr/bin/ed", 5)))
    assert found.links == (("vi", b"/usr/bin/vi"), ("vi.1", b"/usr/share/man/vi.1"))
    (root / "var/lib/dpkg/diversions").write_text("/bin/sh\n/bin/sh.distrib\n")
    with pytest.raises(FormatError, match="diversions:1"):
        list(dpkg_files.diversions(root))


@pytest.mark.skipif(not Path("/var/lib/dpkg/status").exists(), reason="this machine has no dpkg to compare with")
def test_this_machines_packages_are_what_dpkg_prints() -> None:
    shown = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Architecture} ${Version}\n"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    native = subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True).stdout.strip()
    expected = {}
    for line in shown.splitlines():
        state, name, architecture, version = line.split(" ")
        if state == "installed":
            expected[name if architecture in (native, "all") else f"{name}:{architecture}"] = version
    found = dpkg.installed(Path("/"))
    assert {name: version for name, version in found.items() if name in expected} == expected
    assert dpkg.native_architecture(Path("/")) == native
    listed = subprocess.run(["dpkg", "-L", "coreutils"], check=True, capture_output=True).stdout.splitlines()
    mine = [path for package, path in dpkg_files.file_lists(Path("/")) if package == "coreutils"]
    assert set(mine) == set(listed) - {b"/."}


def test_new_packages_are_those_the_base_has_not(tmp_path: Path) -> None:
    assert new_packages(["b", "a", "c"], ["c", "d"]) == ["a", "b"]
    root = system(tmp_path)
    base = tmp_path / "base"
    base.write_text("# profile\ndpkg\n\nlibfoo  \nother\n")
    tklbam = Path(sys.executable).with_name("tklbam")
    done = subprocess.run(
        [tklbam, "internal", "newpkgs", "--root", root, base], check=True, capture_output=True, text=True
    )
    assert done.stdout == "held\nlibfoo:i386\nwaits\n"
    present = tmp_path / "present"
    present.write_text("z\ndpkg\n")
    done = subprocess.run([tklbam, "internal", "newpkgs", base, present], check=True, capture_output=True, text=True)
    assert done.stdout == "z\n"


def test_a_package_list_is_read_as_it_is_written_and_bad_names_are_errors(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(format_package_list(["g++", "a", "libc6:i386"]))
    assert read_package_list(tmp_path / "list") == ["a", "g++", "libc6:i386"]
    (tmp_path / "list").write_text("a\n-o Dpkg::x\n")
    with pytest.raises(FormatError, match=r"list:2: '-o Dpkg::x' is no package name"):
        read_package_list(tmp_path / "list")
    assert not is_package_name("apt/../x")


@pytest.mark.parametrize(
    "name", ["linux-image-6.1.0-9-amd64", "grub-pc", "open-vm-tools", "cloud-init", "firmware-iwlwifi:i386"]
)
def test_what_belongs_to_the_machine_is_known(name: str) -> None:
    assert is_machine_package(name)


@pytest.mark.parametrize("name", ["linux-libc-dev", "linux-perf", "qemu-utils", "cloud-sptheme", "grubby"])
def test_what_only_looks_like_the_machines_is_not(name: str) -> None:
    assert not is_machine_package(name)
