"""A target behind a network that breaks: a directory served by HTTP on loopback, whose server can be told to fail."""

from __future__ import annotations

import http.client
import http.server
import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from tklbam_core.api import EngineAddress, StoredFile, Target, TargetError


@dataclass
class Trouble:
    """What goes wrong, and what was asked for. `cuts` connections break after `cut_after` bytes of an answer; `busy`
    requests are answered with 503; with `altered` a byte of every file is another one."""

    cuts: int = 0
    cut_after: int = 0
    busy: int = 0
    altered: bool = False
    sent: Counter[str] = field(default_factory=Counter)
    """Bytes sent, by file."""
    asked: list[str] = field(default_factory=list)


class HttpTarget(Target):
    """Lists and reads by HTTP; duplicity reaches the same directory as it is."""

    def __init__(self, port: int, directory: Path, trouble: Trouble) -> None:
        self.address = f"http://127.0.0.1:{port}/store"
        self.port = port
        self.directory = directory
        self.trouble = trouble

    def engine(self) -> EngineAddress:
        self.trouble.asked.append("directly")
        return EngineAddress(url=f"file://{self.directory}")

    def _ask(self, path: str, headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        if answer.status == 503:
            raise TargetError(f"{self.address} is busy", "Try later.", transient=True)
        if answer.status not in (200, 206):
            raise TargetError(f"{self.address}{path}: {answer.status}", "Check the address.")
        return answer

    def check(self, *, write: bool) -> None:
        self._ask("/").read()

    def files(self) -> Iterator[StoredFile]:
        for line in self._ask("/").read().decode().splitlines():
            name, _, size = line.rpartition(" ")
            yield StoredFile(name=name, size=int(size))

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            (self.directory / name).unlink(missing_ok=True)

    def read(self, name: str) -> BinaryIO:
        return self.read_from(name, 0)

    def read_from(self, name: str, offset: int) -> BinaryIO:
        return self._ask(f"/{name}", {"Range": f"bytes={offset}-"})  # type: ignore[return-value]

    def write(self, name: str, content: BinaryIO) -> None:
        (self.directory / name).write_bytes(content.read())


@contextmanager
def http_target(directory: Path) -> Iterator[HttpTarget]:
    """Serves a directory, made here, while the block runs."""
    directory.mkdir(exist_ok=True)
    trouble = Trouble()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.lstrip("/")
            trouble.asked.append(name)
            if trouble.busy:
                trouble.busy -= 1
                self.send_error(503)
                return
            if not name:
                content = "".join(f"{entry.name} {entry.stat().st_size}\n" for entry in os.scandir(directory)).encode()
            elif (directory / name).is_file():
                content = (directory / name).read_bytes()
            else:
                self.send_error(404)
                return
            offset = int(self.headers.get("Range", "bytes=0-")[6:-1])
            if name and trouble.altered:
                content = content[:-1] + bytes([content[-1] ^ 1])
            body = content[offset:]
            self.send_response(206 if offset else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if name and trouble.cuts and len(body) > trouble.cut_after:
                trouble.cuts -= 1
                body = body[: trouble.cut_after]
                self.close_connection = True
            trouble.sent[name] += len(body)
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield HttpTarget(server.server_port, directory, trouble)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
