"""The server does what its OpenAPI file says: schemathesis tries what the file allows, and what it does not."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.hub_client import HubClient
from tests.hub_server import HubServer

HUB = Path(__file__).parents[1]


def test_schemathesis_finds_nothing(
    hub: HubServer, make_client: Callable[..., HubClient], archive: bytes, tmp_path: Path
) -> None:
    from tklbam_hub.audit.log import OPERATOR
    from tklbam_hub.profiles import archives

    client = make_client()
    client.create()
    archives.add("debian-12", archive, OPERATOR)
    before = len(hub.log())
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("st")), "--config-file", str(HUB / "schemathesis.toml")),
            *("run", str(HUB / "openapi.yaml"), "--url", hub.api_url.rstrip("/"), "--no-color"),
        ],
        env={**os.environ, "HUB_SUBKEY": client.subkey, "HUB_API_KEY": client.api_key},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # It did try: every call of the file, hundreds of times in all.
    tried = re.search(r"Selected: (\d+)/\1\s+Tested: \1", done.stdout)
    assert tried, done.stdout
    generated = re.search(r"(\d+) generated", done.stdout)
    assert generated, done.stdout
    assert int(generated[1]) > 200
    assert "Traceback" not in hub.log()[before:]
