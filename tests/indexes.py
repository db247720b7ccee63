"""Indexes of small systems, as tests and measurements need them."""

from __future__ import annotations

from pathlib import Path

from tklbam_core.delta.dirindex import indexed, write_index
from tklbam_core.delta.rules import PathRules
from tklbam_core.delta.scan import ScanReport, Walk


def create_index(file: Path, *, root: Path, rules: PathRules, digests: bool = True) -> int:
    """Indexes what the rules name on the system under `root`; returns the number of entries."""
    walk = Walk(root, rules.resolve(root), skip=(), report=ScanReport())
    return write_index(file, indexed(walk, digests=digests))
