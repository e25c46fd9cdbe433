"""TLS, node authentication and signed apps for a deployment on loopback.

Flower 1.42 takes signatures of an app from its Hub alone: `flwr run` of a folder has none. As a program this
module is a SuperLink that adds the signature of a key of our own, as the Hub would: what the SuperNodes check
is theirs and unchanged.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import ipaddress
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

SIGNER = "FLOWER_TEST_SIGNER"
_PEM = serialization.Encoding.PEM
_NAME = "operator"


@dataclass(frozen=True, slots=True)
class Guard:
    """Files of certificates and keys, and the options that name them.

    Args:
        folder: where the files are.
        signed: whether the SuperLink passes a signature of the operator on.
    """

    folder: Path
    signed: bool

    @classmethod
    def made(cls, folder: Path, nodes: int, *, signed: bool) -> Guard:
        """Make a certificate for 127.0.0.1, a key for every SuperNode, and the operator's key."""
        folder.mkdir()
        _certificates(folder)
        for node in range(nodes):
            _key_pair(folder / f"node{node}", ec.generate_private_key(ec.SECP384R1()))
        _key_pair(folder / _NAME, ed25519.Ed25519PrivateKey.generate())
        trusted = {_NAME: (folder / f"{_NAME}.pub").read_text().strip()}
        (folder / "trusted.yaml").write_text(json.dumps(trusted))
        return cls(folder, signed)

    @property
    def connection(self) -> str:
        """Lines of the connection in the configuration of `flwr run`."""
        return f'root-certificates = "{self.folder}/ca.crt"\n'

    @property
    def link(self) -> tuple[object, ...]:
        """Options of the SuperLink."""
        files = (
            ("ssl-ca-certfile", "ca.crt"),
            ("ssl-certfile", "tls.crt"),
            ("ssl-keyfile", "tls.key"),
        )
        named = [part for option, name in files for part in (f"--{option}", self.folder / name)]
        return (*named, "--enable-supernode-auth")

    def node(self, node: int) -> tuple[object, ...]:
        """Options of a SuperNode."""
        return (
            "--root-certificates",
            self.folder / "ca.crt",
            "--auth-supernode-private-key",
            self.folder / f"node{node}",
            "--trusted-entities",
            self.folder / "trusted.yaml",
        )

    @property
    def environment(self) -> dict[str, str]:
        """Variables of the SuperLink."""
        return {SIGNER: str(self.folder / _NAME)} if self.signed else {}


def _certificates(folder: Path) -> None:
    """A root certificate, and one of 127.0.0.1 under it."""
    authority = ec.generate_private_key(ec.SECP256R1())
    for name, key in (("ca", authority), ("tls", ec.generate_private_key(ec.SECP256R1()))):
        by, to = (
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, one)]) for one in ("ca", name)
        )
        now = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)
        here = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        built = (
            x509.CertificateBuilder()
            .issuer_name(by)
            .subject_name(to)
            .serial_number(x509.random_serial_number())
            .public_key(key.public_key())
            .not_valid_before(now)
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(key is authority, None), critical=True)
            .add_extension(x509.SubjectAlternativeName(here), critical=False)
            .sign(authority, hashes.SHA256())
        )
        (folder / f"{name}.crt").write_bytes(built.public_bytes(_PEM))
        form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        (folder / f"{name}.key").write_bytes(key.private_bytes(_PEM, *form))


def _key_pair(path: Path, key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> None:
    form = serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(_PEM, *form))
    form = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    path.with_suffix(".pub").write_bytes(key.public_key().public_bytes(*form) + b"\n")


def signed(content: bytes) -> dict[str, str]:
    """What Flower's Hub would say of an app, under the operator's key."""
    from flwr.supercore.primitives.asymmetric_ed25519 import create_message_to_sign, sign_message

    key = serialization.load_ssh_private_key(Path(os.environ[SIGNER]).read_bytes(), None)
    at = int(time.time())
    signature = sign_message(key, create_message_to_sign(hashlib.sha256(content).digest(), at))
    said = {"signature": base64.urlsafe_b64encode(signature).decode(), "signed_at": at}
    return {_NAME: json.dumps(said), "valid_license": "Valid"}


def main() -> None:
    """A SuperLink whose apps are signed by the operator."""
    from flwr.superlink.cli import flower_superlink
    from flwr.superlink.servicer.control import control_handlers

    plain = control_handlers.Fab

    def fab(hash_str: str, content: bytes, verifications: dict[str, str]):
        return plain(hash_str, content, {**verifications, **signed(content)})

    control_handlers.Fab = fab
    sys.exit(flower_superlink())


if __name__ == "__main__":
    main()
