"""A kit's signature, made to be checked before anything of ours runs, by openssl alone.

It is DER, ECDSA on P-256 over SHA-256, beside the kit as `KIT.sig`:

    openssl dgst -sha256 -verify root.pub -signature KIT.sig KIT
"""

from __future__ import annotations

from pathlib import Path

from securesystemslib.signer import Signer

from bundles.trust.signers import sign_detached
from registry.errors import UsageError
from registry.store import durable


def sign_kit(kit: Path, signer: Signer) -> Path:
    """Write the kit's signature beside it and return its path; an older one is replaced."""
    try:
        data = kit.read_bytes()
    except OSError as error:
        raise UsageError("kit-unreadable", str(error), where=str(kit), hint="dryport kit build --out DIR") from error
    signature = kit.with_name(f"{kit.name}.sig")
    durable.replace(signature, sign_detached(signer, data))
    return signature
