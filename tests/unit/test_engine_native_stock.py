"""duplicity as the judge of what we write: it verifies, lists, restores and continues it, and we continue that."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine_support import SECRET, Lab, noise, tree_state
from tests.unit.test_engine_old_duplicity import old_duplicity  # noqa: F401 - fixture
from tklbam_core.engine.cache import Cache
from tklbam_core.engine.duplicity import DuplicityEngine
from tklbam_core.engine.interface import WriteResult
from tklbam_core.engine.manifest import parse_manifest
from tklbam_core.engine.parts import Parts

# ruff: noqa: F811

ODD = ["new\nline", 'quo"te', "back\\slash", "apo'strophe", " space ", "ümläut 中", "tab\t", "\\x20", '"quoted"', "a"]


class Judged(Lab):
    """Every session is settled first: duplicity itself can't see what changes in the second in which it is stored."""

    then = 1_600_000_000

    def settle(self) -> None:
        self.then += 10
        for path in [self.source, *self.source.rglob("*")]:
            if not path.is_symlink() and path.stat().st_mtime > 1_700_000_000:
                os.utime(path, (self.then, self.then))

    def natively(self) -> WriteResult:
        self.settle()
        result = self.backup()
        assert not result.warnings
        assert self.newest_manifest().startswith(b"Volume 1:"), "duplicity's begins with the host's name"
        return result

    def newest_manifest(self) -> bytes:
        newest = max(self.cache.rglob("*.manifest"), key=lambda path: path.name.split(".")[-2])
        return newest.read_bytes()

    def stock(self, *words: str | Path, cache: bool = True, program: Path | None = None) -> str:
        """What the installed duplicity says, with our cache or with one of its own."""
        home = self.base / "home"
        home.mkdir(mode=0o700, exist_ok=True)
        place = Cache(self.cache, self.target.address)
        words = (*words, "--archive-dir", self.cache if cache else self.base / "other-cache", "--name", place.name)
        argv = [program or Path(sys.executable).with_name("duplicity"), *words]
        environment = {**os.environ, "PASSPHRASE": SECRET, "HOME": str(home), "LC_ALL": "C.UTF-8"}
        done = subprocess.run(argv, capture_output=True, check=False, env=environment)
        assert done.returncode == 0, (done.stdout + done.stderr).decode()
        assert b"Traceback" not in done.stderr
        return done.stdout.decode()

    @property
    def url(self) -> str:
        return f"file://{self.store}"

    def restored_by_stock(self, time: object = None, program: Path | None = None) -> dict[bytes, tuple[object, ...]]:
        place = self.base / "by-stock"
        words = ["-t", f"{time:%Y-%m-%dT%H:%M:%SZ}"] if time else []
        command = ["restore"] if program is None else []
        self.stock(*command, *words, self.url, place, cache=False, program=program)
        state = tree_state(place)
        shutil.rmtree(place)
        return state


@pytest.fixture
def lab(tmp_path: Path) -> Judged:
    return Judged(tmp_path)


def change(lab: Judged, number: int) -> dict[bytes, tuple[object, ...]]:
    """Something of everything: new, changed, grown, gone; the state that has to come back."""
    lab.put(f"srv/{number}/new", noise(70_000, number))
    lab.put("srv/large", noise(1_500_000, 9)[number * 1000 :] + noise(number * 30_000, number))
    lab.put("srv/small", b"%d" % number)
    lab.put(f"srv/odd/{ODD[number % len(ODD)]}", ODD[number].encode())
    (lab.source / f"srv/{number - 1}/new").unlink(missing_ok=True)
    (lab.extras / "fsdelta").write_text(f"#tklbam {number}\n")
    lab.settle()
    return tree_state(lab.source)


def test_duplicity_finds_no_difference_and_what_nobody_changed_is_nothing(lab: Judged) -> None:
    change(lab, 1)
    lab.natively()
    change(lab, 2)
    lab.natively()
    (lab.source / "srv/odd" / ODD[1]).unlink()
    gone = lab.natively()
    assert (gone.new_files, gone.deleted_files) == (0, 1)
    nothing = lab.natively()
    assert (nothing.new_files, nothing.changed_files, nothing.deleted_files) == (0, 0, 0)
    assert nothing.session.size < 2500
    said = lab.stock("verify", "--compare-data", lab.url, lab.source, cache=False)
    assert " 0 difference(s) found" in said
    status = lab.stock("collection-status", lab.url, cache=False)
    assert [line.split()[0] for line in status.splitlines() if line.strip().startswith(("Full ", "Incremental "))] == [
        "Full",
        *["Incremental"] * 3,
    ]
    assert "No orphaned or incomplete backup sets found." in status
    files = lab.stock("list-current-files", lab.url)
    assert "srv/large" in files
    assert "fsdelta" in files


@pytest.mark.parametrize("shared", [True, False], ids=["one cache", "two caches"])
def test_duplicity_and_we_build_on_each_other(lab: Judged, shared: bool) -> None:
    states = []

    def stock() -> None:
        lab.stock("incremental", "--volsize", "1", lab.source, lab.url, cache=shared)

    for number, write in enumerate([lab.natively, lab.natively, stock, lab.natively if shared else lab.backup], 1):
        states.append(change(lab, number))
        write()
    chains = lab.engine.chains(lab.target)
    assert [session.kind for session in chains[0].sessions] == ["full", "incremental", "incremental", "incremental"]
    for session, state in list(zip(chains[0].sessions, states, strict=True))[0 if shared else -1 :]:
        assert lab.restored_by_stock(session.time) == state
    assert lab.engine.verify(lab.target, chains[0].sessions[-1], SECRET).ok
    sizes = [session.size for session in chains[0].sessions[1:]]
    assert max(sizes) < 350_000, "deltas, whoever signed the old content"


def test_a_chain_that_duplicity_began(lab: Judged) -> None:
    states = [change(lab, 1)]
    lab.target.check(write=True)
    DuplicityEngine(lab.cache, lab.base / "temp", native=False).write(lab.target, lab.request())
    assert b"Hostname" in lab.newest_manifest()
    unchanged = lab.natively()
    assert (unchanged.new_files, unchanged.changed_files, unchanged.deleted_files) == (0, 0, 0)
    states.append(change(lab, 2))
    increment = lab.natively()
    assert increment.session.kind == "incremental"
    assert increment.session.size < 300_000
    first, _, second = lab.engine.chains(lab.target)[0].sessions
    assert [lab.restored_by_stock(session.time) for session in (first, second)] == states


def test_signatures_are_fetched_where_the_cache_was_lost(lab: Judged) -> None:
    change(lab, 1)
    lab.natively()
    change(lab, 2)
    lab.natively()
    shutil.rmtree(lab.cache)
    change(lab, 3)
    fetched = lab.backup()
    assert (fetched.session.kind, fetched.warnings) == ("incremental", ())
    assert fetched.session.size < 350_000
    change(lab, 4)
    assert lab.natively().session.kind == "incremental"
    assert tree_state(lab.restore()) == tree_state(lab.source)


@pytest.fixture(scope="module")
def spread(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """A session of many volumes, whose first and last paths have odd names."""
    lab = Judged(tmp_path_factory.mktemp("spread"))
    for number, name in enumerate(ODD):
        lab.put(f"srv/{name}/{name}", noise(700_000, number))
    lab.put("srv/middle/file", noise(3_500_000, 77))
    lab.put("srv/zz/file", b"last")
    lab.natively()
    return lab


def test_a_path_in_the_middle_comes_from_the_volumes_that_hold_it(spread: Judged) -> None:
    manifest = parse_manifest(spread.newest_manifest())
    assert manifest is not None
    assert manifest.count > 9
    ends = b"".join(part for span in manifest.spans.values() for index in span for part in index)
    assert all(special in ends for special in (b"\n", b"\\", b'"', b" "))
    for number, path in enumerate(["srv/middle", f"srv/{ODD[0]}", f"srv/{ODD[7]}", "srv/zz"]):
        needed = manifest.holding(Parts.of(path, None))
        assert 1 <= len(needed) < manifest.count
        assert (len(needed) > 3) == (path == "srv/middle")
        assert tree_state(spread.restore(f"part-{number}", path=path)) == tree_state(spread.source / path)


def test_duplicity_restores_a_path_in_the_middle(spread: Judged) -> None:
    for name in ("middle/file", f"{ODD[2]}/{ODD[2]}"):
        place = spread.base / "by-stock"
        spread.stock("restore", "--path-to-restore", f"srv/{name}", spread.url, place, cache=False)
        assert place.read_bytes() == (spread.source / "srv" / name).read_bytes()
        place.unlink()


@pytest.mark.root
def test_debian_12s_duplicity_restores_what_we_wrote(lab: Judged, old_duplicity: Path) -> None:
    states = [change(lab, 1)]
    lab.natively()
    states.append(change(lab, 2))
    lab.natively()
    for session, state in zip(lab.engine.chains(lab.target)[0].sessions, states, strict=True):
        assert lab.restored_by_stock(session.time, program=old_duplicity) == state
