"""Storage by a Hub's credentials: temporary ones, renewed as they end, seen by nobody, remembered when it is gone."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.argv import watched_arguments
from tests.e2e.machine import Machine
from tests.e2e.small import conf, small_system
from tests.hub_api import API_KEY, PROFILE, SUBKEY, Api, Asked, archive, served
from tests.swift import TEMPORARY, TEMPORARY_SECRET, Swift, session_token

pytestmark = pytest.mark.root
CREDENTIALS = "credentials/"


@dataclass
class Lending(Api):
    """A Hub whose every credentials are good for a short while; `lent` are the session tokens."""

    seconds: float = 60.0

    def answer(self, asked: Asked) -> Any:
        answer = super().answer(asked)
        if asked.path == CREDENTIALS:
            end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + self.seconds))
            return {
                "type": "iamrole",
                "accesskey": TEMPORARY,
                "secretkey": TEMPORARY_SECRET,
                "sessiontoken": session_token(self.seconds),
                "expiration": end,
            }
        return answer


def lending(swift: Swift, seconds: float) -> Lending:
    place = f"s3://127.0.0.1:{swift.port}/bucket-{secrets.token_hex(6)}"
    return Lending(place=place, archives={"generic": (1764039600, archive(PROFILE))}, seconds=seconds)


@pytest.fixture
def hub(swift: Swift) -> Iterator[Lending]:
    with served(lending(swift, 60)) as api:
        yield api


def linked(root: Path, hub: Api) -> Machine:
    made = small_system(root, AWS_EC2_METADATA_DISABLED="true", AWS_CONFIG_FILE="/nonexistent")
    conf(made, f"hub-url {hub.url}", "storage-option s3-tls=no")
    made.tklbam("init", "--api-key-file", "-", input=f"{API_KEY}\n")
    return made


def test_a_hub_s_temporary_credentials_store_and_restore_and_are_seen_by_nobody(hub: Lending, tmp_path: Path) -> None:
    with watched_arguments() as seen:
        a = linked(tmp_path / "a", hub)
        a.write("/srv/text", "A's text\n")
        said = [a.json("backup")]
        assert said[0]["outcome"] == "complete"
        asked = [each for each in hub.asked if each.path == CREDENTIALS]
        assert len(asked) > 1, "what ends soon is asked for anew while the backup runs"
        assert all(each.sent == {"backup_id": "1"} for each in asked)
        b = linked(tmp_path / "b", hub)
        done = b.tklbam("restore", "1", "--noninteractive")
    assert b.path("/srv/text").read_text() == "A's text\n"
    for secret in (API_KEY, SUBKEY, TEMPORARY_SECRET):
        assert seen.holding(secret) == []
        assert secret not in done.out + done.err + str(said)
    for made in (a, b):
        registry = made.path("/var/lib/tklbam")
        for path in made.root.rglob("*"):
            if path.is_file() and path not in (registry / "sub_apikey", registry / "credentials"):
                content = path.read_bytes()
                assert not [each for each in (API_KEY, SUBKEY, TEMPORARY_SECRET) if each.encode() in content], path


def test_remembered_credentials_serve_until_they_end(swift: Swift, tmp_path: Path) -> None:
    with served(lending(swift, 3600)) as hub:
        a = linked(tmp_path / "a", hub)
        a.write("/srv/text", "A's text\n")
        a.tklbam("backup")
    done = a.tklbam("backup")
    assert "goes on with what is remembered of the Hub" in done.err
    kept = a.path("/var/lib/tklbam/credentials")
    fields = dict(line.split("=", 1) for line in kept.read_text().splitlines())
    fields |= {"expiration": "2020-01-01T00:00:00Z", "sessiontoken": session_token(-1)}
    kept.write_text("".join(f"{name}={value}\n" for name, value in fields.items()))
    failed = a.tklbam("backup", "--quiet", status=1)
    assert failed.err.count("error: ") == 1
    assert "can't be reached" in failed.err.partition("error: ")[2]
    assert "Traceback" not in failed.err
