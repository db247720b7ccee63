"""A store whose other half runs under duplicity's Python (`bridge`): requests and answers are lines of JSON."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tklbam_core.api import CommandError, EngineAddress, Process, start

from .bridge.faults import Entry, Fault, Store
from .duplicity import interpreter
from .kinds.base import written

_BOOT = (
    "import importlib.util as u, sys; place = sys.argv.pop(1); "
    "spec = u.spec_from_file_location('bridge', f'{place}/__init__.py', submodule_search_locations=[place]); "
    "sys.modules['bridge'] = u.module_from_spec(spec); from bridge.serve import main; main()"
)
"""Nothing beside the package becomes importable: some names here are those of libraries."""
SLOWEST = 16 << 10
"""Bytes a second at which a transfer must get on, or it is taken to hang."""


class BridgeStore(Store):
    """`kind` names a module of the bridge; `settings` are its own. The connection is made at the first request.

    The other half gets the engine's environment, so passwords are in no command line. It ends with this process, when
    it is closed, or when nothing has been asked for a while.
    """

    def __init__(
        self,
        kind: str,
        settings: Mapping[str, object],
        address: EngineAddress,
        timeout: int = 60,
        python: tuple[str, ...] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._opening = {"kind": kind, "settings": settings, "options": list(address.options), "timeout": timeout}
        self._address = address
        self._timeout = timeout
        self._python = python
        self._environment = dict(environment or {})
        self._stack: contextlib.ExitStack | None = None
        self._process: Process | None = None
        self._rest = b""

    def entries(self) -> list[Entry]:
        return [Entry(*found) for found in self._ask("entries")]

    def make(self) -> None:
        self._ask("make")

    def get(self, name: str, path: str) -> None:
        self._ask("get", name, path, size=1 << 30)

    def put(self, name: str, path: str) -> None:
        self._ask("put", name, path, size=os.path.getsize(path))

    def delete(self, names: Iterable[str]) -> None:
        wanted = list(names)
        self._ask("delete", wanted, size=len(wanted) * SLOWEST)

    def free(self) -> int | None:
        found = self._ask("free")
        return int(found) if isinstance(found, int) else None

    def clock(self) -> float | None:
        found = self._ask("clock")
        return float(found) if isinstance(found, int | float) else None

    def close(self) -> None:
        stack, self._stack, self._process, self._rest = self._stack, None, None, b""
        if stack is not None:
            stack.close()

    def _ask(self, do: str, *arguments: object, size: int = 0) -> Any:
        patience = 2 * self._timeout + size / SLOWEST
        try:
            process = self._running(patience)
            return self._exchange(process, {"do": do, "arguments": arguments}, patience)
        except (OSError, ValueError, TimeoutError) as error:
            said = "" if isinstance(error, TimeoutError) or self._process is None else self._process.stderr_tail
            self.close()
            raise Fault("\n".join([f"duplicity's side: {error}", said])) from error

    def _running(self, patience: float) -> Process:
        if self._process is not None:
            return self._process
        stack = contextlib.ExitStack()
        environment = stack.enter_context(written(self._address))
        stack.enter_context(contextlib.suppress(CommandError))  # how it ended is known by then
        python = self._python or (interpreter(),)
        process = stack.enter_context(
            start(
                [*python, "-c", _BOOT, str(Path(__file__).with_name("bridge"))],
                env={"LC_ALL": "C.UTF-8", "LANGUAGE": "", **self._environment},
                secrets=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        )
        self._stack, self._process = stack, process
        self._exchange(process, self._opening, patience)
        return process

    def _exchange(self, process: Process, request: Mapping[str, object], patience: float) -> Any:
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        answer = json.loads(self._line(process, time.monotonic() + patience))
        if "fault" in answer:
            if answer.get("over"):
                self.close()
            raise Fault(answer["fault"], answer["kind"])
        return answer["done"]

    def _line(self, process: Process, end: float) -> bytes:
        while b"\n" not in self._rest:
            left = end - time.monotonic()
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                process.stop()
                raise TimeoutError("the server said nothing for too long: timed out")
            data = os.read(process.stdout.fileno(), 1 << 16)
            if not data:
                raise OSError("it ended")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line
