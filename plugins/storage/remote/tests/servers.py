"""Real servers on loopback for the tests: each in a directory of its own, on free ports, ended by process id."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.ports import free_port

USER, PASSWORD = "joe", "pa'ss, \\w\"ord%41 x"
"""A password with everything in it that some program could trip over."""
PATIENCE = 180


def hashed(kind: str, password: str = PASSWORD) -> str:
    """The password as /etc/shadow ("6") or Apache ("apr1") keep it."""
    made = subprocess.run(
        ["openssl", "passwd", f"-{kind}", "-stdin"], input=password.encode(), capture_output=True, check=True
    )
    return made.stdout.decode().strip()


@dataclass(frozen=True)
class Certificates:
    """An authority of the tests' own, and a server's certificate by it; and one by nobody known."""

    authority: Path
    certificate: Path
    key: Path
    other_authority: Path


def certificates(place: Path) -> Certificates:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    def make(subject: str, issuer: str, by: ec.EllipticCurvePrivateKey, key: ec.EllipticCurvePrivateKey) -> bytes:
        authority = subject == issuer
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.now(UTC) - timedelta(days=1))
            .not_valid_after(datetime.now(UTC) + timedelta(days=7))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
        )
        if authority:
            usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
            builder = builder.add_extension(usage, critical=True)
        else:
            names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(by, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    place.mkdir(parents=True, exist_ok=True)
    ours, theirs, server = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    found = Certificates(place / "ca.pem", place / "server.pem", place / "server.key", place / "other.pem")
    found.authority.write_bytes(make("tests' authority", "tests' authority", ours, ours))
    found.other_authority.write_bytes(make("another authority", "another authority", theirs, theirs))
    found.certificate.write_bytes(make("localhost", "tests' authority", ours, server))
    found.key.write_bytes(
        server.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    found.key.chmod(0o600)
    return found


@dataclass
class Server:
    """A server whose files lie in `store`. `ports` must all answer before it counts as started."""

    place: Path
    command: Sequence[str]
    ports: tuple[int, ...]
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def store(self) -> Path:
        return self.place / "store"

    @property
    def port(self) -> int:
        return self.ports[0]

    @property
    def log(self) -> str:
        return (self.place / "log").read_text(errors="replace")

    def start(self) -> None:
        assert self.process is None
        with open(self.place / "log", "ab") as log:
            self.process = subprocess.Popen(
                # Tied to us: a killed test leaves no server behind. A group of its own, for servers that fork.
                ["setpriv", "--pdeathsig", "TERM", "--", *self.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
        end = time.monotonic() + PATIENCE
        for port in self.ports:
            while True:
                assert self.process.poll() is None, self.log[-3000:]
                assert time.monotonic() < end, self.log[-3000:]
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
                    break
                time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Ends it with all that it forked."""
        process, self.process = self.process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    def kill_and_start(self, after: float) -> None:
        """As when a machine loses its power and comes back, `after` seconds later."""
        self.stop(signal.SIGKILL)
        time.sleep(after)
        self.start()

    @contextlib.contextmanager
    def small_disk(self, folder: Path, size: str) -> Iterator[None]:
        """A tmpfs of `size` ("2m") at a folder, as the server sees it; gone when the block ends."""
        assert self.process is not None
        folder.mkdir(parents=True)
        inside = ["nsenter", f"--mount=/proc/{self.process.pid}/ns/mnt"]
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", folder]
        subprocess.run([*inside, *mount], check=True)
        try:
            yield
        finally:
            subprocess.run([*inside, "umount", "-l", folder], check=True)
            folder.rmdir()

    @contextlib.contextmanager
    def running(self) -> Iterator[Server]:
        try:
            self.start()
            yield self
        finally:
            self.stop()


def _version(*words: str) -> tuple[int, ...]:
    """The first number with a dot in what a program says of itself."""
    said = subprocess.run(words, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    found = re.search(r"\d+(?:\.\d+)+", said)
    assert found is not None, said
    return tuple(map(int, found[0].split(".")))


def _folder(place: Path) -> Path:
    (place / "store").mkdir(parents=True)
    return place


def sshd(place: Path) -> Server:
    """OpenSSH for root, with a key (`place`/id), and with PASSWORD in a mount namespace in which that is root's; there
    its home is `place`/home, too."""
    place = _folder(place)
    (place / "home").mkdir(mode=0o700)
    for name in ("host", "id"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / name], check=True)
    shutil.copy(place / "id.pub", place / "authorized")
    port = free_port()
    users = Path("/etc/passwd").read_text().splitlines()
    root = f"root:x:0:0:root:{place / 'home'}:/bin/sh"
    (place / "passwd").write_text("".join(f"{root if line.startswith('root:') else line}\n" for line in users))
    (place / "shadow").write_text(f"root:{hashed('6')}:19000:0:99999:7:::\nsshd:!:19000::::::\n")
    (place / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {place / 'host'}\nAuthorizedKeysFile {place / 'authorized'}\n"
        "UsePAM no\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication yes\nPidFile none\n"
        "Subsystem sftp internal-sftp\nMaxAuthTries 20\nPrintMotd no\nPrintLastLog no\n"
        # It would soon turn everybody away: all wrong passwords come from one place.
        + ("PerSourcePenalties no\n" if _version("ssh", "-V") >= (9, 8) else "")
    )
    script = (
        'set -e; mount --bind "$1/passwd" /etc/passwd; mount --bind "$1/shadow" /etc/shadow; '
        'mount -t tmpfs tmpfs /run; mkdir /run/sshd; exec /usr/sbin/sshd -D -e -f "$1/sshd_config"'
    )
    server = Server(place, ["unshare", "-m", "sh", "-c", script, "sh", str(place)], (port,))
    public = (place / "host.pub").read_text().split()
    (place / "known_hosts").write_text(f"[127.0.0.1]:{port} {public[0]} {public[1]}\n")
    return server


def rsyncd(place: Path) -> Server:
    """An rsync daemon with a module `open`, for USER with PASSWORD."""
    place = _folder(place)
    port = free_port()
    secret = place / "secrets"
    secret.write_text(f"{USER}:{PASSWORD}\n")
    secret.chmod(0o600)
    (place / "conf").write_text(
        f"port = {port}\naddress = 127.0.0.1\nuse chroot = no\nlog file = {place / 'rsync.log'}\n"
        f"pid file = {place / 'pid'}\nuid = root\ngid = root\n"
        f"[open]\npath = {place / 'store'}\nread only = no\nauth users = {USER}\nsecrets file = {secret}\n"
        f"[closed]\npath = {place / 'store'}\nread only = yes\n"
    )
    return Server(place, ["rsync", "--daemon", "--no-detach", f"--config={place / 'conf'}"], (port,))


def ftpd(place: Path, made: Certificates | None = None, *, implicit: bool = False) -> Server:
    """ProFTPD for USER with PASSWORD; with certificates only by TLS."""
    place = _folder(place)
    port = free_port()
    users = place / "users"
    users.write_text(f"{USER}:{hashed('6')}:0:0::{place / 'store'}:/bin/sh\n")
    users.chmod(0o600)
    tls = ""
    if made is not None:
        tls = (
            "LoadModule mod_tls.c\nTLSEngine on\nTLSRequired on\nTLSProtocol TLSv1.2 TLSv1.3\nTLSLog none\n"
            f"TLSRSACertificateFile {made.certificate}\nTLSRSACertificateKeyFile {made.key}\n"
            f"{'TLSOptions UseImplicitSSL' if implicit else ''}\n"
        ).replace("RSA", "EC")
    # Built in, or from Debian 13 on not.
    modules = [name for name in ("ls", "xfer", "delay") if Path(f"/usr/lib/proftpd/mod_{name}.so").exists()]
    (place / "conf").write_text(
        "ServerType standalone\nServerName tests\nModulePath /usr/lib/proftpd\nUseIPv6 off\nDefaultServer on\n"
        + "".join(f"LoadModule mod_{name}.c\n" for name in modules)
        + f"DefaultAddress 127.0.0.1\nPort {port}\nSocketBindTight on\nUser root\nGroup root\nRootLogin on\n"
        f"PidFile {place / 'pid'}\nScoreboardFile none\n"
        "DelayEngine off\nWtmpLog off\nTransferLog none\nAuthPAM off\n"
        f"AuthOrder mod_auth_file.c\nAuthUserFile {users}\nRequireValidShell off\nDefaultRoot ~\nAllowOverwrite on\n"
        f"UseReverseDNS off\nAllowStoreRestart on\nTimeoutStalled 20\n{tls}"
    )
    return Server(place, ["proftpd", "-n", "-c", str(place / "conf")], (port,))


def httpd(place: Path, made: Certificates) -> Server:
    """Apache with WebDAV for USER with PASSWORD: the first port is plain with Basic passwords, the second has TLS. The
    third wants Digest passwords, and so does port 80 of an address of its own (in `place`/address). It serves as
    nobody, so `place` must be open to all."""
    place = _folder(place)
    for folder in (place, place / "store"):
        folder.chmod(0o777)
    ports = free_port(), free_port(), free_port()
    address = f"127.{secrets.randbelow(200) + 10}.{secrets.randbelow(250)}.{secrets.randbelow(250) + 2}"
    (place / "address").write_text(address)
    (place / "users").write_text(f"{USER}:{hashed('apr1')}\n")
    # A digest file holds the hash of user, realm and password.
    digest = hashlib.md5(f"{USER}:tests:{PASSWORD}".encode()).hexdigest()
    (place / "digests").write_text(f"{USER}:tests:{digest}\n")
    modules = (
        "mpm_event authn_core authn_file authz_core authz_user auth_basic auth_digest dav dav_fs alias ssl "
        "socache_shmcb reqtimeout"
    )
    load = "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in modules.split())

    def access(kind: str, users: str) -> str:
        lines = ["Dav On", f"AuthType {kind}", "AuthName tests", f"AuthUserFile {users}", "Require valid-user"]
        if kind == "Digest":
            lines.append("AuthDigestProvider file")
        return "\n".join([f"<Directory {place / 'store'}>", *lines, "</Directory>", ""])

    basic, other = access("Basic", str(place / "users")), access("Digest", str(place / "digests"))
    (place / "conf").write_text(
        f"{load}ServerName localhost\nServerRoot {place}\nPidFile {place / 'pid'}\nErrorLog {place / 'errors'}\n"
        f"Mutex file:{place}\nDavLockDB {place / 'locks'}\nDavMinTimeout 1\nUser nobody\nGroup nogroup\n"
        "StartServers 1\nThreadsPerChild 8\nThreadLimit 8\nServerLimit 2\nMaxRequestWorkers 16\n"
        "MinSpareThreads 1\nMaxSpareThreads 16\nRequestReadTimeout body=20\nTimeout 20\n"
        + "".join(f"Listen 127.0.0.1:{port}\n" for port in ports)
        + f"Listen {address}:80\n"
        + f"<VirtualHost 127.0.0.1:{ports[0]}>\nDocumentRoot {place / 'store'}\n{basic}</VirtualHost>\n"
        f"<VirtualHost 127.0.0.1:{ports[1]}>\nDocumentRoot {place / 'store'}\nSSLEngine on\n"
        f"SSLCertificateFile {made.certificate}\nSSLCertificateKeyFile {made.key}\n{basic}</VirtualHost>\n"
        f"<VirtualHost 127.0.0.1:{ports[2]} {address}:80>\nDocumentRoot {place / 'store'}\n{other}</VirtualHost>\n"
    )
    return Server(place, ["apache2", "-DFOREGROUND", "-f", str(place / "conf")], ports)


def imapd(place: Path, made: Certificates, quota: str = "") -> Server:
    """Dovecot for USER with PASSWORD: the first port is plain, the second has TLS. `quota` is "2M", say."""
    place = _folder(place)
    (place / "store").chmod(0o777)
    ports = free_port(), free_port()
    (place / "users").write_text(f"{USER}:{{CRYPT}}{hashed('6')}:65534:65534::{place / 'store'}::\n")
    (place / "run").mkdir()
    older = _version("dovecot", "--version") < (2, 4)
    login = (
        f"service imap-login {{\n chroot =\n inet_listener imap {{\n  port = {ports[0]}\n }}\n"
        f" inet_listener imaps {{\n  port = {ports[1]}\n  ssl = yes\n }}\n}}\nservice anvil {{\n chroot =\n}}\n"
    )
    common = (
        f"base_dir = {place / 'run'}\nstate_dir = {place / 'run'}\nlog_path = {place / 'dovecot.log'}\n"
        "listen = 127.0.0.1\nssl = yes\nfirst_valid_uid = 1\nmail_fsync = never\n"
    )
    settings = _dovecot_older if older else _dovecot
    (place / "conf").write_text(settings(common + login, place / "users", made, quota))
    return Server(place, ["dovecot", "-F", "-c", str(place / "conf")], ports)


def _dovecot(common: str, users: Path, made: Certificates, quota: str) -> str:
    lookup = f" passwd-file {{\n passwd_file_path = {users}\n}}\n"
    limit = (
        "mail_plugins {\n quota = yes\n}\nprotocol imap {\n mail_plugins {\n  imap_quota = yes\n }\n}\n"
        f"quota User {{\n driver = count\n}}\nquota_storage_size = {quota}\nquota_storage_grace = 0\n"
    )
    return (
        f"dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n{common}"
        "protocols {\n imap = yes\n}\nauth_allow_cleartext = yes\nmail_driver = sdbox\nmail_path = ~/mail\n"
        f"ssl_server_cert_file = {made.certificate}\nssl_server_key_file = {made.key}\n"
        f"passdb{lookup}userdb{lookup}{limit if quota else ''}"
    )


def _dovecot_older(common: str, users: Path, made: Certificates, quota: str) -> str:
    lookup = f" {{\n driver = passwd-file\n args = {users}\n}}\n"
    limit = (
        "mail_plugins = quota\nprotocol imap {\n mail_plugins = quota imap_quota\n}\n"
        f"plugin {{\n quota = count:User quota\n quota_rule = *:storage={quota}\n quota_vsizes = yes\n"
        " quota_grace = 0\n}\n"
    )
    return (
        f"{common}protocols = imap\ndisable_plaintext_auth = no\nmail_location = sdbox:~/mail\n"
        f"ssl_cert = <{made.certificate}\nssl_key = <{made.key}\n"
        f"passdb{lookup}userdb{lookup}{limit if quota else ''}"
    )
