"""Plugins as they are when installed: a folder on the path with modules and a distribution's metadata."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a distribution: `install("name", {"group": {"entry": "module:object"}}, module=source)`."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)

    def put(
        distribution: str, entry_points: Mapping[str, Mapping[str, str]], version: str = "1.0", **modules: str
    ) -> Path:
        for name, source in modules.items():
            monkeypatch.delitem(sys.modules, name, raising=False)
            (folder / f"{name}.py").write_text(textwrap.dedent(source))
        metadata = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = [
            line
            for group, points in entry_points.items()
            for line in (f"[tklbam.{group}]", *(f"{name} = {value}" for name, value in points.items()))
        ]
        (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
        return folder

    yield put  # type: ignore[misc]
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
            del sys.modules[name]
