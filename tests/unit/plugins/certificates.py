# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Certificates for servers of tests, as an authority issues them: Python 3.13 and newer accept no others."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_NO_USAGE = dict.fromkeys(
    (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ),
    False,
)


class Issued(NamedTuple):
    """A certificate, with the file that holds it and its key."""

    file: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def issue(
    directory: Path,
    name: str,
    names: Iterable[str] = (),
    issuer: Issued | None = None,
    days: int = 1,
    identifiers: bool = True,
) -> Issued:
    """Issue a certificate: of a server with these names or addresses; of an authority, if there are none.

    :param issuer: None: it is self-signed
    :param days: until when it is valid, from now
    :param identifiers: False: without the identifiers of keys, which many home-made authorities leave out
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=2))
        .not_valid_after(now + datetime.timedelta(days=days))
    )
    signer = issuer.key if issuer else key
    for extension, critical in _extensions(list(names), key.public_key(), signer.public_key(), identifiers):
        builder = builder.add_extension(extension, critical)
    certificate = builder.sign(signer, hashes.SHA256())
    file = directory / f"{name}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    return Issued(file, certificate, key)


def _extensions(names: list[str], own: Any, signer: Any, identifiers: bool) -> list[tuple[x509.ExtensionType, bool]]:
    usage = ["digital_signature"] if names else ["key_cert_sign", "crl_sign"]
    found: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=not names, path_length=None), True),
        (x509.KeyUsage(**{**_NO_USAGE, **dict.fromkeys(usage, True)}), True),
    ]
    if identifiers:
        found.append((x509.SubjectKeyIdentifier.from_public_key(own), False))
        found.append((x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), False))
    if names:
        alternatives = [x509.IPAddress(ipaddress.ip_address(n)) if n[0].isdigit() else x509.DNSName(n) for n in names]
        found.append((x509.SubjectAlternativeName(alternatives), False))
        found.append((x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), False))
    return found


def server_context(file: Path | str) -> ssl.SSLContext:
    """Return the context of a server that shows the certificate of a file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
