"""The last look after a restore names every path that is not as it should be, whatever else was named before."""

from __future__ import annotations

from pathlib import Path

from tklbam_core.delta.coherent import Delta
from tklbam_core.delta.rules import PathRules
from tklbam_core.extras import BackupConf
from tklbam_core.restore import RestoreSummary, check_files
from tklbam_core.restore_plan import PathFilter, RestorePlan


def test_a_path_is_not_passed_over_because_a_longer_one_was_named(tmp_path: Path) -> None:
    (tmp_path / "fsdelta").write_text("#tklbam 2\no\t/srv/a\t0\t0\no\t/srv/ab\t0\t0\n")
    root = tmp_path / "root"
    root.mkdir()
    plan = RestorePlan(
        conf=BackupConf(profile_id="x"),
        filter=PathFilter(PathRules(), ()),
        delta=Delta(tmp_path / "fsdelta"),
    )
    summary = RestoreSummary(plan=plan, missing=["/srv/ab: no such device"])
    check_files(plan, root, frozenset({b"/srv/ab"}), summary)
    assert summary.missing == ["/srv/ab: no such device", "/srv/a: not here after the restore"]
