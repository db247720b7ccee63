"""Ports of 127.0.0.1 for the tests' servers, which nobody else is given, whatever runs beside.

They lie outside the range from which the kernel takes the ports of connections and of whoever leaves the choice to it.
A port from there may be another's before its server starts, or starts again, or is meant to have nobody listening; and
who knocks at a closed one until its server comes may be connected to itself.
"""

from __future__ import annotations

import functools
import itertools
import random
import socket
from collections.abc import Iterator
from pathlib import Path

SIZE = 500
"""Ports that a test process has to itself."""
RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """A port that nobody listens at; no other test process is given it, and this one not again soon."""
    numbers, _ = _own()
    for port in itertools.islice(numbers, SIZE):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:  # somebody's who does not ask here
                continue
            return port
    raise RuntimeError(f"all of {SIZE} ports are taken")


@functools.cache
def _own() -> tuple[Iterator[int], socket.socket]:
    """The numbers of this process, and what keeps others from them until it ends, however that comes."""
    low, high = map(int, RANGE.read_text().split())
    outside = [*range(10_000, low - SIZE, SIZE), *range(high + 1, 65_536 - SIZE, SIZE)]
    for start in random.SystemRandom().sample(outside, len(outside)):
        held = socket.socket(socket.AF_UNIX)
        try:
            held.bind(f"\0tklbam-tests-ports-{start}")
        except OSError:
            held.close()
            continue
        return itertools.cycle(range(start, start + SIZE)), held
    raise RuntimeError(f"no ports are left outside {low} to {high}, from where the kernel takes its own")
