"""A target from which nothing can be deleted, and the files that a target's address brings along."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.engine_support import SECRET, Lab, noise, tree_state, two_sessions  # noqa: F401 - fixture
from tests.unit.test_engine_interrupted import SHAPES, forget
from tklbam_core.api import EngineAddress, EngineError
from tklbam_core.engine.duplicity import DuplicityEngine
from tklbam_storage_local.target import LocalTarget

# ruff: noqa: F811


class KeepingTarget(LocalTarget):
    """Lets nothing be deleted, as a bucket does whose policy says so."""

    keeps_everything = True

    def delete(self, names: Iterable[str]) -> None:
        raise AssertionError(f"nobody may try to delete {list(names)}")


class KeepingLab(Lab):
    @property
    def target(self) -> LocalTarget:
        return KeepingTarget(f"file://{self.store}", self.store)


def keeping_copy(lab: Lab, base: Path) -> Lab:
    copied = lab.copy(base)
    copied.__class__ = type("Copied", (type(copied),), {"target": KeepingLab.target})
    return copied


@pytest.mark.parametrize(
    ("shape", "kind"),
    {
        "volumes, no manifest, cache partial": "incremental",
        "an empty volume": "incremental",
        "signatures, no manifest, cache lost": "full",
        "half the signatures, no manifest": "incremental",
        "half a manifest, cache lost": "full",
    }.items(),
)
def test_an_interrupted_session_that_must_stay_harms_no_later_one(
    two_sessions: Lab, tmp_path: Path, shape: str, kind: str
) -> None:
    lab = keeping_copy(two_sessions, tmp_path / "lab")
    first = lab.engine.chains(lab.target)[0].sessions[0].time.timestamp()
    forget(lab)
    SHAPES[shape](lab)
    before = {path.name: path.read_bytes() for path in lab.store.iterdir()}
    said = lab.prepare()
    assert any("stay there" in line or "damaged" in line for line in said)
    states = {}
    for content, expected in ((b"3", kind), (b"four", "incremental")):  # of other sizes: times may be the same
        lab.put("srv/c", content)
        lab.prepare()
        result = lab.engine.write(lab.target, lab.request())
        assert result.session.kind == expected
        assert lab.engine.verify(lab.target, result.session, SECRET).ok
        states[result.session.time.timestamp()] = tree_state(lab.source)
    assert {name: (lab.store / name).read_bytes() for name in before} == before
    shutil.rmtree(lab.cache)
    for number, (when, state) in enumerate(states.items()):
        assert tree_state(lab.restore(f"check-{number}", time=datetime.fromtimestamp(when, UTC))) == state
    assert lab.engine.chains(lab.target)[0].sessions[0].time.timestamp() == first


def test_nothing_is_pruned_where_the_target_keeps_everything(tmp_path: Path) -> None:
    lab = KeepingLab(tmp_path)
    lab.backup(full=True)
    lab.backup(full=True)
    assert list(lab.engine.prune(lab.target, 1)) == []
    assert lab.sessions() == 2


class FilesTarget(LocalTarget):
    """Its address brings a file along, whose directory is named in an environment variable and an option."""

    def __init__(self, address: str, path: Path, name: str = "ca.pem") -> None:
        super().__init__(address, path)
        self.name = name

    def engine(self) -> EngineAddress:
        return EngineAddress(
            url=super().engine().url,
            options=("--ssl-cacert-file", "{files}/ca.pem"),
            environment={"SEEN_BY_TEST": "{files}"},
            files={self.name: b"certificate"},
        )


class FilesLab(Lab):
    @property
    def target(self) -> LocalTarget:
        return FilesTarget(f"file://{self.store}", self.store)

    @property
    def engine(self) -> DuplicityEngine:
        """With a program that notes what it sees of the files before it goes on."""
        script = self.base / "program"
        script.write_text(
            "#!/bin/sh\n"
            'if [ -n "$SEEN_BY_TEST" ]; then\n'
            '  test "$(stat -c %a "$SEEN_BY_TEST" "$SEEN_BY_TEST/ca.pem" | tr "\\n" " ")" = "700 600 " || exit 91\n'
            '  test "$(cat "$SEEN_BY_TEST/ca.pem")" = certificate || exit 92\n'
            '  case "$*" in *"--ssl-cacert-file $SEEN_BY_TEST/ca.pem"*) ;; *) exit 93 ;; esac\n'
            "fi\n"
            f'exec {DuplicityEngine(self.cache).program.path} "$@"\n'
        )
        script.chmod(0o700)
        return DuplicityEngine(self.cache, self.base / "temp", script)


def test_an_address_s_files_are_there_for_the_run_alone(tmp_path: Path) -> None:
    lab = FilesLab(tmp_path)
    lab.backup()
    assert tree_state(lab.restore()) == tree_state(lab.source)
    assert lab.temporary_files() == []


def test_an_address_s_file_can_t_be_written_elsewhere(tmp_path: Path) -> None:
    lab = FilesLab(tmp_path)
    lab.target.check(write=True)
    with pytest.raises(EngineError, match="not a name"):
        lab.engine.write(FilesTarget(lab.target.address, lab.store, "../outside"), lab.request())
    assert not list(tmp_path.rglob("outside"))
