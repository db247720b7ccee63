"""The contract of targets, kept by every kind of address at a real server."""

from __future__ import annotations

import io
import os
from collections.abc import Callable

import pytest

from plugins.storage.remote.tests.places import PLACES, Place, opened
from tklbam_core.api import Target
from tklbam_core.testing.storage import NAMES, StorageContract

pytestmark = pytest.mark.root

DIFFERENT = ("sftp", "rsync", "ftp", "webdav", "imap", "swift")
"""Those whose requests differ most; the others get one test."""


@pytest.mark.parametrize("kind", DIFFERENT)
class TestContract(StorageContract):
    @pytest.fixture
    def target(self, kind: str, target_of: Callable[[str], Target]) -> Target:
        return target_of(kind)


@pytest.mark.parametrize("kind", [kind for kind in PLACES if kind not in DIFFERENT])
def test_other_ways_in_lead_to_the_same(kind: str, place_of: Callable[[str], Place]) -> None:
    place = place_of(kind)
    target = opened(place)
    assert list(target.files()) == []
    target.check(write=True)
    content = os.urandom(100_001)
    target.write(NAMES[0], io.BytesIO(content))
    target.write(NAMES[1], io.BytesIO(b"1"))
    assert {file.name: file.size for file in target.files()} == {NAMES[0]: 100_001, NAMES[1]: 1}
    assert target.read(NAMES[0]).read() == content
    if place.folder is not None and "imap" not in kind:
        assert (place.folder / NAMES[0]).read_bytes() == content
    target.delete(NAMES)
    assert list(target.files()) == []
