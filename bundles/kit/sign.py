"""A kit's signature, made to be checked before anything of ours runs, by openssl alone.

It is DER, ECDSA on P-256 over SHA-256, beside the kit as `KIT.sig`:

    openssl dgst -sha256 -verify root.pub -signature KIT.sig KIT
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from registry.errors import UsageError
from registry.store import durable


def sign_kit(kit: Path, key: Path) -> Path:
    """Write the kit's signature by a PEM private key and return where it is; an older one is replaced."""
    private = _private_key(key)
    try:
        with kit.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise UsageError("kit-unreadable", str(error), where=str(kit), hint="dryport kit build --out DIR") from error
    signature = kit.with_name(f"{kit.name}.sig")
    durable.replace(signature, private.sign(digest, ec.ECDSA(Prehashed(SHA256()))))
    return signature


def _private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    hint = "make one: dryport key new NAME --out DIR"
    try:
        private = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError("key-unreadable", str(error), where=str(path), hint=hint) from error
    if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP256R1):
        raise UsageError("key-unfit", "a kit is signed by an ECDSA key on P-256", where=str(path), hint=hint)
    return private
