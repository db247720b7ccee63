"""The administrator's hooks: in order, at every stage, with what they are told; one that fails stops the run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.live import Live, live
from tests.e2e.machine import Machine, machine
from tests.e2e.small import assert_clear
from tests.e2e.test_migration import differences
from tests.unit.snapshots import snapshot

pytestmark = pytest.mark.root

TOLD = """\
#!/bin/sh
names="PROFILE_ID BACKUP_SKIP_FILES BACKUP_SKIP_DATABASE BACKUP_SKIP_PACKAGES BACKUP_EXTRACT_PATH"
names="$names RESTORE_PROFILE_ID RESTORE_SKIP_FILES RESTORE_SKIP_DATABASE RESTORE_SKIP_PACKAGES"
told=$(for name in $names; do eval "value=\\${TKLBAM_$name-}"; [ -z "$value" ] || printf ' %s=%s' $name "$value"; done)
[ "$2" = inspect ] && [ -f backup-conf ] && told="$told in the extras"
echo "${0##*/} $*$told" >> /var/told
"""


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Live]:
    with live(tmp_path / "live") as made:
        made.configure("address file:///mnt/target")
        made.write("/srv/profile/dirindex.conf", "/srv/data\n/etc/tklbam/hooks.d\n")
        made.write("/srv/profile/dirindex", "")
        made.write("/srv/profile/profile_id", "ours\n")
        made.write("/srv/data/file", "content\n")
        made.write("/etc/tklbam/hooks.d/20-second", TOLD, 0o755)
        made.write("/etc/tklbam/hooks.d/10-first", TOLD, 0o755)
        made.write("/etc/tklbam/hooks.d/15-off", TOLD, 0o644)
        made.write("/etc/tklbam/hooks.d/10-first.sig", TOLD, 0o755)
        made.tklbam("init", "--solo", "--force-profile=/srv/profile")
        yield made


def told(made: Live | Machine) -> list[str]:
    place = made.path("/var/told")
    lines = place.read_text().splitlines() if place.exists() else []
    place.unlink(missing_ok=True)
    return lines


def test_hooks_run_in_order_at_every_stage_and_those_that_a_restore_brings_do_not(made: Live) -> None:
    made.tklbam("backup", "--skip-packages")
    profile = (made.path("/var/lib/tklbam/profile/profile_id")).read_text().strip()
    common = f"PROFILE_ID={profile} BACKUP_SKIP_PACKAGES=yes BACKUP_EXTRACT_PATH=/TKLBAM"
    assert told(made) == [
        f"{hook} backup {stage} {common}{' in the extras' if stage == 'inspect' else ''}"
        for stage in ("pre", "inspect", "post")
        for hook in ("10-first", "20-second")
    ]
    made.path("/etc/tklbam/hooks.d/20-second").rename(made.path("/etc/tklbam/hooks.d/05-renamed"))
    here = made.tklbam("internal", "detect-profile-id").out.strip()
    made.tklbam("restore", "--skip-database", "--no-rollback")
    common = f"PROFILE_ID={here} RESTORE_PROFILE_ID={profile} RESTORE_SKIP_DATABASE=yes"
    assert told(made) == [
        f"{hook} restore {stage} {common}{' in the extras' if stage == 'inspect' else ''}"
        for stage in ("pre", "inspect", "post")
        for hook in ("05-renamed", "10-first")
    ]
    assert made.path("/etc/tklbam/hooks.d/20-second").exists(), "it was restored, and did not run"


def test_a_hook_that_fails_stops_the_run(made: Live) -> None:
    made.tklbam("backup")
    sessions = sorted(made.path("/mnt/target").iterdir())
    for stage, seen in (("pre", 1), ("inspect", 3)):
        told(made)
        made.write("/etc/tklbam/hooks.d/15-off", f'#!/bin/sh\n[ "$2" != {stage} ]\n', 0o755)
        done = made.tklbam("backup", "--quiet", status=1)
        assert_clear(done, "/etc/tklbam/hooks.d/15-off", f"backup {stage}")
        assert len(told(made)) == seen, "those behind it did not run"
        assert sorted(made.path("/mnt/target").iterdir()) == sessions, "nothing was stored"
        assert not made.path("/TKLBAM").exists()
    made.write("/srv/data/file", "changed since\n")
    before = snapshot(made.path("/srv"))
    assert_clear(made.tklbam("restore", "--quiet", status=1), "/etc/tklbam/hooks.d/15-off", "restore inspect")
    assert differences(before, snapshot(made.path("/srv"))) == {}
    assert not made.path("/var/backups/tklbam-rollback").exists()


def test_another_roots_hooks_run_on_request_and_inside_it(tmp_path: Path) -> None:
    with machine("bookworm", tmp_path / "a") as made:
        made.tklbam("init", "--solo", "--force-profile=empty")
        made.write("/etc/tklbam/hooks.d/hook", TOLD, 0o755)
        made.write("/etc/tklbam/overrides", "/srv -/etc -/var -/root\n")
        done = made.tklbam("backup", "--dump", str(tmp_path / "without"))
        assert "--run-hooks" in done.err
        assert told(made) == []
        made.tklbam("backup", "--dump", str(tmp_path / "with"), "--run-hooks")
        said = told(made)
        assert [line.split()[2] for line in said] == ["pre", "inspect", "post"]
        assert said[1].endswith(" in the extras")
