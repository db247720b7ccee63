"""The Hub's certificate: who vouches for it, until when, for which name."""

from __future__ import annotations

import datetime
import ipaddress
import json
import socket
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.hub_api import SUBKEY, hostile, response
from tklbam_core.api import HubLocation, HubUnavailableError
from tklbam_profiles_hub.client import HubClient
from tklbam_profiles_hub.connection import Patience

QUICK = Patience(connect=2.0, read=2.0, total=4.0, pause=0.02)


def certificate(folder: Path, name: str, *, days: int = 30, address: str = "127.0.0.1") -> Path:
    """A self-signed certificate and its key in one file; with negative days it has expired."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - datetime.timedelta(days=60))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    place = folder / f"{name}.pem"
    place.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return place


def records(shown: Path, trusted: Path | None) -> int:
    """How many records a Hub with a certificate gives to a client that trusts another, or the same."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown)

    def wrap(plain: socket.socket) -> socket.socket:
        return context.wrap_socket(plain, server_side=True)

    script = response(json.dumps([]).encode(), Content_Type="application/json")
    with hostile(script, wrap) as server:
        url = server.url.replace("http:", "https:")
        try:
            return len(HubClient(HubLocation(url=url, ca_file=trusted), SUBKEY, QUICK).records())
        except HubUnavailableError:
            assert server.requests == [], "nothing is sent to a server that is not trusted"
            raise


def test_a_hub_of_one_s_own_is_trusted_by_the_file_that_is_named(tmp_path: Path) -> None:
    own = certificate(tmp_path, "own")
    assert records(own, own) == 0


@pytest.mark.parametrize("trusted", ["none", "another"])
def test_a_certificate_that_nobody_vouches_for(tmp_path: Path, trusted: str) -> None:
    other = certificate(tmp_path, "other") if trusted == "another" else None
    with pytest.raises(HubUnavailableError, match="certificate is not valid"):
        records(certificate(tmp_path, "own"), other)


def test_an_expired_certificate(tmp_path: Path) -> None:
    expired = certificate(tmp_path, "own", days=-1)
    with pytest.raises(HubUnavailableError, match="expired") as caught:
        records(expired, expired)
    assert "hub-ca-file" in caught.value.remedy


def test_a_certificate_for_another_address(tmp_path: Path) -> None:
    other = certificate(tmp_path, "own", address="127.0.0.2")
    with pytest.raises(HubUnavailableError, match="certificate is not valid"):
        records(other, other)


def test_a_file_of_authorities_that_can_t_be_used(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    own = certificate(tmp_path, "own")
    for place in (tmp_path / "missing", tmp_path / "empty"):
        with pytest.raises(HubUnavailableError, match="can't be used"):
            records(own, place)
