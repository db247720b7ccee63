"""A real Hub for tests: a server process of its own on loopback, with its state and storage below one directory."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.ports import free_port

USERNAME = "anna"
PASSWORD = "correct horse battery staple"
SERVE = ("-m", "tklbam_hub.cli.main", "serve")


class HubServer:
    """A Hub whose state lies in `directory`/state and whose default storage is `directory`/storage.

    `api_key` belongs to the operator's account `username`, which signs in with `password`. More accounts and keys:
    `command("user", "add", …)`. Without `database_url` it uses SQLite.
    """

    def __init__(self, directory: Path, database_url: str = "", **environment: str) -> None:
        self.directory = directory
        self.username, self.password = USERNAME, PASSWORD
        self.storage = directory / "storage"
        self.storage.mkdir()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.api_url = f"{self.url}/api/backup/"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("TKLBAM_", "DJANGO_"))},
            "TKLBAM_HUB_STATE": str(directory / "state"),
            "TKLBAM_HUB_URL": self.url,
            "DATABASE_URL": database_url,
            **environment,
        }
        self.api_key = self.command("init", USERNAME, f"file://{self.storage}", input=f"{PASSWORD}\n").strip()
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *words: str, input: str = "") -> str:
        """Runs `tklbam-hub` with these words; returns what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "tklbam_hub.cli.main", *words],
            input=input,
            env=self.environment,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, script: str) -> str:
        """Runs Python with the Hub's models at hand; returns what it prints."""
        return self.command("manage", "shell", "-c", script)

    def start(self, *options: str) -> None:
        """Starts the server, or starts it again on the same port; returns when it answers."""
        # The socket is made here and handed over, so nobody else gets the port in between. Our copy is closed: when the
        # server is gone, connections must be refused.
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self.port))
            listener.listen(1024)
            with open(self.directory / "log", "ab") as log:
                self.process = subprocess.Popen(
                    [sys.executable, *SERVE, "--bind", f"fd://{listener.fileno()}", "--workers", "2", *options],
                    env=self.environment,
                    cwd="/",
                    pass_fds=[listener.fileno()],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                    stdout=log,
                    stderr=log,
                )
        end = time.monotonic() + 180
        while True:
            with contextlib.suppress(OSError, urllib.error.URLError):
                with urllib.request.urlopen(f"{self.url}/healthz", timeout=10) as answer:
                    if answer.status == 200:
                        return
            running = self.process.poll() is None and time.monotonic() < end
            assert running, self.log()[-3000:]
            time.sleep(0.05)

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Ends the server and waits for it; returns its exit code. Stopping again is harmless."""
        if self.process is None:
            return 0
        process, self.process = self.process, None
        if how == signal.SIGKILL:
            # All at once, as when the machine loses power: its workers would serve on for a moment.
            os.killpg(process.pid, how)
        else:
            process.send_signal(how)
        code = process.wait(60)
        while self._listens():
            time.sleep(0.02)
        return code

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@contextlib.contextmanager
def hub_server(directory: Path, database_url: str = "", **environment: str) -> Iterator[HubServer]:
    """A running Hub for the length of a `with` block."""
    server = HubServer(directory, database_url, **environment)
    try:
        server.start()
        yield server
    finally:
        server.stop()
