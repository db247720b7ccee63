"""Paths that packages own are known, so that an override over them can warn."""

from __future__ import annotations

from pathlib import Path

from tklbam_core.system.owned import packages_below


def test_paths_with_packaged_files_below_name_their_packages(tmp_path: Path) -> None:
    info = tmp_path / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(
        "".join(
            f"Package: {name}\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n\n"
            for name in ("one", "two")
        )
    )
    (info / "one.list").write_text("/.\n/usr\n/usr/bin\n/usr/bin/tool\n/srv\n")
    (info / "two.list").write_text("/.\n/usr\n/usr/bin\n/usr/bin/other\n/usr/share/doc\n")
    (tmp_path / "srv").mkdir()
    found = packages_below(tmp_path, [b"/usr/bin", b"/usr/bin/tool", b"/srv", b"/opt"])
    assert found == {b"/usr/bin": ["one", "two"], b"/usr/bin/tool": ["one"]}
    assert packages_below(tmp_path / "srv", [b"/usr"]) == {}
