"""The extras: made private, cleared after a killed run, and of unchanged time where their content is unchanged."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tklbam_core.api.errors import FormatError, TklbamError
from tklbam_core.extras import (
    BackupConf,
    ExtrasIndex,
    content_of,
    extras_digest,
    footprint,
    make_extras,
    settle_times,
    unowned_dumps,
)
from tklbam_core.host import Host


def host(tmp_path: Path) -> Host:
    return Host.from_environment(tmp_path)


def test_extras_are_private_and_gone_afterwards_even_after_an_error(tmp_path: Path) -> None:
    def fail() -> None:
        with make_extras(host(tmp_path), None, keep=False) as extras:
            assert stat.S_IMODE(extras.stat().st_mode) == 0o700
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not (tmp_path / "TKLBAM").exists()


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    for leftover in ("fsdelta", ".0123456789ab"):
        (tmp_path / "TKLBAM").mkdir()
        (tmp_path / "TKLBAM" / leftover).write_text("half")
        with make_extras(host(tmp_path), None, keep=False) as extras:
            assert list(extras.iterdir()) == []


def test_a_strangers_directory_of_that_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "TKLBAM").mkdir()
    (tmp_path / "TKLBAM/letters").write_text("dear")
    with pytest.raises(TklbamError, match="not a leftover"), make_extras(host(tmp_path), None, keep=False):
        pass
    assert (tmp_path / "TKLBAM/letters").read_text() == "dear"


def test_a_link_of_that_name_is_never_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/fsdelta").write_text("mine")
    (tmp_path / "TKLBAM").symlink_to("elsewhere")
    with pytest.raises(TklbamError), make_extras(host(tmp_path), None, keep=False):
        pass
    assert (tmp_path / "elsewhere/fsdelta").read_text() == "mine"


def test_unchanged_content_keeps_its_time_and_changed_content_gets_a_later_one(tmp_path: Path) -> None:
    (tmp_path / "myfs").mkdir()
    (tmp_path / "myfs/same").write_text("rows")
    (tmp_path / "myfs/other").write_text("old!")
    os.utime(tmp_path / "myfs/same", (1000, 1000))
    os.utime(tmp_path / "myfs/other", (5000, 5000))
    known = settle_times(tmp_path, {})
    (tmp_path / "myfs/same").write_text("rows")
    (tmp_path / "myfs/other").write_text("new!")
    os.utime(tmp_path / "myfs/other", (4000, 4000))  # the clock was set back: same size, an earlier time
    again = settle_times(tmp_path, known)
    assert (tmp_path / "myfs/same").stat().st_mtime == 1000
    assert (tmp_path / "myfs/other").stat().st_mtime == 5001
    assert again["myfs/same"] == known["myfs/same"]
    assert again["myfs/other"] != known["myfs/other"]


def test_the_footprint_counts_files_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a").write_bytes(b"123")
    (tmp_path / "b").write_bytes(b"4567")
    (tmp_path / "link").symlink_to("b")
    assert footprint(tmp_path) == (2, 7)


def test_backup_conf_comes_back_as_it_was_written(tmp_path: Path) -> None:
    conf = BackupConf(
        profile_id="debian-12",
        overrides=("/srv", "-mysql:x"),
        host={"hostname": "a"},
        databases={"myfs": "tklbam-mysql"},
    )
    conf.write(tmp_path)
    assert BackupConf.read(tmp_path) == conf


def test_a_classic_backup_conf_is_format_1(tmp_path: Path) -> None:
    (tmp_path / "backup-conf").write_text(
        '{"profile_id": "turnkey-core-12.0-squeeze-x86", "overrides": ["/srv"], "skip_files": false,'
        ' "skip_packages": false, "skip_database": true}'
    )
    conf = BackupConf.read(tmp_path)
    assert (conf.format, conf.skip_database, conf.overrides) == (1, True, ("/srv",))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"profile_id": 3}',
        '{"profile_id": "x", "overrides": "all"}',
        '{"profile_id": "x", "format": 9}',
    ],
)
def test_a_bad_backup_conf_is_an_error_that_names_it(text: str, tmp_path: Path) -> None:
    (tmp_path / "backup-conf").write_text(text)
    with pytest.raises(FormatError, match="backup-conf"):
        BackupConf.read(tmp_path)


def test_dumps_without_their_plugin_are_named_with_the_one_to_install(tmp_path: Path) -> None:
    for directory in ("myfs", "redisfs"):
        (tmp_path / directory).mkdir()
    conf = BackupConf(profile_id="x", databases={"redisfs": "tklbam-redis"})
    assert unowned_dumps(tmp_path, conf, {"tklbam-postgres"}) == [
        ("myfs", "tklbam-mysql"),
        ("redisfs", "tklbam-redis"),
    ]
    assert unowned_dumps(tmp_path, conf, {"tklbam-mysql", "tklbam-redis"}) == []


RUN = st.fixed_dictionaries(
    {
        "content": st.sampled_from([{}, {"a": "X"}, {"a": "Y"}, {"a": "X", "b": "X"}]),
        "clock": st.integers(100, 101),
        "took": st.sampled_from([{"disk"}, {"disk", "cloud"}, set()]),
    }
)


@given(st.lists(RUN, min_size=3, max_size=6))
@settings(max_examples=200)
def test_a_target_that_missed_sessions_is_never_given_new_content_under_a_time_it_knows(
    runs: list[dict[str, Any]],
) -> None:
    """Targets take a file whose size or mtime differs from what they have, as the archive engine does."""
    targets: dict[str, dict[str, tuple[str, int]]] = {"disk": {}, "cloud": {}}
    known: ExtrasIndex = {}
    for run in runs:
        with tempfile.TemporaryDirectory() as name:
            extras = Path(name)
            for file, content in run["content"].items():
                (extras / file).write_text(content)
                os.utime(extras / file, (run["clock"], run["clock"]))
            known = settle_times(extras, known)
            times = {file: int((extras / file).stat().st_mtime) for file in run["content"]}
        for target in run["took"]:
            has = targets[target]
            taken = {file: (run["content"][file], times[file]) for file in run["content"]}
            targets[target] = {
                file: has[file] if file in has and has[file][1] == new[1] else new for file, new in taken.items()
            }
            assert {file: content for file, (content, _) in targets[target].items()} == run["content"]


def test_the_digest_is_of_names_and_contents_and_not_of_times(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a\tb\\").write_bytes(b"1")
    (tmp_path / "c").write_bytes(b"2")
    index = settle_times(tmp_path, {})
    lines = [f"{hashlib.sha256(b'2').hexdigest()}\tc\n", f"{hashlib.sha256(b'1').hexdigest()}\td/a\\tb\\\\\n"]
    assert extras_digest(index) == hashlib.sha256("".join(lines).encode()).hexdigest()
    os.utime(tmp_path / "c", (7, 7))
    assert extras_digest(content_of(tmp_path)) == extras_digest(index)
    (tmp_path / "c").write_bytes(b"3")
    assert extras_digest(content_of(tmp_path)) != extras_digest(index)
