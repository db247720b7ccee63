"""What a backup and a restore can be told to do: several targets, parts left out, raw sessions, moved extras, pruning,
contents compared, simulation."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.e2e.archive import session_times
from tests.e2e.machine import Machine
from tests.e2e.small import Unchanged, assert_clear, conf, initialised, small_system
from tests.e2e.test_migration import differences
from tests.unit.plugin_folder import Install, install  # noqa: F401 - fixture
from tests.unit.snapshots import snapshot

pytestmark = pytest.mark.root


@pytest.fixture
def made(tmp_path: Path) -> Machine:
    made = initialised(tmp_path / "root")
    made.write("/srv/text", "text\n")
    return made


def fetched(made: Machine, address: str, place: Path) -> set[str]:
    """Fetches the latest session and names what is in it, directories aside and the extras' own files aside."""
    made.tklbam("restore", "--quiet", "--address", address, "--raw-download", str(place))
    return names(place)


def names(place: Path) -> set[str]:
    files = [path.relative_to(place) for path in place.rglob("*") if not path.is_dir()]
    return {str(path) for path in files if path.parts[0] != "TKLBAM"}


# --- targets ----------------------------------------------------------------------------------------------------------


def test_a_broken_target_among_several_is_named_and_the_others_get_the_session(made: Machine, tmp_path: Path) -> None:
    good, broken = f"file://{tmp_path / 'good'}", f"file://{tmp_path / 'broken'}"
    (tmp_path / "broken").write_text("not a directory\n")
    conf(made, f"address {broken}", f"address {good}")
    done = made.tklbam("backup", status=3)
    assert [line for line in done.err.splitlines() if line.startswith("warning: ") and f"{broken}: " in line], done
    assert fetched(made, good, tmp_path / "fetched") == {"srv/text"}
    last = {target["address"]: target["last"]["outcome"] for target in made.json("status")["targets"]}
    assert last == {good: "complete", broken: "failed"}


def test_with_all_targets_broken_the_backup_fails(made: Machine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory\n")
    words = [word for name in ("file", "file/below") for word in ("--address", f"file://{tmp_path / name}")]
    with Unchanged(made):
        assert_clear(made.tklbam("backup", "--quiet", *words, status=1), f"{tmp_path / 'file'}")


def test_keep_full_prunes_once_a_new_full_session_is_verified(made: Machine, tmp_path: Path) -> None:
    address = f"file://{tmp_path / 'target'}"
    conf(made, "keep-full 1", f"address {address}")
    kinds = [made.json("backup")["sessions"][0]["kind"] for _ in range(2)]
    assert kinds == ["full", "incremental"]
    assert len(session_times(address)) == 2, "an increment prunes nothing"
    said = made.tklbam("backup", "--full-backup", "now").err
    assert said.count("(keep-full)") == 2
    assert len(session_times(address)) == 1
    assert len(list((tmp_path / "target").iterdir())) == 3, "signatures and volumes went with their sessions"


# --- parts ------------------------------------------------------------------------------------------------------------

PLUGIN = """
    from tklbam_core.api import DatabaseReport, hookimpl

    class Database:
        @hookimpl
        def tklbam_database_dump(self, request):
            (request.extras / "noted").mkdir()
            (request.extras / "noted/rows").write_text("rows\\n")
            return DatabaseReport(engine="noted", directory="noted", server="none")

        @hookimpl
        def tklbam_database_restore(self, request):
            if not request.simulate:
                (request.root / "srv/restored").write_text((request.extras / "noted/rows").read_text())
            return DatabaseReport(engine="noted", directory="noted", server="none")
"""
STATUS = "Package: hello\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n"


@pytest.fixture
def complete(tmp_path: Path, install: Install) -> Machine:  # noqa: F811 - the fixture
    """A system with something of everything: a file, an account, a new package, a database."""
    folder = install("noted", {"databases": {"noted": "noted_plugin:Database"}}, noted_plugin=PLUGIN)
    made = small_system(tmp_path / "root", PYTHONPATH=str(folder))
    made.write("/srv/text", "text\n")
    made.write("/var/lib/dpkg/status", STATUS)
    profile = tmp_path / "profile"
    profile.mkdir()
    for name, content in (("dirindex.conf", "/srv\n"), ("dirindex", ""), ("packages", "")):
        (profile / name).write_text(content)
    made.tklbam("init", "--solo", f"--force-profile={profile}")
    return made


def dump(made: Machine, place: Path, *words: str) -> tuple[bool, bool, bool, bool]:
    """Whether a dump holds files, accounts, packages and databases."""
    made.tklbam("backup", "--dump", str(place), *words)
    extras = place / "TKLBAM"
    settings = json.loads((extras / "backup-conf").read_text())
    holds = (names(place) != set(), (extras / "etc/passwd").exists(), (extras / "newpkgs").exists())
    found = (*holds, (extras / "noted").exists())
    assert [not settings[f"skip_{kind}"] for kind in ("files", "packages", "database")] == [found[0], *found[2:]]
    return found


def test_a_backup_leaves_out_what_it_is_told_to(complete: Machine, tmp_path: Path) -> None:
    assert dump(complete, tmp_path / "all") == (True, True, True, True)
    assert dump(complete, tmp_path / "no-files", "--skip-files") == (False, False, True, True)
    assert dump(complete, tmp_path / "no-database", "--skip-database") == (True, True, True, False)
    conf(complete, "backup-skip-packages yes")
    assert dump(complete, tmp_path / "no-packages") == (True, True, False, True)


def test_a_restore_leaves_out_what_it_is_told_to(complete: Machine, tmp_path: Path) -> None:
    complete.tklbam("backup", "--dump", str(tmp_path / "extract"))
    b = small_system(tmp_path / "b", **complete.environment)
    words = ["restore", str(tmp_path / "extract"), "--no-rollback"]
    b.tklbam(*words, "--skip-files", "--skip-database")
    assert not b.path("/srv").exists()
    b.path("/srv").mkdir()
    b.tklbam(*words, "--skip-files", "--skip-packages")
    assert names(b.path("/srv")) == {"restored"}
    b.path("/srv/restored").unlink()
    b.tklbam(*words, "--skip-database")
    assert names(b.path("/srv")) == {"text"}
    assert not b.path("/var/backups/tklbam-rollback").exists(), "--no-rollback keeps nothing"


# --- raw sessions -----------------------------------------------------------------------------------------------------


def test_a_raw_session_comes_back_as_it_was(made: Machine, tmp_path: Path) -> None:
    source = Machine(tmp_path / "source")
    source.write("/a/text", "text\n", 0o640)
    source.write("/a/café\n", "odd\n", 0o4755)
    source.write("/TKLBAM/mine", "no extras of ours\n")
    source.path("/empty").mkdir(mode=0o711)
    os.symlink("a/text", source.path("/link"))
    os.chown(source.path("/a/text"), 1000, 1001)
    address = f"file://{tmp_path / 'target'}"
    source.write("/a/changes", "before\n")
    source.write("/a/goes", "before\n")
    made.tklbam("backup", "--raw-upload", str(source.root), "--address", address)
    source.write("/a/changes", "afterwards\n", 0o600)
    source.path("/a/goes").unlink()
    made.tklbam("backup", "--raw-upload", str(source.root), "--address", address)
    assert len(list((tmp_path / "target").glob("duplicity-inc*.manifest.gpg"))) == 1
    made.tklbam("restore", "--raw-download", str(tmp_path / "fetched"), "--address", address)
    assert differences(seen(source.root), seen(tmp_path / "fetched")) == {}


def seen(place: Path) -> dict[bytes, tuple[object, ...]]:
    """A snapshot as far as the archive's format goes: times in whole seconds, none of links."""
    found = snapshot(place)
    del found[b"/"]

    def time(entry: tuple[object, ...]) -> object:
        return None if str(entry[0]).startswith("0o12") else int(str(entry[3])) // 10**9

    return {path: (*entry[:3], time(entry), *entry[4:]) for path, entry in found.items()}


# --- places -----------------------------------------------------------------------------------------------------------


def test_extras_can_be_made_elsewhere(made: Machine, tmp_path: Path) -> None:
    made.path("/srv/room").mkdir()
    conf(made, "extras-dir /srv/room")
    address = f"file://{tmp_path / 'target'}"
    made.tklbam("backup", "--address", address)
    assert list(made.path("/srv/room").iterdir()) == []
    assert not made.path("/TKLBAM").exists()
    b = small_system(tmp_path / "b")
    restored = b.json("restore", "--address", address, "--secretfile", str(made.secret_file))
    assert (restored["outcome"], restored["placed"]) == ("complete", 1)
    assert b.path("/srv/text").read_text() == "text\n"
    rolled_back = b.json("restore-rollback", "--force")
    assert rolled_back["outcome"] == "complete"
    assert not b.path("/srv/text").exists()


def test_what_is_ours_is_never_scanned(tmp_path: Path) -> None:
    made = small_system(tmp_path / "root", TKLBAM_REGISTRY=str(tmp_path / "root/srv/registry"))
    made.tklbam("init", "--solo", "--force-profile=empty")
    made.write("/srv/text", "text\n")
    made.path("/srv/temp").mkdir()
    made.write("/srv/targeted", "begins like the target\n")
    conf(made, "restore-cache-dir /srv/cache")
    made.write("/srv/cache/work/left", "by a restore that was killed\n")
    made.write("/srv/cache/other", "somebody's own\n")
    inside = Machine(made.root, {**made.environment, "TMPDIR": str(made.path("/srv/temp"))})
    address = f"file://{made.path('/srv/target')}"
    made.write("/srv/target/notes", "on the target\n")
    inside.tklbam("backup", "--address", address)
    assert fetched(made, address, tmp_path / "fetched") == {"srv/text", "srv/targeted", "srv/cache/other"}
    inside.tklbam("backup", "--dump", str(made.path("/srv/extract")), "--address", address)
    assert names(made.path("/srv/extract")) == {"srv/text", "srv/targeted", "srv/cache/other"}


# --- contents ---------------------------------------------------------------------------------------------------------


def test_checksum_sees_what_size_and_time_hide(tmp_path: Path) -> None:
    made = small_system(tmp_path / "root")
    made.write("/srv/text", "before\n")
    made.write("/srv/other", "other\n")
    (tmp_path / "conf").write_text("/srv\n")
    made.tklbam("internal", "create-profile", "--no-packages", str(tmp_path / "profile"), str(tmp_path / "conf"))
    made.tklbam("init", "--solo", f"--force-profile={tmp_path / 'profile'}")
    times = made.path("/srv/text").stat()
    made.write("/srv/text", "behind\n")
    os.utime(made.path("/srv/text"), ns=(times.st_atime_ns, times.st_mtime_ns))
    made.tklbam("backup", "--dump", str(tmp_path / "default"))
    assert names(tmp_path / "default") == set()
    made.tklbam("backup", "--dump", str(tmp_path / "asked"), "--checksum")
    assert names(tmp_path / "asked") == {"srv/text"}
    conf(made, "checksum yes")
    made.tklbam("backup", "--dump", str(tmp_path / "configured"))
    assert (tmp_path / "configured/srv/text").read_text() == "behind\n"


# --- simulation -------------------------------------------------------------------------------------------------------


def test_a_simulated_backup_stores_nothing_and_leaves_its_extras_until_the_next(made: Machine, tmp_path: Path) -> None:
    address = f"file://{tmp_path / 'target'}"
    made.write("/srv/big", bytes(2 << 20))
    done = made.tklbam("backup", "--simulate", "--address", address)
    said = done.out + done.err
    extras = made.path("/TKLBAM")
    assert f"CREATING {extras}\n" in said
    footprint = re.search(r"^FULL UNCOMPRESSED FOOTPRINT: (\d+\.\d\d) MB in (\d+) files$", said, re.MULTILINE)
    assert footprint is not None, said
    assert (footprint[1], int(footprint[2]) >= 2) == ("2.00", True)
    assert extras.stat().st_mode & 0o777 == 0o700
    assert "/srv/text" in (extras / "fsdelta").read_text()
    assert not (tmp_path / "target").exists()
    assert made.json("status", status=10)["targets"] == []
    (extras / "left-behind").write_text("by the simulation\n")
    made.tklbam("backup", "--address", address)
    assert not extras.exists()
    made.tklbam("restore", "--address", address, "--raw-download", str(tmp_path / "fetched"))
    assert not (tmp_path / "fetched/TKLBAM/left-behind").exists()


def test_what_is_not_ours_in_the_place_of_the_extras_stays(made: Machine, tmp_path: Path) -> None:
    made.write("/TKLBAM/letters", "somebody's own\n")
    with Unchanged(made):
        done = made.tklbam("backup", "--quiet", "--address", f"file://{tmp_path / 'target'}", status=1)
    assert_clear(done, str(made.path("/TKLBAM")), "Move it away")


# --- a Hub ------------------------------------------------------------------------------------------------------------

HUB = """
    import datetime, json, os
    from pathlib import Path
    from tklbam_core.api import Account, BackupRecord, Credentials, hookimpl

    PLACE = Path(os.environ["TEST_HUB"])

    def load():
        return json.loads((PLACE / "hub").read_text()) if (PLACE / "hub").exists() else {"records": {}, "calls": []}

    def save(hub, call):
        hub["calls"].append(call)
        (PLACE / "hub").write_text(json.dumps(hub))

    def record(fields):
        updated = fields["updated"] and datetime.datetime.fromisoformat(fields["updated"])
        return BackupRecord(**{**fields, "updated": updated})

    class Hub:
        @hookimpl
        def tklbam_records_link(self, api_key):
            return Account(subkey="SUBKEY") if api_key == "APIKEY" else None

        @hookimpl
        def tklbam_records_credentials(self, account):
            assert account.subkey == "SUBKEY"
            return Credentials(kind="iamuser", fields={"accesskey": "A", "secretkey": "B", "sessiontoken": "C"})

        @hookimpl
        def tklbam_records_create(self, account, profile_id, key, server_id):
            hub = load()
            number = str(len(hub["records"]) + 1)
            hub["records"][number] = {
                "backup_id": number, "address": f"file://{PLACE}/{number}", "key": key, "profile_id": profile_id,
                "updated": None, "label": f"label {number}",
            }
            save(hub, f"create {number}")
            return record(hub["records"][number])

        @hookimpl
        def tklbam_records_find(self, account, backup_id):
            found = load()["records"].get(backup_id)
            return record(found) if found else None

        @hookimpl
        def tklbam_records_list(self, account):
            return [record(fields) for fields in load()["records"].values()]

        @hookimpl
        def tklbam_records_update(self, account, address, key):
            hub = load()
            fields = next(each for each in hub["records"].values() if each["address"] == address)
            fields["key"] = key or fields["key"]
            fields["updated"] = "2026-11-25T03:00:00+00:00"
            save(hub, "key" if key else "update")
            return record(fields)

        @hookimpl
        def tklbam_records_mark(self, account, backup_id, in_progress):
            save(load(), f"mark {backup_id} {in_progress}")
            return True
"""


def test_a_hub_keeps_the_record_and_a_restore_needs_its_id_or_label_alone(
    tmp_path: Path,
    install: Install,  # noqa: F811 - the fixture
) -> None:
    hub = tmp_path / "hub"
    hub.mkdir()
    folder = install("hub", {"records": {"files": "hub_plugin:Hub"}}, hub_plugin=HUB)
    lines = ("disable-plugin tklbam-profiles-hub", f"hub-directory {hub}")
    environment = {"PYTHONPATH": str(folder), "TEST_HUB": str(hub)}

    def calls() -> list[str]:
        content = json.loads((hub / "hub").read_text())
        asked: list[str] = content.pop("calls")
        (hub / "hub").write_text(json.dumps({**content, "calls": []}))
        return asked

    a = small_system(tmp_path / "a", **environment)
    a.write("/srv/text", "A's text\n")
    conf(a, lines[0])
    assert_clear(a.tklbam("init", "WRONG", "--quiet", status=1), "API key")
    a.tklbam("init", "APIKEY", "--force-profile=empty")
    a.tklbam("passphrase", input="the passphrase\n")
    assert_clear(a.tklbam("backup", "--quiet", status=1), "does not allow", "hub-directory DIR")
    assert calls() == ["create 1"], "a Hub may not choose a place on this machine by itself"
    conf(a, *lines)
    a.tklbam("backup")
    assert calls() == ["mark 1 True", "update", "mark 1 False"]
    assert a.tklbam("status", "--short").out.startswith("TKLBAM:  Backup ID #1, Updated ")
    a.tklbam("backup")
    assert calls() == ["mark 1 True", "update", "mark 1 False"], "the same record goes on"
    a.tklbam("passphrase", input="another passphrase\n")
    assert calls() == ["key"], "the Hub gets the key anew"

    b = small_system(tmp_path / "b", **environment)
    conf(b, *lines)
    b.tklbam("init", "APIKEY", "--force-profile=empty")
    listed = b.tklbam("list").out.splitlines()
    assert listed[0] == "# ID  SKPP  Created     Updated     Size (MB)  Label"
    assert listed[1].split()[:2] == ["1", "Yes"]
    assert listed[1].endswith("label 1")
    with Unchanged(b):
        assert_clear(b.tklbam("restore", "--quiet", "1", status=11, input="the passphrase\n"), "Incorrect passphrase")
        assert_clear(b.tklbam("restore", "--quiet", "no such label", status=2), "'no such label'", "tklbam list")
    plan = json.loads(b.tklbam("restore", "1", "--simulate", "--json", input="another passphrase\n").out)["plan"]
    assert plan["overlay"] == 1
    b.tklbam("restore", "label 1", input="another passphrase\n")
    assert b.path("/srv/text").read_text() == "A's text\n"

    # A backup that fails leaves the record as it was, and not marked as running.
    shutil.rmtree(hub / "1")
    (hub / "1").write_text("not a directory\n")
    assert_clear(a.tklbam("backup", "--quiet", status=1), str(hub / "1"))
    assert calls() == ["mark 1 True", "mark 1 False"]
    assert "updated=2026-11-25 03:00:00" in a.path("/var/lib/tklbam/hbr").read_text()
