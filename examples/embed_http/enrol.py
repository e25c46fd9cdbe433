"""Enrolment: every party makes its keys, and the operator pins and certifies the public halves.

Run: python examples/embed_http/enrol.py demo --clients 12 --members 9 (without members: SecAgg)
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path  # noqa: TC003 - typer reads it

import typer
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedavg import FileJournal, OneShot, SecAgg
from fedavg.adapters.polling import SumAgreement
from fedavg.files import replace_file
from secagg import Identity
from secagg.committee import SealingKey

PEM, VALID = serialization.Encoding.PEM, dt.timedelta(days=90)
app = typer.Typer(pretty_exceptions_enable=False)  # a traceback with variables would print secrets
FORM = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()


def make_tls_key(folder: Path) -> Ed25519PrivateKey:
    """A key for TLS alone. In earnest it stays with its party, which sends a signing request."""
    folder.mkdir(parents=True)
    key = Ed25519PrivateKey.generate()
    replace_file(folder / "tls.key", key.private_bytes(PEM, *FORM), mode=0o600)
    return key


def certify(host: str, key: Ed25519PrivateKey, authority: Ed25519PrivateKey) -> bytes:
    """The authority's certificate of a party's key."""
    by, to = (x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, n)]) for n in ("CA", host))
    now, number = dt.datetime.now(dt.UTC), x509.random_serial_number()
    build = x509.CertificateBuilder().issuer_name(by).subject_name(to).serial_number(number)
    build = build.public_key(key.public_key()).not_valid_before(now).not_valid_after(now + VALID)
    build = build.add_extension(x509.BasicConstraints(key is authority, None), critical=True)
    build = build.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    return build.sign(authority, None).public_bytes(PEM)


@app.command()
def main(
    root: Path, clients: int = 12, members: int = 0, length: int = 10_000, rounds: int = 100
) -> None:
    """Enrol the parties of a demonstration on this machine, the members with keys for so many rounds."""
    if root.exists():
        raise SystemExit(f"error: {root} exists, and keys are made once: name a new folder")
    once = OneShot(0.2, 0.1, committee=members or 20, corrupt_members=1, absent_members=2)
    keys = {"server": make_tls_key(root / "server")}
    public: dict[str, dict[int, bytes]] = {"client": {}, "member": {}}
    cards: list[bytes] = []
    for role, count in (("client", clients), ("member", members)):
        for number in range(count):  # at each party
            folder, identity = root / f"{role}-{number}", Identity.generate()
            keys[folder.name] = make_tls_key(folder)
            replace_file(folder / "identity", identity.private_bytes(), mode=0o600)
            # Here only: a party whose journal is gone starts no more.
            FileJournal(folder / "journal")
            public[role][number] = identity.public
            for epoch in range(1, rounds // once.epoch_rounds + 2) if role == "member" else ():
                sealing = SealingKey.generate(identity, number, epoch=epoch)
                replace_file(folder / f"sealing-{epoch}", sealing.private_bytes(), mode=0o600)
                cards.append(sealing.card)
    sizes, people = (length, 2**15), (public["client"], public["member"], tuple(cards))
    agreed = SumAgreement(once if members else SecAgg(0.2, 0.1), *sizes, *people)
    authority = make_tls_key(root / "operator")  # at the operator, who is not the server
    for name, key in keys.items():
        replace_file(root / name / "agreement.json", agreed.to_bytes())
        replace_file(root / name / "ca.crt", certify("CA", authority, authority))
        host = "localhost" if name == "server" else name
        replace_file(root / name / "tls.crt", certify(host, key, authority))


if __name__ == "__main__":
    app()
