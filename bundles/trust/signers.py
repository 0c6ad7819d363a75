"""Signers by URI: where a private key lives is the business of its scheme, never of the code that signs.

`file:/path/key.pem`, or just the path, is a key in a file. A token or a KMS is one more entry in `SCHEMES`: a function
from what follows the colon, and a way to ask for the secret, to a signer. Libraries are imported by the entry.

>>> signer = open_signer("release.pem", lambda: b"passphrase")
>>> signature = sign_detached(signer, index)        # openssl dgst -sha256 -verify release.pub -signature ...
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from securesystemslib.signer import CryptoSigner, Key, Signer

from bundles.trust.keys import read_private
from registry.errors import UsageError

Secret = Callable[[], bytes]
"""Asks for a passphrase or PIN, and only when one is needed."""
_SCHEME = re.compile(r"([a-z][a-z0-9]+):(.+)", re.DOTALL)


def open_signer(uri: str, secret: Secret | None = None) -> Signer:
    """Return the signer that a URI or a key file's path names. Raises UsageError, or SiteError for an exposed key."""
    match = _SCHEME.fullmatch(uri)
    if match is None:
        return _file(uri, secret)
    if match[1] not in SCHEMES:
        raise UsageError(
            "key-scheme-unknown",
            f"there is no signer for keys of the kind {match[1]!r}",
            where=uri,
            expected=" or ".join(f"{scheme}:..." for scheme in SCHEMES),
            hint="for a file whose name has a colon write file:NAME",
        )
    return SCHEMES[match[1]](match[2], secret)


def sign_detached(signer: Signer, data: bytes) -> bytes:
    """Return a DER signature over `data` that plain openssl checks (`openssl dgst -sha256 -verify`)."""
    return bytes.fromhex(signer.sign(data).signature)


def public_key(signer: Signer) -> Key:
    """Return a signer's public half."""
    return signer.public_key


def _file(location: str, secret: Secret | None) -> Signer:
    path = Path(location)
    try:
        return CryptoSigner(read_private(path, None))
    except UsageError as error:
        if error.reference != "passphrase-needed" or secret is None:
            raise
    return CryptoSigner(read_private(path, secret()))


def _token(location: str, secret: Secret | None) -> Signer:
    from bundles.trust.tokens import open_token  # noqa: PLC0415 - for those who have a token

    return open_token(location, secret)


SCHEMES: dict[str, Callable[[str, Secret | None], Signer]] = {"file": _file, "pkcs11": _token}
