"""The other half of the pipe: opens a store and answers until its input ends, or nothing is asked for a while."""

from __future__ import annotations

import importlib
import io
import json
import os
import select
import socket
import sys
from typing import Any

from .faults import Fault, Store

IDLE = 60
"""Seconds without a request after which this program goes, and with it its connection."""

STORES = {"ssh": ("ssh", "SshStore"), "swift": ("swift", "SwiftStore"), "other": ("other", "OtherStore")}


class Lines:
    """Requests, read so that waiting for one can end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""

    def next(self, patience: float) -> dict[str, Any] | None:
        """None when there will be none."""
        while b"\n" not in self._rest:
            if not select.select([self._descriptor], [], [], patience)[0]:
                return None
            data = os.read(self._descriptor, 1 << 16)
            if not data:
                return None
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        request: dict[str, Any] = json.loads(line)
        return request


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # What libraries print must not get between the answers.
    os.dup2(2, 1)
    sys.stdout = io.TextIOWrapper(open(1, "wb", closefd=False), line_buffering=True)  # noqa: SIM115 - for good
    # And what they ask is answered by nobody.
    lines = Lines(os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    store: Store | None = None
    while (request := lines.next(IDLE)) is not None:
        try:
            if store is None:
                done: Any = None
                store = opened(request)
            else:
                done = answer(store, request["do"], request["arguments"])
            said: dict[str, Any] = {"done": done}
        except Fault as fault:
            said = {"fault": fault.text, "kind": fault.kind}
        except ModuleNotFoundError as error:
            said = {"fault": error.name or str(error), "kind": "module"}
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a library raises goes to the caller in words
            said = {"fault": f"{type(error).__name__}: {error}", "kind": ""}
        if store is None:
            said["over"] = True
        answers.write(json.dumps(said) + "\n")
        answers.flush()
        if store is None:
            return
    if store is not None:
        store.close()


def opened(request: dict[str, Any]) -> Store:
    socket.setdefaulttimeout(request["timeout"])
    module, name = STORES[request["kind"]]
    made: Store = getattr(importlib.import_module(f".{module}", __package__), name)(
        request["settings"], request["options"], request["timeout"]
    )
    return made


def answer(store: Store, do: str, arguments: list[Any]) -> Any:
    if do == "entries":
        return [(entry.name, entry.size, entry.modified) for entry in store.entries()]
    if do not in ("make", "get", "put", "delete", "free", "clock"):
        raise Fault(f"no such request: {do}")
    return getattr(store, do)(*arguments)
