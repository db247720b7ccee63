"""Debian 12's duplicity, 0.8.22, is told the same address in words it understands, keys that expire included."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests import swift as servers
from tests.engine_support import SECRET, Lab, noise, tree_state
from tests.swift import Swift, session_token
from tests.unit.test_engine_old_duplicity import old_duplicity, pytestmark
from tklbam_core.engine.duplicity import DuplicityEngine
from tklbam_core.engine.interface import FetchRequest

from .conftest import new_bucket

__all__ = ["old_duplicity", "pytestmark"]


@pytest.fixture
def old(old_duplicity: Path) -> Path:
    """Together with this environment's boto3, which is plain Python; Debian's own would do as well."""
    place = old_duplicity.parent / "root/usr/lib/python3/dist-packages"
    for name in ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3"):
        module = Path(str(importlib.import_module(name).__file__))
        link = place / (module.name if module.name != "__init__.py" else name)
        if not link.exists():
            link.symlink_to(module if module.name != "__init__.py" else module.parent)
    return old_duplicity


def test_old_duplicity_stores_in_s3_and_restores(swift: Swift, old: Path, tmp_path: Path) -> None:
    bucket = new_bucket(swift)
    bucket.prefix = "my prefix/web1"
    bucket.target().check(write=True)

    def keys() -> dict[str, str]:
        expires = datetime.now(UTC) + timedelta(seconds=200)
        fields = {"accesskey": servers.TEMPORARY, "secretkey": servers.TEMPORARY_SECRET}
        return {**fields, "sessiontoken": session_token(200), "expiration": expires.isoformat()}

    lab = Lab(tmp_path / "lab")
    lab.put("srv/file", noise(1_500_000, 2))
    engine = DuplicityEngine(lab.cache, lab.base / "temp", old)
    target = bucket.target(keys(), keys, part_size="5")
    result = engine.write(target, lab.request())
    assert engine.verify(target, result.session, SECRET).ok
    assert all(key.startswith("my prefix/web1/duplicity-full") for key in bucket.stored())
    engine.fetch(target, FetchRequest(destination=tmp_path / "restored", secret=SECRET))
    assert tree_state(tmp_path / "restored")[b"srv/file"] == tree_state(lab.source)[b"srv/file"]
