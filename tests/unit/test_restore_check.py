"""The last look after a restore names every path that is not as it should be, whatever else was named before."""

from __future__ import annotations

from pathlib import Path

import pytest

from tklbam_core.api.errors import TklbamError
from tklbam_core.context import Context
from tklbam_core.delta.coherent import Delta
from tklbam_core.delta.rules import PathRules
from tklbam_core.delta.taken import Taken
from tklbam_core.extras import BackupConf
from tklbam_core.host import Host
from tklbam_core.journal import Journal
from tklbam_core.plugins import Plugins
from tklbam_core.registry import Registry
from tklbam_core.restore import RestoreSummary, check_files, undo_failed_restore
from tklbam_core.restore_plan import PathFilter, RestorePlan


def test_a_path_is_not_passed_over_because_a_longer_one_was_named(tmp_path: Path) -> None:
    (tmp_path / "fsdelta").write_text("#tklbam 2\no\t/srv/a\t0\t0\no\t/srv/ab\t0\t0\n")
    root = tmp_path / "root"
    root.mkdir()
    plan = RestorePlan(
        conf=BackupConf(profile_id="x"),
        filter=PathFilter(PathRules(), ()),
        changes=Taken(tmp_path / "changes", Delta(tmp_path / "fsdelta")),
    )
    summary = RestoreSummary(plan=plan, missing=["/srv/ab: no such device"])
    check_files(plan, root, frozenset({b"/srv/ab"}), summary)
    assert summary.missing == ["/srv/ab: no such device", "/srv/a: not here after the restore"]


def test_a_failed_restore_that_cannot_be_undone_says_how_to_go_on_whatever_went_wrong(tmp_path: Path) -> None:
    host = Host.from_environment(tmp_path)
    (host.rollback_dir / "journal").mkdir(parents=True)  # reading it is an OSError
    assert Journal(host.rollback_dir).path == host.rollback_dir / "journal"
    context = Context(host=host, registry=Registry(host.registry_dir), plugins=Plugins(), warn=print, note=print)
    with pytest.raises(TklbamError, match=r"the restore failed and could not be undone: .*directory") as caught:
        undo_failed_restore(context)
    assert "run `tklbam restore-rollback`: it goes on from here" in caught.value.remedy
