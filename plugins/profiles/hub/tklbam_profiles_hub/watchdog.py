"""An end to every exchange: HTTP libraries time single reads, so a server that sends a byte now and then holds them for
ever, most of all while it sends its headers."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

CONNECTED = "connection.connect_tcp.complete"


class Watchdog:
    """Shuts the connection that `trace` saw being made when `seconds` have passed, unless the block has ended.

    Whoever waits on the connection then gets an error at once; `expired` tells why.
    """

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self._timer = threading.Timer(max(seconds, 0.01), self._end)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """For httpx's `trace` extension."""
        if event == CONNECTED:
            with self._lock:
                # A descriptor of its own, so that no other file is hit should the connection be closed meanwhile.
                self._close()
                self._socket = info["return_value"].get_extra_info("socket").dup()
                if self.expired:
                    self._shut()

    def _end(self) -> None:
        with self._lock:
            self.expired = True
            self._shut()

    def _shut(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # the other end was first
                self._socket.shutdown(socket.SHUT_RDWR)

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._timer.cancel()
        with self._lock:
            self._close()
