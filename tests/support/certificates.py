"""An authority of our own, and certificates of all kinds from it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = timedelta(days=1)
_PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Issued:
    """A certificate and its key in PEM files; `both` has one after the other."""

    certificate: str
    key: str
    both: str

    def server_context(self, clients: str | None = None, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """What a server uses it with; `clients`: the authority that its clients' certificates must come from."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.both)
        if version is not None:
            context.maximum_version = version
        if clients is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(clients)
        return context


class Authority:
    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._builder(self._name, self._key.public_key(), -_DAY, _DAY).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        usage = dict.fromkeys(
            (
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        made = made.add_extension(x509.KeyUsage(True, key_cert_sign=True, crl_sign=True, **usage), critical=True)
        file = folder / f"{name}.pem"
        file.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(_PEM))
        self.file = str(file)

    def issue(self, name: str, *, host: str = "127.0.0.1", since: timedelta = -_DAY, until: timedelta = _DAY) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        alternative = x509.IPAddress(ip_address(host)) if host[0].isdigit() else x509.DNSName(host)
        made = self._builder(subject, key.public_key(), since, until).add_extension(
            x509.SubjectAlternativeName([alternative]), critical=False
        )
        certificate = made.sign(self._key, hashes.SHA256()).public_bytes(_PEM)
        private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return self._written(name, certificate, private)

    def locked(self, name: str) -> Issued:
        """Return a certificate whose key has a password."""
        issued = self.issue(name)
        key: Any = serialization.load_pem_private_key(Path(issued.key).read_bytes(), None)
        secret = serialization.BestAvailableEncryption(b"password")
        private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, secret)
        return self._written(name, Path(issued.certificate).read_bytes(), private)

    def _written(self, name: str, certificate: bytes, private: bytes) -> Issued:
        files = [self._folder / f"{name}.{kind}" for kind in ("crt", "key", "both")]
        for file, content in zip(files, (certificate, private, certificate + private), strict=True):
            file.write_bytes(content)
        return Issued(*map(str, files))

    def _builder(self, subject: Any, key: Any, since: timedelta, until: timedelta) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        public = self._key.public_key()
        return (
            x509.CertificateBuilder(self._name, subject, key, x509.random_serial_number(), now + since, now + until)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        )
