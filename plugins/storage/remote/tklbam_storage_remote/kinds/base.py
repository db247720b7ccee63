"""What every family of addresses answers."""

from __future__ import annotations

import abc
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from tklbam_core.api import CommandError, EngineAddress, run

from ..access import Access
from ..bridge.faults import Fault, Store


class Family(abc.ABC):
    """Addresses that are reached in one way. Made without touching anything; methods may read files."""

    limits_bandwidth: ClassVar[bool] = False

    def __init__(self, access: Access) -> None:
        self.access = access
        self.address = access.address

    @abc.abstractmethod
    def engine(self) -> EngineAddress:
        """How duplicity reaches it. Raises TargetError."""

    @abc.abstractmethod
    def store(self) -> Store:
        """Opens it for ourselves. May connect."""


def program(argv: Sequence[str], *, secrets: Mapping[str, str], missing: Mapping[int, str] | None = None) -> bytes:
    """Runs a program and returns what it printed; Fault with its words when it fails, of the kind that `missing`
    gives for its exit status."""
    try:
        return run(argv, env={"LC_ALL": "C.UTF-8", "LANGUAGE": ""}, secrets=secrets).stdout
    except CommandError as error:
        raise Fault(error.stderr or error.what, (missing or {}).get(error.status, "")) from error


@contextmanager
def scratch() -> Iterator[Path]:
    """A private directory for the time of a block."""
    with TemporaryDirectory(prefix="tklbam-remote-") as place:
        yield Path(place)


@contextmanager
def written(address: EngineAddress) -> Iterator[dict[str, str]]:
    """Writes the files of an engine's address; yields its environment, in which `{files}` names their directory."""
    with scratch() as place:
        for name, content in address.files.items():
            descriptor = os.open(place / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as out:
                out.write(content)
        yield {name: value.replace("{files}", str(place)) for name, value in address.environment.items()}


def reachable(host: str, port: int, timeout: int) -> None:
    """Tells at once, and in the kernel's own words, where nobody listens: programs retry for minutes, and say less."""
    with socket.create_connection((host.strip("[]"), port), timeout=timeout):
        return


Opened = Callable[[Access], Family]
