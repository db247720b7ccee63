"""Names, manifests and the judgement of sessions: no I/O."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tklbam_core.api.models import EngineAddress, StoredFile
from tklbam_core.engine.archive import group, link, parse_name
from tklbam_core.engine.events import Account, parse_statistics, records
from tklbam_core.engine.filelist import entries, write_include_list, write_list
from tklbam_core.engine.manifest import parse_manifest
from tklbam_core.engine.parts import Parts
from tklbam_core.engine.patience import Patience
from tklbam_core.engine.program import CommandLine, Program, gpg_options
from tklbam_core.engine.survey import judge
from tklbam_core.engine.workspace import workspace

T1, T2, T3 = "20260101T000000Z", "20260102T000000Z", "20260103T000000Z"


@pytest.mark.parametrize(
    ("name", "kind", "role", "volume"),
    [
        (f"duplicity-full.{T1}.vol12.difftar.gpg", "full", "volume", 12),
        (f"duplicity-full.{T1}.vol1.difftar.gz", "full", "volume", 1),
        (f"duplicity-full.{T1}.manifest.gpg", "full", "manifest", None),
        (f"duplicity-full.{T1}.manifest", "full", "manifest", None),
        (f"duplicity-full-signatures.{T1}.sigtar.gpg", "full", "signatures", None),
        (f"duplicity-inc.{T1}.to.{T2}.vol1.difftar.gpg", "incremental", "volume", 1),
        (f"duplicity-new-signatures.{T1}.to.{T2}.sigtar.gpg", "incremental", "signatures", None),
        (f"duplicity-inc.{T1}.to.{T2}.jsonstat.gpg", "incremental", "statistics", None),
    ],
)
def test_names_are_understood(name: str, kind: str, role: str, volume: int | None) -> None:
    parsed = parse_name(name)
    assert parsed is not None
    assert (parsed.key.kind, parsed.role, parsed.volume, parsed.partial) == (kind, role, volume, False)
    assert parsed.key.end == datetime(2026, 1, 1 if kind == "full" else 2, tzinfo=UTC)


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        f"duplicity-full.{T1}.vol0.difftar.gpg",
        f"duplicity-full.{T1}.vol1.difftar.gpg.bak",
        f"duplicity-full.{T1}.vol1.difftar.gpg\n",
        f"duplicity-full.{T1}.to.{T2}.manifest.gpg",
        f"duplicity-inc.{T1}.manifest.gpg",
        f"duplicity-new.{T1}.to.{T2}.manifest.gpg",
        f"duplicity-full-signatures.{T1}.manifest.gpg",
        "duplicity-full.20261399T000000Z.manifest.gpg",
        f"x-duplicity-full.{T1}.manifest.gpg",
    ],
)
def test_other_names_are_not(name: str) -> None:
    assert parse_name(name) is None


def stored(*names: str, size: int = 10) -> list[StoredFile]:
    return [StoredFile(name=name, size=size) for name in names]


def full(time: str, volumes: int = 1) -> list[str]:
    return [
        *(f"duplicity-full.{time}.vol{number}.difftar.gpg" for number in range(1, volumes + 1)),
        f"duplicity-full.{time}.manifest.gpg",
        f"duplicity-full-signatures.{time}.sigtar.gpg",
    ]


def increment(start: str, time: str) -> list[str]:
    return [
        f"duplicity-inc.{start}.to.{time}.vol1.difftar.gpg",
        f"duplicity-inc.{start}.to.{time}.manifest.gpg",
        f"duplicity-new-signatures.{start}.to.{time}.sigtar.gpg",
    ]


def test_volumes_are_counted_by_number_not_by_name() -> None:
    (found,) = group(stored(*full(T1, 12))).values()
    assert found.session().volumes == 12
    assert [file.name.split(".")[2] for file in found.files[:12]] == [f"vol{number}" for number in range(1, 13)]
    assert found.files[-1] is found.manifest


def test_an_increment_without_its_base_is_in_no_chain() -> None:
    sets = group(stored(*full(T1), *increment(T2, T3)))
    assert [[found.key.kind for found in chain] for chain in link(sets.values())] == [["full"]]


def test_a_chain_ends_before_what_is_damaged_and_nothing_of_it_is_left_over() -> None:
    names = [name for name in (*full(T1), *increment(T1, T2), *increment(T2, T3)) if f"to.{T2}.vol1" not in name]
    found = judge(group(stored(*names)), {}, {})
    assert [key.end.day for key in found.damaged] == [2]
    assert found.leftovers == []
    assert [each.key.end.day for each in found.complete] == [1]
    assert found.extendable() is None


def test_manifests_are_read_to_their_last_volume() -> None:
    text = b"Hostname h\nLocaldir /\nVolume 1:\n    StartingPath   .  \n    Hash SHA1 " + b"a" * 40 + b"\nVolume 2:\n"
    manifest = parse_manifest(text + b"Volume 3:\n    EndingPath x\nVolume 2:\n    EndingPath y\n")
    assert manifest is not None
    assert manifest.volumes == {1: "a" * 40, 2: ""}
    assert parse_manifest(b"Hostname h\n") is None
    assert parse_manifest(b"Volume 2:\n    EndingPath x\n") is None


def test_the_log_is_parsed_as_it_comes() -> None:
    log = (
        b"INFO 4 'etc/a'\n. A etc/a\n\nWARNING 10 etc/b\n. Error accessing possibly locked file b\n\n"
        b"NOTICE 1\n. --------------[ Backup Statistics ]--------------\n. SourceFiles 7\n. Errors 1\n. \n\n"
        b"ERROR 50 put x\n. Giving up\n. really\n\n"
    )
    account = Account()
    for record in records(io.BytesIO(log)):
        account.take(record)
    assert account.statistics == {"SourceFiles": 7.0, "Errors": 1.0}
    assert account.unread == ["Error accessing possibly locked file b"]
    assert [(record.code, record.extra, record.message) for record in account.errors] == [
        (50, "put x", "Giving up\nreally")
    ]
    assert parse_statistics("nothing of the kind 1") == {}


def test_lists_leave_out_what_can_not_be_stored(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"a\0b\nc\0\xff\0/abs\0x/../y")
    out = io.BytesIO()
    assert write_list(out, tmp_path / "list", None) == [r"\xff", "/abs", "x/../y"]
    assert list(entries(io.BytesIO(out.getvalue()))) == [b"a", b"b\nc"]


def test_include_lists_take_globs_literally_and_directories_alone(tmp_path: Path) -> None:
    (tmp_path / "d/below").mkdir(parents=True)
    (tmp_path / "list").write_bytes(b"d\0a*[b]?\0")
    out = io.BytesIO()
    write_include_list(out, tmp_path, tmp_path / "list", tmp_path / "TKLBAM")
    base = bytes(tmp_path)
    assert out.getvalue().split(b"\0")[:-1] == [
        b'+ "' + base + b'/a[*][[]b][?]"',
        b'- "' + base + b'/d/**"',
        b'+ "' + base + b'/d"',
        b'+ "' + base + b'/TKLBAM"',
    ]


def test_a_weak_secret_is_stretched_and_a_random_one_is_not() -> None:
    assert "s2k" not in gpg_options("short")
    assert "--s2k-count 1088" in gpg_options("x" * 43)


@pytest.mark.parametrize(("version", "word"), [((3, 2, 1), "--files-from"), ((0, 8, 22), "--include-filelist")])
def test_command_lines_hold_no_secret_and_fit_the_version(version: tuple[int, ...], word: str, tmp_path: Path) -> None:
    with workspace(tmp_path) as place:
        line = CommandLine(
            program=Program(Path("/usr/bin/duplicity"), version),
            address=EngineAddress(url="file:///t", options=("--x",), environment={"KEY": "hidden"}),
            archive_dir=tmp_path,
            name="n",
            workspace=place,
            log_fd=9,
            secret="the secret that nobody may see",
            patience=None,
            volume_size=25,
        )
        backup = line.backup(full=True, source=Path("/"), file_list=tmp_path / "list", now=5, uploads=4)
        restore = line.restore(time=5, path="TKLBAM", destination=tmp_path / "d", own=False)
        patient = replace(line, patience=Patience(retries=2, timeout=30)).restore(
            time=5, path=None, destination=tmp_path / "d", own=False
        )
    assert word in backup
    assert backup[1] == "full"
    assert ("--concurrency" in backup) == (version >= (3,))
    assert ("--path-to-restore" in restore) == (version >= (2,))
    assert " ".join(patient).count("--num-retries 3 --backend-retry-delay 10 --timeout 30") == 1
    assert " ".join(restore).count("--num-retries 1 ") == 1, "a disk that fails once fails again"
    for words in (backup, restore):
        assert "--x" in words
        assert not any("secret" in each or "hidden" in each for each in words)


MANIFEST = b"""Hostname h
Localdir /
Volume 1:
    StartingPath   .
    EndingPath     "TKLBAM/my\\x20fs" 12
    Hash SHA1 1111111111111111111111111111111111111111
Volume 2:
    StartingPath   "TKLBAM/my\\x20fs" 13
    EndingPath     etc/hosts
    Hash SHA1 2222222222222222222222222222222222222222
Volume 3:
    StartingPath   etc/nginx
    EndingPath     srv/www
    Hash SHA1 3333333333333333333333333333333333333333
"""


@pytest.mark.parametrize(
    ("path", "volumes"),
    [
        (None, [1, 2, 3]),
        ("TKLBAM", [1, 2]),
        ("TKLBAM/my fs", [1, 2]),
        ("TKLBAM/fsdelta", [1]),
        ("etc", [2, 3]),
        ("etc/nginx/conf.d", [3]),
        ("srv", [3]),
        ("zzz", []),
    ],
)
def test_a_manifest_tells_which_volumes_may_hold_a_path(path: str | None, volumes: list[int]) -> None:
    manifest = parse_manifest(MANIFEST)
    assert manifest is not None
    assert manifest.holding(Parts.of(path, None)) == volumes
