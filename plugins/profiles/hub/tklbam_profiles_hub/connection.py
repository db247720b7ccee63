"""Calls to a Hub: bounded in time and size, tried again where that may help, and believed in nothing.

Whatever goes wrong is a HubUnavailableError or, where the Hub gives a reason that its API knows, a HubError.
"""

from __future__ import annotations

import json
import logging
import random
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import httpx

from tklbam_core.api import HubError, HubLocation, HubUnavailableError

from .refusals import home_page, one_line, plain, refusal, without
from .watchdog import Watchdog

T = TypeVar("T")
ERROR_BYTES = 64 << 10
MOST_OBJECTS = 100_000
"""Lists and objects in an answer: three bytes of one take a hundred of memory."""
MOST_REDIRECTS = 3
LONGEST_WAIT = 10.0
"""Seconds that a Hub may ask for between two attempts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a Hub is waited for, in seconds: `connect` and `read` (a single one) at most; `total` for a call, all of
    its attempts together; `pause` before the second attempt, and twice as long before each further one."""

    connect: float = 5.0
    read: float = 10.0
    total: float = 20.0
    attempts: int = 3
    pause: float = 0.5

    def before(self, attempt: int) -> float:
        """Seconds to wait before this attempt, spread at random: servers that failed together must not come back
        together."""
        return self.pause * 2.0 ** (attempt - 2) * random.uniform(0.5, 1.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call: `path` is below the API's base; `most` the bytes of its answer; `repeatable` whether a second one does
    no harm when the first one was carried out and its answer lost."""

    method: str
    path: str
    fields: Mapping[str, str] = field(default_factory=dict, repr=False)
    most: int = 1 << 20
    repeatable: bool = True


class _Passing(Exception):
    """A failure that may pass. `unsent`: the Hub has not carried it out; `wait`: seconds that it asked to wait."""

    def __init__(self, error: HubError, *, unsent: bool = False, wait: float = 0.0) -> None:
        super().__init__(error.what)
        self.error = error
        self.unsent = unsent
        self.wait = wait


class Connection:
    """The API at a base URL. `headers` go with every call; `secrets` are kept out of every error."""

    def __init__(
        self, base: str, hub: HubLocation, headers: Mapping[str, str], secrets: tuple[str, ...], patience: Patience
    ) -> None:
        self.base = base
        self.home = home_page(base)
        self._hub = hub
        self._headers = {"Accept": "application/json", "Accept-Encoding": "identity", "Connection": "close", **headers}
        self._secrets = secrets
        self._patience = patience

    def json(self, call: Call) -> Any:
        """Makes a call and returns its answer, parsed; None for an empty one."""
        content = self.content(call)
        if not content.strip():
            return None
        if content.count(b"[") + content.count(b"{") > MOST_OBJECTS:
            raise self.nonsense(f"{call.path}: its answer has more than {MOST_OBJECTS:,} objects")
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise self.nonsense(f"{call.path}: its answer is not JSON") from error

    def content(self, call: Call) -> bytes:
        """Makes a call and returns its answer's bytes, whatever they are."""
        return self._send(call, lambda chunks: b"".join(chunks))

    def stream(self, call: Call, receive: Callable[[Iterator[bytes]], T]) -> T:
        """Makes a call and gives its answer's bytes to `receive`, which may be called again, from the start."""
        return self._send(call, receive)

    def nonsense(self, why: str) -> HubUnavailableError:
        return HubUnavailableError(
            f"the Hub at {self.home} answers nonsense: {plain(without(why, self._secrets))}",
            "Check that `hub-url` is the address of a Hub's API; if it is, tell whoever runs it.",
        )

    def _unavailable(self, why: str, remedy: str = "Try again later, and check this machine's network.") -> HubError:
        return HubUnavailableError(f"the Hub at {self.home} can't be reached: {one_line(why)}", remedy)

    # --- attempts ----------------------------------------------------------------------------------------------------

    def _send(self, call: Call, receive: Callable[[Iterator[bytes]], T]) -> T:
        deadline = time.monotonic() + self._patience.total
        client = self._client()
        with client:
            for attempt in range(1, self._patience.attempts + 1):
                try:
                    return self._attempt(client, call, receive, deadline)
                except _Passing as passing:
                    pause = max(passing.wait, self._patience.before(attempt + 1))
                    last = attempt == self._patience.attempts or not (call.repeatable or passing.unsent)
                    if last or pause > LONGEST_WAIT or time.monotonic() + pause >= deadline:
                        raise passing.error from passing.__cause__
                    time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _client(self) -> httpx.Client:
        ca_file = self._hub.ca_file
        try:
            if urlsplit(self.base).scheme == "http":
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # this machine's own, without TLS: trusts nobody
            else:
                # The system's authorities, not those of a Python package; or the administrator's, alone.
                context = ssl.create_default_context(cafile=str(ca_file) if ca_file is not None else None)
        except OSError as error:
            raise HubUnavailableError(
                f"the certificates in {ca_file} can't be used: {error.strerror or 'it holds none'}",
                "Repair `hub-ca-file` (PEM), or take it out of the configuration.",
            ) from error
        # It would log whole URLs, and an API key travels in one.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        timeout = httpx.Timeout(self._patience.read, connect=self._patience.connect)
        try:
            return httpx.Client(verify=context, timeout=timeout, follow_redirects=False, headers=self._headers)
        except (ValueError, httpx.InvalidURL) as error:
            raise self._unavailable(
                "a proxy's address in the environment is no URL", "Repair HTTPS_PROXY or ALL_PROXY."
            ) from error

    def _attempt(self, client: httpx.Client, call: Call, receive: Callable[[Iterator[bytes]], T], deadline: float) -> T:
        with Watchdog(deadline - time.monotonic()) as watchdog:
            try:
                return self._exchange(client, call, receive, watchdog)
            except httpx.InvalidURL as error:
                raise self._unavailable("its address is no URL", "Repair `hub-url`.") from error
            except httpx.TransportError as error:
                raise self._failure(error, watchdog) from error

    def _failure(self, error: httpx.TransportError, watchdog: Watchdog) -> Exception:
        if watchdog.expired:
            return self._unavailable(f"it did not answer in {self._patience.total:g} seconds")
        unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError)
        mistrusted = _certificate_problem(error)
        if mistrusted:
            return self._unavailable(
                f"its certificate is not valid ({mistrusted})",
                "If it is a Hub of your own, `hub-ca-file` names the authority that vouches for it. The clock of this "
                "machine must be right, too.",
            )
        timed_out = isinstance(error, httpx.TimeoutException)
        why = "it does not answer" if timed_out else without(str(error), self._secrets) or type(error).__name__
        return _Passing(self._unavailable(why), unsent=unsent)

    # --- one exchange ------------------------------------------------------------------------------------------------

    def _exchange(
        self, client: httpx.Client, call: Call, receive: Callable[[Iterator[bytes]], T], watchdog: Watchdog
    ) -> T:
        url = urljoin(self.base, call.path)
        for _ in range(MOST_REDIRECTS + 1):
            with client.stream(
                call.method,
                url,
                params=call.fields if call.method == "GET" else None,
                data=call.fields if call.method != "GET" else None,
                extensions={"trace": watchdog.trace},
            ) as response:
                if response.has_redirect_location:
                    url = self._redirected(call, url, response)
                    continue
                if not response.is_success:
                    raise self._refused(response)
                return receive(self._chunks(response, call.path, call.most))
        raise self.nonsense(f"{call.path}: it sends us in circles")

    def _redirected(self, call: Call, url: str, response: httpx.Response) -> str:
        """Where the Hub sends us: only to another page of its own, and never with what changes something there."""
        location = response.headers["location"]
        try:
            target = urljoin(url, location)
            here, there = urlsplit(url), urlsplit(target)
            same = (here.scheme, here.hostname, here.port) == (there.scheme, there.hostname, there.port)
        except ValueError:
            same = False
        if not same or "@" in there.netloc or call.method != "GET":
            shown = one_line(location.partition("?")[0])
            raise self.nonsense(f"{call.path}: it sends us elsewhere, to {shown}")
        return target.partition("?")[0].partition("#")[0]

    def _refused(self, response: httpx.Response) -> Exception:
        body = b"".join(self._chunks(response, "an error", ERROR_BYTES))
        text = without(body.decode("utf-8", "replace"), self._secrets)
        error = refusal(response.status_code, text, self.base)
        if response.status_code in (429, 503):
            return _Passing(error, unsent=True, wait=_seconds(response.headers.get("retry-after", "")))
        return _Passing(error) if response.status_code >= 500 else error

    def _chunks(self, response: httpx.Response, what: str, most: int) -> Iterator[bytes]:
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise self.nonsense(f"{what}: its answer is compressed, which nobody asked for")
        size = 0
        for chunk in response.iter_raw():
            size += len(chunk)
            if size > most:
                raise self.nonsense(f"{what}: its answer is larger than {most >> 10:,} KB")
            yield chunk


def _seconds(text: str) -> float:
    """What `Retry-After` asks for, as far as it is a number of seconds."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0


def _certificate_problem(error: BaseException | None) -> str:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return one_line(error.verify_message)
        error = error.__cause__ or error.__context__
    return ""
