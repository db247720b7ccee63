"""The daily job, as cron runs it: the same backup, silence where all is well, a few lines where it is not, no hang."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.live import CHECKOUT, Live, live
from tests.e2e.machine import TKLBAM, Done
from tests.unit.plugin_folder import Install, install  # noqa: F401 - fixture

pytestmark = pytest.mark.root

HEARD = "/srv/heard"
PLUGIN = f"""
    import os
    from tklbam_core.api import DatabaseError, DatabaseReport, DatabaseResult, hookimpl

    def note(text):
        with open("{HEARD}", "a") as file:
            file.write(text + "\\n")

    class Database:
        @hookimpl
        def tklbam_database_dump(self, request):
            if os.path.exists("/srv/broken"):
                raise DatabaseError("the server does not answer", "Start it.")
            (request.extras / "noted").mkdir(0o700)
            (request.extras / "noted/rows").write_text("1\\n2\\n")
            (request.extras / "noted/rows").chmod(0o600)
            result = DatabaseResult(name="shop", tables=1, rows=2, size=4, seconds=0.0)
            return DatabaseReport(engine="noted", directory="noted", server="none", databases=(result,))

    class Listener:
        @hookimpl
        def tklbam_lifecycle(self, event):
            note(f"{{event.operation}} {{event.stage}} {{event.root}} {{event.outcome}}".strip())

        @hookimpl(wrapper=True)
        def tklbam_database_dump(self, request):
            report = yield
            note(f"database dump below {{request.extras}}: {{bool(report)}}")
            return report
"""
A_RUN = [
    "backup pre /",
    "database dump below /TKLBAM: True",
    "backup inspect /",
    "backup post / complete",
]


@pytest.fixture
def machine(tmp_path: Path, install: Install) -> Iterator[Live]:  # noqa: F811 - the fixture
    """A live system, initialised, with the job installed and on, a database, and a plugin that listens."""
    points = {"databases": {"noted": "noted_plugin:Database"}, "hooks": {"listener": "noted_plugin:Listener"}}
    with live(tmp_path / "live") as made:
        made.configure("address file:///mnt/target")
        made.add_distribution(install("noted", points, noted_plugin=PLUGIN))
        os.symlink(TKLBAM.with_name("tklbam-backup"), made.path("/usr/local/bin/tklbam-backup"))
        script = made.path("/etc/cron.daily/tklbam-backup")
        script.parent.mkdir(exist_ok=True)
        shutil.copy(CHECKOUT / "share/cron.daily/tklbam-backup", script)
        script.chmod(0o755)
        made.write("/srv/profile/dirindex.conf", "/srv/data\n")
        made.write("/srv/profile/dirindex", "")
        made.write("/srv/data/file", "content\n")
        os.utime(made.path("/srv/data/file"), (1_700_000_000, 1_700_000_000))  # a fresh one would be read twice
        made.write("/etc/tklbam/hooks.d/asks", "#!/bin/sh\nread -r line\ntrue\n", 0o755)
        made.tklbam("init", "--solo", "--force-profile=/srv/profile")
        yield made


def heard(made: Live) -> list[str]:
    """What the plugin heard since it was last asked."""
    lines = made.path(HEARD).read_text().splitlines()
    made.path(HEARD).unlink()
    return lines


def last_session(made: Live) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(made.tklbam("status", "--json", status=None).out)["targets"][0]["last"]
    return found


def assert_mail(done: Done, *words: str) -> None:
    """A few lines that say what is wrong; all of them on standard error."""
    assert done.out == ""
    assert 1 <= len(done.err.splitlines()) <= 5, done
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.err, done


def test_cron_makes_the_same_backup_as_a_person_and_says_nothing(machine: Live) -> None:
    assert "Stored a full session" in machine.tklbam("backup", HOME="/root", LANG="C.UTF-8", TERM="xterm").err
    assert heard(machine) == A_RUN
    by_hand = last_session(machine)
    done = machine.cron()
    assert (done.out, done.err) == ("", "")
    assert heard(machine) == A_RUN
    last = last_session(machine)
    assert (last["outcome"], last["verified"], last["kind"]) == ("complete", True, "incremental")
    # Directories in which something came and went are all there is to store.
    assert (last["changed_files"], last["deleted_files"]) == (0, 0)
    assert last["size"] < 1024, "it is the same backup"
    assert last["footprint"] == by_hand["footprint"]
    assert last["databases"] == by_hand["databases"] != []
    assert not machine.path("/TKLBAM").exists()

    machine.write("/srv/data/file", "changed content\n")
    done = machine.cron(umask="077")
    assert (done.out, done.err) == ("", "")
    assert heard(machine) == A_RUN
    assert last_session(machine)["changed_files"] >= 1
    assert machine.path("/var/lib/tklbam/sessions").stat().st_mode & 0o777 == 0o700
    machine.tklbam("restore", "--raw-download", "/srv/fetched")
    assert machine.path("/srv/fetched/srv/data/file").read_text() == "changed content\n"
    assert machine.path("/srv/fetched/srv/data/file").stat().st_mode & 0o777 == 0o644
    assert machine.path("/srv/fetched/TKLBAM/noted/rows").read_text() == "1\n2\n"


def test_a_failure_is_a_few_lines_of_mail(machine: Live) -> None:
    machine.write("/srv/broken", "")
    assert_mail(machine.cron(status=3), "noted was not dumped", "the server does not answer")
    assert heard(machine)[-1] == "backup post / incomplete"
    assert last_session(machine)["outcome"] == "incomplete"
    machine.path("/srv/broken").unlink()
    machine.write("/etc/tklbam/hooks.d/refuses", "#!/bin/sh\necho no room >&2\nexit 7\n", 0o755)
    assert_mail(machine.cron(status=1), "hooks.d/refuses", "no room")
    machine.path("/etc/tklbam/hooks.d/refuses").unlink()
    machine.configure("address file:///srv/data/file")
    assert_mail(machine.cron(status=1), "file:///srv/data/file")
    assert last_session(machine)["outcome"] == "failed"
    machine.configure("address file:///mnt/target", "volsize plenty")
    assert_mail(machine.cron(status=2), "/etc/tklbam/conf", "volsize")
    machine.configure("address file:///mnt/target")
    machine.path("/var/lib/tklbam/secret").unlink()
    assert_mail(machine.cron(status=1), "not initialised", "tklbam init")


def test_the_shipped_job_is_off_until_it_is_made_executable() -> None:
    assert (CHECKOUT / "share/cron.daily/tklbam-backup").stat().st_mode & 0o111 == 0
