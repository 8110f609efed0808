"""Certificates and keys for a federation: a certificate authority of its own, a server certificate, a key pair a node.

All by `cryptography`, which Flower uses itself. Private files are readable by their owner only, from their first byte on.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from core.disk import placed

DEPLOY = "python -m scenarios.deploy"  # how the owner of a federation in the usual home calls that command
YEARS = 5
SOON = 30  # days before a certificate ends in which its owner is warned
CURVE = ec.SECP384R1


def authority(folder: Path, another: bool = False) -> None:
    """Make ca.crt and ca.key, if they are not there. Whoever holds ca.key can pass for the server.

    another: make a new one although there is one: ca.crt then holds both, the newest first, so that whoever has it trusts
    certificates of either; `forget` takes the older ones away when all have it.
    """
    file = folder / "ca.crt"
    older = file.read_bytes() if file.exists() else b""
    if older and not another:
        return
    key, name = ec.generate_private_key(CURVE()), _name("federation authority")
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = _certificate(name, name, key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(usage, critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    _place(folder, "ca", key, builder.sign(key, hashes.SHA384()).public_bytes(Encoding.PEM) + older)


def forget(folder: Path) -> int:
    """Trust the newest authority only; returns how many older ones were taken away.

    Raises ValueError if the server's certificate is not the newest one's: nobody would believe it.
    """
    newest, *older = x509.load_pem_x509_certificates((folder / "ca.crt").read_bytes())
    if not _signed(x509.load_pem_x509_certificate((folder / "server.crt").read_bytes()), newest):
        raise ValueError(f"{folder / 'server.crt'} is signed by an older authority; renew it first")
    with placed(folder / "ca.crt") as file:
        file.write(newest.public_bytes(Encoding.PEM))
    return len(older)


def hosts(folder: Path) -> list[str]:
    """The names and addresses in the server's certificate."""
    certificate = x509.load_pem_x509_certificate((folder / "server.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(one.value) for one in names]


def server(folder: Path, hosts: Sequence[str], deploy: str = DEPLOY) -> None:
    """Make server.crt and server.key for these names and addresses, signed by the folder's authority, which they do not outlive.

    deploy: how this federation's owner calls that command.
    Raises ValueError if ca.key is not the key of the newest authority in ca.crt, or that has ended: nobody would believe them.
    """
    issuer = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    signer = load_pem_private_key((folder / "ca.key").read_bytes(), None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{folder / 'ca.key'} is not a key that this program made")
    if signer.public_key() != issuer.public_key():
        raise ValueError(
            f"{folder / 'ca.key'} does not fit {folder / 'ca.crt'}: take both from a backup, or make a new authority: "
            f"{deploy} renew --authority"
        )
    if (left := days_left(issuer)) < 0:
        raise ValueError(expires("ca.crt", left, deploy))
    key = ec.generate_private_key(CURVE())
    builder = _certificate(_name(hosts[0]), issuer.subject, key.public_key(), issuer.not_valid_after_utc)
    builder = builder.add_extension(x509.SubjectAlternativeName([_host(one) for one in hosts]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
    )
    _place(folder, "server", key, builder.sign(signer, hashes.SHA384()).public_bytes(Encoding.PEM))


def node(folder: Path, another: bool = False) -> Path:
    """Make a node's key pair, `key` and `key.pub`, if it is not there, or another is wanted; returns the public one.

    Raises ValueError if the key that is there is damaged.
    """
    if another or not (folder / "key").exists():
        key = ec.generate_private_key(CURVE())
        with placed(folder / "key", 0o600) as private:
            private.write(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    public, file = public_key(folder), folder / "key.pub"
    if not file.exists() or file.read_bytes().split()[:2] != public.split():
        with placed(file) as output:
            output.write(public + b"\n")
    return file


def public_key(folder: Path) -> bytes:
    """The public half of a node's key, in a line. Raises ValueError if the key is damaged: empty after a power cut, say."""
    file = folder / "key"
    try:
        key = load_ssh_private_key(file.read_bytes(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        how = "make another: python -m clients.pi renew --key; for a node of `up`: remove it, dismiss the node, and up again"
        raise ValueError(f"{file} is damaged; {how}") from None
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


def days(folder: Path) -> dict[str, int]:
    """For how many days each certificate in a federation's folder is good still; below 0: it has ended.

    Of several authorities in ca.crt it is the newest: whoever has that one needs no other. The server's is good for no longer than
    the authority that signed it.
    """
    authorities, servers = (_certificates(folder / name) for name in ("ca.crt", "server.crt"))
    good = {name: days_left(found[0]) for name, found in (("ca.crt", authorities), ("server.crt", servers)) if found}
    for server in servers:
        good["server.crt"] = min([good["server.crt"], *(days_left(one) for one in authorities if _signed(server, one))])
    return good


def is_trusted(folder: Path) -> bool:
    """Did an authority in ca.crt sign server.crt? Else no node believes the server. True where there is no server.crt yet."""
    authorities, servers = (_certificates(folder / name) for name in ("ca.crt", "server.crt"))
    return all(any(_signed(server, one) for one in authorities) for server in servers)


def _certificates(file: Path) -> list[x509.Certificate]:
    """Those in a file; none, if it is not there."""
    return x509.load_pem_x509_certificates(file.read_bytes()) if file.exists() else []


def days_left(certificate: x509.Certificate) -> int:
    """Whole days until a certificate ends."""
    return (certificate.not_valid_after_utc - datetime.now(UTC)).days


def expires(name: str, days: int, deploy: str = DEPLOY) -> str:
    """The sentence on a certificate that ends soon, or has ended. deploy: how this federation's owner calls that command."""
    when = f"ends in {days} day{'s' * (days != 1)}" if days >= 0 else f"ended {-days} day{'s' * (days != -1)} ago"
    return f"{name} {when}: {deploy} renew{' --authority' * (name == 'ca.crt')}"


def _signed(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Did this authority sign the certificate?"""
    try:
        certificate.verify_directly_issued_by(authority)
        return True
    except (ValueError, TypeError, InvalidSignature):
        return False


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, last: datetime | None = None
) -> x509.CertificateBuilder:
    """last: when it ends, if its own years would take it further."""
    now = datetime.now(UTC)
    until = now + timedelta(days=365 * YEARS)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # a device's clock may be a little behind
        .not_valid_after(min(until, last or until))
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _place(folder: Path, name: str, key: ec.EllipticCurvePrivateKey, certificate: bytes) -> None:
    """Put a key and its certificate in their places, once both are on the disk: the full disk that keeps one from being
    written leaves the old pair. The certificate goes first: an old ca.key still fits one of the authorities in a new ca.crt."""
    with placed(folder / f"{name}.key", 0o600) as private, placed(folder / f"{name}.crt") as public:
        private.write(_pem(key))
        private.flush()
        os.fsync(private.fileno())
        public.write(certificate)
