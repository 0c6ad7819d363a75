"""The site CA: signs server certificates for the site's own names and addresses, and for nothing else.

* P-256, `pathlen:0`, name constraints (critical) to the site's domain and addresses, 127.0.0.1 among them: a stolen
  CA key cannot speak for any other name.
* A leaf has its DNS name and its addresses as alternative names, is for servers only, and begins 48 hours ago, so
  that a host whose clock lags accepts it. It is renewed when less than a third of its life is left.

>>> authority = Authority.ensure(home.pki, site)
>>> leaf = authority.leaf("operator", addresses=["127.0.0.1"], now=datetime.now(UTC))
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from installer.site.config import Site
from registry.errors import SiteError
from registry.store import durable

CA_LIFE = timedelta(days=3650)
LEAF_LIFE = timedelta(days=397)
BACKDATE = timedelta(hours=48)
LOOPBACK = "127.0.0.1"
COMMON_NAME_CHARACTERS = 64  # RFC 5280, appendix A.1: ub-common-name


@dataclass(frozen=True, slots=True)
class Leaf:
    """A server certificate's files."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Authority:
    """An open site CA."""

    folder: Path
    domain: str
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def ensure(cls, folder: Path, site: Site, *, now: datetime) -> Authority:
        """Return the site's CA, made once. Raises SiteError if a host of the site lies outside what it may sign."""
        if not (folder / "ca.pem").exists():
            key = _key(folder / "ca.key")
            durable.create(folder / "ca.pem", _pem(_self_signed(site, key, now)), 0o644)
        authority = cls.open(folder, site)
        outside = [host.name for host in site.hosts if not authority.may_sign(host.address)]
        if outside:
            raise SiteError(
                "ca-too-narrow",
                f"the site CA may not sign for the address of: {', '.join(outside)}",
                where=str(folder / "ca.pem"),
                hint="keep hosts inside `addresses`; a site CA for other addresses needs a new home",
            )
        return authority

    @classmethod
    def open(cls, folder: Path, site: Site) -> Authority:
        """Return the CA in a folder. Raises SiteError."""
        try:
            certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
            key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
        except (OSError, ValueError) as error:
            raise SiteError(
                "ca-missing", f"the site CA cannot be read: {error}", where=str(folder), hint="dryport site init"
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise SiteError(
                "ca-damaged",
                "the site CA's key is not its certificate's",
                where=str(folder),
                hint="restore the home from a backup",
            )
        return cls(folder, site.domain, certificate, key)

    @property
    def pem(self) -> str:
        """The CA certificate, for whoever should trust it."""
        return _pem(self.certificate).decode()

    def leaf(self, name: str, addresses: Sequence[str], *, now: datetime) -> Leaf:
        """Return the server certificate of `<name>.<domain>`; made once, renewed below a third of its life."""
        files = Leaf(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        dns, ips = [f"{name}.{self.domain}"], []
        for address in dict.fromkeys(addresses):
            try:
                ips.append(ipaddress.ip_address(address))
            except ValueError:
                dns.append(address)
        wanted = x509.SubjectAlternativeName([*map(x509.DNSName, dict.fromkeys(dns)), *map(x509.IPAddress, ips)])
        if not self._is_good(files.certificate, wanted, now):
            issued = self._issue(wanted, dns[0], _key(files.key), now)
            durable.replace(files.certificate, _pem(issued), 0o644)
        return files

    def _is_good(self, path: Path, wanted: x509.SubjectAlternativeName, now: datetime) -> bool:
        if not path.exists():
            return False
        found = x509.load_pem_x509_certificate(path.read_bytes())
        left = found.not_valid_after_utc - now
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return found.issuer == self.certificate.subject and names == wanted and left > LEAF_LIFE / 3

    def _issue(
        self, names: x509.SubjectAlternativeName, common: str, key: ec.EllipticCurvePrivateKey, now: datetime
    ) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:COMMON_NAME_CHARACTERS])]))
            .issuer_name(self.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATE)
            .not_valid_after(min(now + LEAF_LIFE, self.certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(names, critical=False)
            .add_extension(_usage(sign_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )

    def may_sign(self, address: str) -> bool:
        """Say whether an address lies inside the CA's constraints."""
        permitted = self.certificate.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            names = [one.value for one in permitted or () if isinstance(one, x509.DNSName)]
            return any(address == name or address.endswith(f".{name}") for name in names)
        networks = (ipaddress.ip_network(one.value) for one in permitted or () if isinstance(one, x509.IPAddress))
        return any(ip in network for network in networks)


def _self_signed(site: Site, key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"dryport site CA {site.name}"[:COMMON_NAME_CHARACTERS])])
    names, networks = [site.domain], [ipaddress.ip_network(LOOPBACK)]
    networks += [ipaddress.ip_network(one) for one in site.addresses]
    for host in site.hosts:
        try:
            address = ipaddress.ip_network(host.address)
        except ValueError:
            names.append(host.address)
        else:
            if not site.addresses:
                networks.append(address)
    permitted = [*map(x509.DNSName, dict.fromkeys(names)), *map(x509.IPAddress, dict.fromkeys(networks))]
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.NameConstraints(permitted, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    if not path.exists():
        made = ec.generate_private_key(ec.SECP256R1())
        data = made.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        durable.create(path, data, 0o600)
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SiteError("ca-damaged", "not a P-256 key", where=str(path), hint="restore the home from a backup")
    return key


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
