"""The certificate authority of one session. Its key is made here, is never written, and dies with the process."""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.names import Host

LIVES = timedelta(hours=25)
SKEW = timedelta(minutes=5)
MOST_HOSTS = 256


class Authority:
    """Certificates for the hosts that a session's gateway speaks for."""

    def __init__(self, session: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Drawbridge session {session}")])
        self._certificate = _signed(
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True),
            self._key,
        )
        self._contexts: dict[str, ssl.SSLContext] = {}

    @property
    def pem(self) -> bytes:
        """What the sandbox has to trust."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def context(self, host: Host) -> ssl.SSLContext:
        """The server's side of TLS for one host: HTTP/1.1, TLS 1.2 at least."""
        context = self._contexts.get(host.text)
        if context is None:
            if len(self._contexts) >= MOST_HOSTS:
                self._contexts.pop(next(iter(self._contexts)))
            context = self._contexts[host.text] = self._made(host)
        return context

    def _made(self, host: Host) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        certificate = self._leaf(host).public_bytes(serialization.Encoding.PEM)
        with _in_memory(_leaf_key_pem() + certificate + self.pem) as path:
            context.load_cert_chain(path)
        return context

    def _leaf(self, host: Host) -> x509.Certificate:
        name = x509.IPAddress(host.address) if host.address is not None else x509.DNSName(host.text)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host.text[:64])])
        return _signed(
            self._builder(subject, _leaf_key())
            .add_extension(x509.SubjectAlternativeName([name]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False),
            self._key,
        )

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        at = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(at - SKEW)
            .not_valid_after(at + LIVES)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )


@cache
def _leaf_key() -> ec.EllipticCurvePrivateKey:
    """One key for all the leaves of this process: what tells hosts apart is the certificate."""
    return ec.generate_private_key(ec.SECP256R1())


@cache
def _leaf_key_pem() -> bytes:
    plain = serialization.NoEncryption()
    return _leaf_key().private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def _signed(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    return builder.sign(key, hashes.SHA256())


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """A path for what only takes paths. The file has no name and is never on a disk."""
    file = os.memfd_create("chain", os.MFD_CLOEXEC)
    try:
        os.write(file, content)
        yield f"/proc/self/fd/{file}"
    finally:
        os.close(file)
