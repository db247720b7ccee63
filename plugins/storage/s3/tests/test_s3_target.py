"""The S3 target against a real server: the contract, and what S3 adds to it."""

from __future__ import annotations

import pytest

from tklbam_core.api import Target
from tklbam_core.testing.storage import StorageContract

from .conftest import Bucket


class TestContract(StorageContract):
    @pytest.fixture
    def target(self, bucket: Bucket) -> Target:
        return bucket.target()
