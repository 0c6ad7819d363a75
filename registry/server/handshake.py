"""What a client makes of a server's certificate: a whole TLS handshake in memory, and one with a server that runs.

The certificate itself is the trust anchor (a client has the authority instead), so its names and its time are what is
judged.

>>> objection(Path("registry.pem"), Path("registry.key"), "registry.example.org")
''
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path

from cryptography import x509


def objection(certificate: Path, key: Path, host: str | None = None) -> str:
    """Return what a client that looks for `host` (else, for any name of the certificate) objects to, or nothing.

    Raises OSError, ValueError for files that are no certificate and key.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(str(certificate), str(key))
    name = host or first_name(certificate)
    if not name:
        return "it names no host"
    ends = [(ssl.MemoryBIO(), ssl.MemoryBIO()) for _ in range(2)]
    (to_client, from_client), (to_server, from_server) = ends
    asking = client_of(certificate).wrap_bio(to_client, from_client, server_hostname=name)
    answering = server.wrap_bio(to_server, from_server, server_side=True)
    for _ in range(3):  # flights of TLS 1.3
        for side in (asking, answering):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
            to_server.write(from_client.read())
            to_client.write(from_server.read())
    return ""


def client_of(certificate: Path) -> ssl.SSLContext:
    """Return how a client connects that trusts this one certificate. Raises OSError."""
    context = ssl.create_default_context(cafile=str(certificate))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def first_name(certificate: Path) -> str:
    """Return a name that the certificate is for, nothing if it has none. Raises OSError, ValueError."""
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    with suppress(x509.ExtensionNotFound):
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = names.get_values_for_type(x509.DNSName)
        addresses = names.get_values_for_type(x509.IPAddress)
        return next((str(one).replace("*", "any") for one in (*hosts, *addresses)), "")
    return ""
