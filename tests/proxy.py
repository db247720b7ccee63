"""A network that misbehaves on purpose: a proxy on loopback that cuts connections, slows them down, or speaks TLS."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import itertools
import socket
import ssl
import struct
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

from tests.ports import free_port

BLOCK = 1 << 14
T = TypeVar("T")


class Proxy:
    """Hands connections to a port of 127.0.0.1 on to another.

    `rate` is bytes a second in each direction of a connection, None for as fast as it goes. `passed` counts the bytes
    that went through, both ways, `connections` those that were made.
    """

    def __init__(self, target: int, tls: ssl.SSLContext | None = None) -> None:
        self.target = target
        self.rate: float | None = None
        self.passed = 0
        self.connections = 0
        self._cuts: list[int] = []
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = free_port()
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=tls))

    def cut_after(self, *counts: int) -> None:
        """Cuts a connection in the middle of its work: the one through which the count-th byte from now on passes, and
        so on for every further count (counted from the one before)."""
        self._do(self._plan(counts))

    @property
    def cuts_left(self) -> int:
        """How many of the cuts that were asked for have not happened yet."""
        return len(self._cuts)

    def cut(self) -> None:
        """Cuts all connections that are open now."""
        self._do(self._cut())

    def close(self) -> None:
        """From now on the port refuses connections."""
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _plan(self, counts: tuple[int, ...]) -> None:
        self._cuts = [self.passed + total for total in itertools.accumulate(counts)]

    async def _end(self) -> None:
        self._server.close()
        await self._cut()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=5)

    async def _cut(self) -> None:
        for each in self._open:
            _reset(each)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:  # what the client makes of it is the test's business
            _reset(writer)
            return
        self.connections += 1
        both = {writer, to_server}
        self._open |= both
        await asyncio.gather(self._pump(reader, to_server, both), self._pump(from_server, writer, both))
        self._open -= both
        for each in both:
            each.close()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, both: set[asyncio.StreamWriter]
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(BLOCK):
                if self._is_cut(len(data)):
                    break
                sink.write(data)
                await sink.drain()
                if self.rate:
                    await asyncio.sleep(len(data) / self.rate)
            else:
                if sink.can_write_eof():
                    sink.write_eof()
                else:  # TLS ends both ways at once; what is on its way still gets there
                    sink.close()
                return
        for each in both:
            _reset(each)

    def _is_cut(self, count: int) -> bool:
        self.passed += count
        if not self._cuts or self.passed < self._cuts[0]:
            return False
        self._cuts.pop(0)
        return True


def _reset(connection: asyncio.StreamWriter) -> None:
    """Ends a connection the hard way: the peer gets RST, as from a machine that has gone."""
    if connection.is_closing():
        return
    with contextlib.suppress(OSError):
        connection.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.transport.abort()


@contextlib.contextmanager
def proxy(target: int, tls: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    """A proxy to a port of this machine; gone when the block ends."""
    made = Proxy(target, tls)
    try:
        yield made
    finally:
        made.close()


def self_signed(directory: Path, *names: str) -> tuple[Path, ssl.SSLContext]:
    """A certificate that no authority vouches for, for 127.0.0.1, localhost and `names`: its file (which trusts it,
    where it is named as an authority) and what a server needs."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tklbam tests")])
    now = datetime.datetime.now(datetime.UTC)
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in ("localhost", *names)]
    alternatives.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = directory / "certificate.pem", directory / "key.pem"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    return public, context
