"""The contract of `Target`, as tests that any storage plugin's author runs against their own.

In a test module of the plugin:

    from tklbam_core.testing.storage import StorageContract

    class TestMyStorage(StorageContract):
        @pytest.fixture
        def target(self) -> Target:
            return open_an_empty_target_of_mine()

Every test gets a fresh target: nothing is there yet, and `check(write=True)` may create it.
"""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import BinaryIO

import pytest

from ..api.errors import TargetError
from ..api.models import EngineAddress, StoredFile
from ..api.storage import Target

NAMES = (
    "duplicity-full.20260101T000000Z.vol1.difftar.gpg",
    "duplicity-full.20260101T000000Z.manifest.gpg",
    "duplicity-full-signatures.20260101T000000Z.sigtar.gpg",
)


class _BreaksOff(io.BytesIO):
    """Content that fails in the middle, as a network does."""

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(1000)
        if not data:
            raise OSError("the source broke off")
        return data


def _names(target: Target) -> list[str]:
    return sorted(file.name for file in target.files())


class StorageContract:
    """What the core relies on. A subclass gives the fixture `target`."""

    @pytest.fixture
    def target(self) -> Target:
        raise NotImplementedError("give a fixture `target` that opens a fresh, empty target")

    def test_the_address_and_the_engine_s_view_hold_no_surprises(self, target: Target) -> None:
        assert isinstance(target.address, str)
        assert target.address
        engine = target.engine()
        assert isinstance(engine, EngineAddress)
        assert "://" in engine.url
        for name, value in engine.environment.items():
            assert isinstance(name, str)
            assert value not in engine.url, f"{name} is for the environment alone, never for a command line"
            assert all(value not in option for option in engine.options)

    def test_a_target_that_is_not_there_lists_nothing(self, target: Target) -> None:
        assert list(target.files()) == []

    def test_check_leaves_nothing_behind(self, target: Target) -> None:
        target.check(write=True)
        assert list(target.files()) == []
        target.check(write=True)
        target.check(write=False)

    def test_what_is_written_is_listed_and_read_back(self, target: Target) -> None:
        target.check(write=True)
        contents = {name: os.urandom(size) for name, size in zip(NAMES, (3_000_000, 1, 0), strict=True)}
        for name, content in contents.items():
            target.write(name, io.BytesIO(content))
        files = list(target.files())
        assert all(isinstance(file, StoredFile) for file in files)
        assert {file.name: file.size for file in files} == {name: len(content) for name, content in contents.items()}
        assert all(file.modified is None or file.modified.tzinfo is not None for file in files)
        for name, content in contents.items():
            with target.read(name) as stream:
                assert stream.read() == content

    def test_reading_is_a_stream(self, target: Target) -> None:
        target.check(write=True)
        target.write(NAMES[0], io.BytesIO(b"0123456789" * 1000))
        stream: BinaryIO = target.read(NAMES[0])
        with stream:
            assert stream.read(10) == b"0123456789"
            assert len(stream.read()) == 9990

    def test_reading_goes_on_at_an_offset(self, target: Target) -> None:
        target.check(write=True)
        content = os.urandom(300_000)
        target.write(NAMES[0], io.BytesIO(content))
        for offset in (0, 1, 150_000, 299_999):
            with target.read_from(NAMES[0], offset) as stream:
                assert stream.read() == content[offset:]

    def test_writing_again_replaces(self, target: Target) -> None:
        target.check(write=True)
        target.write(NAMES[0], io.BytesIO(b"a" * 5000))
        target.write(NAMES[0], io.BytesIO(b"b"))
        assert [(file.name, file.size) for file in target.files()] == [(NAMES[0], 1)]

    def test_threads_write_as_many_at_once_as_it_allows(self, target: Target) -> None:
        target.check(write=True)
        contents = {NAMES[0].replace("vol1.", f"vol{number}."): b"%d" % number * 50_000 for number in range(1, 7)}
        assert len(contents) == 6
        with ThreadPoolExecutor(min(4, target.parallel_writes)) as threads:
            for written in [threads.submit(target.write, name, io.BytesIO(data)) for name, data in contents.items()]:
                written.result()
        assert _names(target) == sorted(contents)
        for name, data in contents.items():
            with target.read(name) as stream:
                assert stream.read() == data

    def test_a_file_is_stored_whole_or_not_at_all(self, target: Target) -> None:
        target.check(write=True)
        with pytest.raises(Exception):  # noqa: B017 - the source's error or a TargetError
            target.write(NAMES[0], _BreaksOff(b"x" * 5000))
        assert _names(target) == []
        target.write(NAMES[0], io.BytesIO(b"old"))
        with pytest.raises(Exception):  # noqa: B017
            target.write(NAMES[0], _BreaksOff(b"x" * 5000))
        with target.read(NAMES[0]) as stream:
            assert stream.read() == b"old"

    def test_delete_takes_what_is_named_and_nothing_else(self, target: Target) -> None:
        target.check(write=True)
        for name in NAMES:
            target.write(name, io.BytesIO(b"x"))
        target.delete([NAMES[0], "duplicity-full.20200101T000000Z.vol9.difftar.gpg"])
        assert _names(target) == sorted(NAMES[1:])
        target.delete(iter(NAMES))
        target.delete([])
        assert _names(target) == []

    def test_reading_what_is_not_there_is_a_target_error(self, target: Target) -> None:
        target.check(write=True)
        with pytest.raises(TargetError) as caught:
            target.read(NAMES[0]).read()
        assert caught.value.what

    def test_free_space_and_place_are_answers_or_none(self, target: Target) -> None:
        target.check(write=True)
        free, place = target.free_bytes(), target.local_path()
        assert free is None or free >= 0
        assert place is None or place.is_absolute()

    def test_the_clock_is_this_machine_s_or_not_known(self, target: Target) -> None:
        target.check(write=True)
        clock = target.clock()
        assert clock is None or abs((clock - datetime.now(UTC)).total_seconds()) < 120
        assert list(target.files()) == []
