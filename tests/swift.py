"""A real S3 and Swift server for tests and measurements: OpenStack Swift with s3api on loopback, one copy of objects.

The fixture `swift` is a server that all tests of a worker share, each with buckets of its own (it starts in a second or
two); `running()` gives one of their own to tests that kill it, refuse its keys or fill it.
Swift itself is installed once, with its version pinned, into an environment of its own below `~/.cache`
(`TKLBAM_SWIFT_VENV` names another place), so that its many dependencies stay out of the project's.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import functools
import hashlib
import hmac
import http.client
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from email.utils import formatdate
from pathlib import Path

from tests.ports import free_port

RELEASE = "swift==2.38.3"
KEY, SECRET, REGION = "test:tester", "testing-secret-3b1f", "us-east-1"
"""An access key with its secret; with the native API the user and the password."""
NARROW, NARROW_SECRET = "test:narrow", "narrow-secret-77c0"
"""One who, as if by a policy, may list what lies below prefixes, and not ask for a bucket itself (HeadBucket)."""
APPENDER, APPENDER_SECRET = "test:appender", "appender-secret-90aa"
"""One who, as if by a policy, may not delete: neither an object nor a version of one."""
TEMPORARY, TEMPORARY_SECRET = "test:temporary", "temporary-secret-51fe"
"""One who needs a session token: a time (seconds since 1970, as text) until which it is good. See `session_token`."""
KINDS = ("account", "container", "object", "proxy")
PATIENCE = 180
"""Seconds in which a server must have come up."""

COMMON = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
user = {user}
swift_dir = {directory}
workers = 0
log_level = {level}
"""
STORE = (
    COMMON
    + """\
devices = {directory}/node
mount_check = false
fallocate_reserve = 0
disable_fallocate = true
[pipeline:main]
pipeline = healthcheck {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
# There is no updater: a listing must be written before the answer goes out.
container_update_timeout = 60
node_timeout = 60
conn_timeout = 5
# Its semaphore would need a writable /dev/shm, and with one copy nothing is replicated.
replication_concurrency = 0
[filter:healthcheck]
use = egg:swift#healthcheck
"""
)
PIPELINE = (
    "catch_errors gatekeeper healthcheck proxy-logging cache listing_formats gate s3api tempauth copy container-quotas "
    "slo dlo versioned_writes symlink proxy-server"
)
PROXY = (
    COMMON
    + """\
[pipeline:main]
pipeline = {pipeline}
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
node_timeout = 60
recoverable_node_timeout = 60
conn_timeout = 5
# The only device there is must never be set aside for its errors.
error_suppression_limit = 1000000000
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:proxy-logging]
use = egg:swift#proxy_logging
access_log_headers = false
[filter:cache]
paste.filter_factory = forgetful:factory
[filter:gate]
paste.filter_factory = gate:factory
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = {region}
max_upload_part_num = 10000
[filter:tempauth]
use = egg:swift#tempauth
{users}
[filter:copy]
use = egg:swift#copy
[filter:container-quotas]
use = egg:swift#container_quotas
[filter:slo]
use = egg:swift#slo
max_manifest_segments = 10000
[filter:dlo]
use = egg:swift#dlo
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
[filter:symlink]
use = egg:swift#symlink
"""
)
FORGETFUL = '''\
"""The cache that tempauth insists on; it keeps nothing but tokens, so nothing else is ever stale."""


class Cache:
    def __init__(self):
        self.tokens = {}

    def get(self, key, *_, **__):
        return self.tokens.get(key)

    def set(self, key, value, *_, **__):
        if "/token/" in key or "/user/" in key:
            self.tokens[key] = value

    def delete(self, key, *_, **__):
        self.tokens.pop(key, None)

    def get_multi(self, keys, *_, **__):
        return [None] * len(keys)

    def set_multi(self, *_, **__):
        pass

    def incr(self, key, delta=1, *_, **__):
        return delta

    def decr(self, key, delta=1, *_, **__):
        return 0


def factory(_, **__):
    cache = Cache()

    def filter(app):
        def call(environ, start_response):
            environ["swift.cache"] = cache
            return app(environ, start_response)

        return call

    return filter
'''
GATE = '''\
"""What a cloud's policies and temporary keys would do, in front of the S3 API, by the access key of a request."""

import time
from urllib.parse import parse_qs


def refusal(environ):
    words = environ.get("HTTP_AUTHORIZATION", "")
    key = words.partition("Credential=")[2].partition("/")[0]
    query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    method = environ["REQUEST_METHOD"]
    deletes = (method == "DELETE" and "uploadId" not in query) or (method == "POST" and "delete" in query)
    if key == "NARROW" and method == "HEAD" and environ["PATH_INFO"].strip("/").count("/") == 0:
        return "403 Forbidden", "AccessDenied", "Access Denied by the policy"
    if key == "APPENDER" and deletes:
        return "403 Forbidden", "AccessDenied", "Access Denied by the policy"
    if key == "TEMPORARY":
        token = environ.get("HTTP_X_AMZ_SECURITY_TOKEN", "")
        if not token:
            return "403 Forbidden", "InvalidAccessKeyId", "This key needs a token."
        if float(token) < time.time():
            return "400 Bad Request", "ExpiredToken", "The provided token has expired."
    return None


def factory(_, **__):
    def filter(app):
        def call(environ, start_response):
            refused = refusal(environ)
            if refused is None:
                return app(environ, start_response)
            status, code, message = refused
            body = f"<?xml version=\'1.0\'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
            length = "0" if environ["REQUEST_METHOD"] == "HEAD" else str(len(body))
            start_response(status, [("Content-Type", "application/xml"), ("Content-Length", length)])
            return [] if length == "0" else [body]

        return call

    return filter
'''
RINGS = """\
import sys
from swift.common.ring import RingBuilder
directory, *ports = sys.argv[1:]
for kind, port in zip(("account", "container", "object"), map(int, ports)):
    builder = RingBuilder(1, 1, 1)
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "d1", "weight": 1,
                     "meta": "", "replication_ip": "127.0.0.1", "replication_port": port})
    builder.rebalance()
    builder.get_ring().save(f"{directory}/{kind}.ring.gz")
"""


def environment() -> Path:
    """The environment with Swift in it, installed when it is not there yet. One process installs, others wait."""
    place = Path(os.environ.get("TKLBAM_SWIFT_VENV") or Path.home() / ".cache/tklbam-tests/swift")
    place.parent.mkdir(parents=True, exist_ok=True)
    stamp = place / "installed"
    with open(place.parent / f"{place.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.is_file() or stamp.read_text() != RELEASE:
            subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
            pip = [str(place / "bin/python"), "-m", "pip", "--disable-pip-version-check", "-q"]
            subprocess.run([*pip, "install", "--only-binary=:all:", RELEASE], check=True)
            stamp.write_text(RELEASE)
    return place


def _gate() -> str:
    names = {"APPENDER": APPENDER, "TEMPORARY": TEMPORARY, "NARROW": NARROW}
    return functools.reduce(lambda text, name: text.replace(name, names[name]), names, GATE)


def session_token(seconds: float) -> str:
    """A token with which the temporary key is good for so long."""
    return f"{time.time() + seconds:.3f}"


class Swift:
    """A server whose objects lie in `directory`, which must be on a file system with user attributes.

    `port` stays the same over a restart. `users` are access key → secret.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.users = {
            KEY: SECRET,
            NARROW: NARROW_SECRET,
            APPENDER: APPENDER_SECRET,
            TEMPORARY: TEMPORARY_SECRET,
        }
        self.ports = {kind: free_port() for kind in KINDS}
        self._python = environment() / "bin/python"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        (directory / "node/d1").mkdir(parents=True)
        os.setxattr(directory / "node/d1", "user.tklbam-tests", b"1")
        (directory / "swift.conf").write_text(
            "[swift-hash]\nswift_hash_path_suffix = loopback\n[storage-policy:0]\nname = one\ndefault = yes\n"
        )
        (directory / "forgetful.py").write_text(FORGETFUL)
        (directory / "gate.py").write_text(_gate())
        stores = [str(self.ports[kind]) for kind in KINDS[:3]]
        subprocess.run([self._python, "-W", "ignore", "-c", RINGS, directory, *stores], check=True)

    @property
    def port(self) -> int:
        """Where both APIs answer, in plain HTTP."""
        return self.ports["proxy"]

    @property
    def endpoint(self) -> str:
        """The S3 API's URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def auth_url(self) -> str:
        """The native API's door (version 1 authentication)."""
        return f"{self.endpoint}/auth/v1.0"

    @property
    def variables(self) -> dict[str, str]:
        """The environment in which S3 clients find this server."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": REGION,
        }

    @property
    def log(self) -> str:
        """What the front server logged: a line a request."""
        # It may have answered the last one without having written its line; it does one thing after the other.
        _ask(self.port, "GET", "/healthcheck")
        return (self.directory / "proxy.log").read_text(errors="replace")

    def start(self, *kinds: str) -> None:
        """Starts what does not run yet (all of it, unless `kinds` names parts) and waits until it answers."""
        wanted = [kind for kind in KINDS if kind not in self._processes and kind in (kinds or KINDS)]
        for kind in wanted:
            self._processes[kind] = self._launch(kind)
        end = time.monotonic() + PATIENCE
        while not self._answers():
            dead = [kind for kind, process in self._processes.items() if process.poll() is not None]
            assert not dead, self._said(dead)
            assert time.monotonic() < end, self._said(KINDS)
            time.sleep(0.05)

    def stop(self, *kinds: str, how: signal.Signals = signal.SIGTERM) -> None:
        """Ends all of it, or the parts named. Without its proxy the server's port refuses connections."""
        going = [(kind, self._processes.pop(kind)) for kind in kinds or KINDS if kind in self._processes]
        for _, process in going:
            process.send_signal(how)
        for _, process in going:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def native(self, method: str, path: str, **headers: str) -> int:
        """Asks the native API as the first user, `path` beginning with the container; returns the status."""
        _, answer = _ask(self.port, "GET", "/auth/v1.0", {"X-Auth-User": KEY, "X-Auth-Key": SECRET})
        words = {name.replace("_", "-"): value for name, value in headers.items()}
        status, _ = _ask(
            self.port, method, f"/v1/AUTH_test/{path}", {"X-Auth-Token": answer.get("x-auth-token", ""), **words}
        )
        return status

    def _launch(self, kind: str) -> subprocess.Popen[bytes]:
        conf = self.directory / f"{kind}.conf"
        conf.write_text(
            (PROXY if kind == "proxy" else STORE).format(
                directory=self.directory,
                kind=kind,
                port=self.ports[kind],
                user=pwd.getpwuid(os.geteuid()).pw_name,
                level="INFO" if kind == "proxy" else "ERROR",
                pipeline=PIPELINE,
                region=REGION,
                users="\n".join(
                    f"user_{key.replace(':', '_')} = {secret} .admin" for key, secret in self.users.items()
                ),
            )
        )
        program = self._python.with_name(f"swift-{kind}-server")
        with open(self.directory / f"{kind}.log", "ab") as log:
            return subprocess.Popen(
                # Tied to us: a killed test leaves no server behind.
                ["setpriv", "--pdeathsig", "KILL", "--", self._python, "-W", "ignore", program, conf, "-v"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env={**os.environ, "PYTHONPATH": str(self.directory)},
            )

    def _answers(self) -> bool:
        if any(_ask(self.ports[kind], "GET", "/healthcheck")[0] != 200 for kind in self._processes):
            return False
        return set(self._processes) != set(KINDS) or self._lists()

    def _lists(self) -> bool:
        """Whether a signed listing of the buckets works: front, authentication and account server in one."""
        key, secret = next(iter(self.users.items()))
        date = formatdate(usegmt=True)
        signature = hmac.new(secret.encode(), f"GET\n\n\n{date}\n/".encode(), hashlib.sha1).digest()
        signed = f"AWS {key}:{base64.b64encode(signature).decode()}"
        return _ask(self.port, "GET", "/", {"Date": date, "Authorization": signed})[0] == 200

    def _said(self, kinds: Iterable[str]) -> str:
        logs = [self.directory / f"{kind}.log" for kind in kinds]
        return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-1500:]}" for log in logs if log.exists())


def _ask(port: int, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str]]:
    """Status and headers of an answer; status 0 where nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}
    except OSError:
        return 0, {}
    finally:
        connection.close()


@contextlib.contextmanager
def running() -> Iterator[Swift]:
    """A new, empty server; gone when the block ends."""
    directory = Path(tempfile.mkdtemp(prefix="tklbam-swift-"))
    server = Swift(directory)
    try:
        server.start()
        yield server
    finally:
        server.stop(how=signal.SIGKILL)
        shutil.rmtree(directory)
