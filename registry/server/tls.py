"""The server's TLS: its certificate, and the authority of its clients, read again whenever their files change.

New connections get the new files; connections that stand go on. Files that cannot be used change nothing but the log:
a certificate and key that do not fit are often just being replaced, one after the other.
"""

from __future__ import annotations

import logging
import os
import ssl
from pathlib import Path

from registry.errors import SiteError
from registry.server.settings import Settings

log = logging.getLogger("dryport.registry.tls")
Stamps = tuple[tuple[int, int, int] | None, ...]


class Certificates:
    """One server's TLS context, kept up to date."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        self._files = (certificate, key, client_ca)
        self._stamps = self._seen()
        self.context = self._load()
        """What the next connection gets."""

    @classmethod
    def of(cls, settings: Settings) -> Certificates | None:
        """Return what the settings say; None without TLS. Raises SiteError."""
        if settings.certificate is None or settings.key is None:
            return None
        try:
            return cls(settings.certificate, settings.key, settings.client_ca)
        except OSError as error:  # ssl.SSLError is one
            named = [settings.certificate, settings.key, *([settings.client_ca] if settings.client_ca else [])]
            raise SiteError(
                "certificate-unusable",
                "the certificate and its key cannot be used",
                where=", ".join(map(str, named)),
                seen=str(error),
                hint="give a PEM certificate chain and the unencrypted PEM key that belongs to it",
            ) from error

    def refresh(self, *, is_told: bool = False) -> bool:
        """Take in changed files, or all of them if somebody said so; say whether new connections get what they hold."""
        stamps = self._seen()
        if stamps == self._stamps and not is_told:
            return False
        self._stamps = stamps
        try:
            self.context = self._load()
        except OSError as error:
            log.warning("the certificate's files are not used yet: %s", error)
            return False
        log.info("new connections get the certificate that is there now")
        return True

    def _load(self) -> ssl.SSLContext:
        certificate, key, client_ca = self._files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Which of the good ciphers is cheapest the client knows best: container runtimes ask for AES-128 first.
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
        context.options |= ssl.OP_NO_RENEGOTIATION  # a thread that sends never has to read
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(str(certificate), str(key), password=_no_password)
        if client_ca:
            context.verify_mode = ssl.CERT_OPTIONAL  # who shows none logs in otherwise; who shows a wrong one is out
            context.load_verify_locations(str(client_ca))
        return context

    def _seen(self) -> Stamps:
        return tuple(_stamp(file) for file in self._files if file)


def _no_password() -> str:
    raise ssl.SSLError("the key is encrypted")


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        seen = os.stat(path)  # noqa: PTH116 - every few seconds
    except OSError:
        return None
    return (seen.st_mtime_ns, seen.st_ino, seen.st_size)
