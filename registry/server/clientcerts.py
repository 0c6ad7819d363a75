"""What a client's certificate is called, so that a line of the users file can name it.

The TLS layer verified the certificate before anything here reads it: its chain to the clients' authority, its times,
and that it is made for clients. A name is exact: kind, colon, value; nothing is matched by a part of it.
"""

from __future__ import annotations

import hashlib
from asyncio import BaseTransport
from collections.abc import Sequence

from cryptography import x509
from cryptography.x509.oid import NameOID


def names(certificate: bytes) -> Sequence[str]:
    """Return a DER certificate's names, the most exact first: sha256, uri (SPIFFE too), email, dns, cn."""
    found = [f"sha256:{hashlib.sha256(certificate).hexdigest()}"]
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        subject = [str(name.value) for name in parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        try:
            others = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return [*found, *(f"cn:{name}" for name in subject[:1])]
        found += (f"uri:{name}" for name in others.get_values_for_type(x509.UniformResourceIdentifier))
        found += (f"email:{name}" for name in others.get_values_for_type(x509.RFC822Name))
        found += (f"dns:{name.lower()}" for name in others.get_values_for_type(x509.DNSName))
    except ValueError:
        return found  # what our reader cannot read has its fingerprint alone
    return [*found, *(f"cn:{name}" for name in subject[:1])]


def names_behind(transport: BaseTransport) -> Sequence[str]:
    """Return the names of whoever is at the other end of a connection; none without TLS or without a certificate."""
    connection = transport.get_extra_info("ssl_object")
    certificate = connection.getpeercert(binary_form=True) if connection else None
    return tuple(names(certificate)) if certificate else ()
