"""Hands credentials that expire to duplicity while it runs: its boto3 asks `ask.py`, and that asks this process."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import socket
import struct
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tklbam_core.api import TklbamError

from .credentials import Keys

HOLD = timedelta(minutes=16)
"""How long an answer counts where nobody says when the credentials expire. boto3 asks again 15 minutes before the end,
and ours have been renewed by then if that was needed."""


class Agent:
    """Answers on an abstract socket, which has no file to remove, for as long as this process lives.

    Only processes of this user (and root's) are answered. `keys` is called for every question and may take its time;
    its TklbamError is what the one who asks is told.
    """

    def __init__(self, keys: Callable[[], Keys]) -> None:
        self._keys = keys
        self.name = f"tklbam-s3-{secrets.token_hex(16)}"
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(f"\0{self.name}")
        self._listening.listen(64)
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def command(self) -> str:
        """What to write for `credential_process`."""
        words = [sys.executable, "-I", "-S", str(Path(__file__).with_name("ask.py")), self.name]
        return " ".join(map(shlex.quote, words))

    def close(self) -> None:
        """Ends it. Who asks afterwards is refused."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            if struct.unpack("3i", peer)[1] in (0, os.geteuid()):
                connection.sendall(json.dumps(self._text()).encode())

    def _text(self) -> dict[str, object]:
        from botocore.exceptions import BotoCoreError

        try:
            keys = self._keys()
        except TklbamError as error:
            return {"error": error.what}
        except BotoCoreError as error:
            return {"error": str(error)}
        expires = keys.expires or datetime.now(UTC) + HOLD
        token = {"SessionToken": keys.token} if keys.token else {}
        return {
            "Version": 1,
            "AccessKeyId": keys.access_key,
            "SecretAccessKey": keys.secret_key,
            "Expiration": expires.isoformat(),
            **token,
        }
