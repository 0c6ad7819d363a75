"""The release signature for tools that know no TUF: DER for openssl, and the same in a Sigstore bundle for cosign.

Nothing here makes a bundle acceptable; the TUF metadata alone can do that. But a reviewer may look at nothing else, so
both forms must be there, by a release key, over this very index, or the bundle is refused. The Sigstore bundle (v0.3,
a message signature by a public key, no transparency log) follows from signature and key: it is compared, never parsed.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256

from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import Key, Signature
from tuf.api.metadata import Root, Targets

from bundles.trust.metadata import AGAIN, LIMITS, bounded, label, material
from registry.errors import TrustError
from registry.oci import strictjson

SIGNATURE = "metadata/index.json.sig"
SIGSTORE = "metadata/index.json.sigstore.json"


def forms(signature: bytes, key: Key, index: bytes) -> dict[str, bytes]:
    """Return both files, by full name, for a DER signature over `index` by `key`."""
    return {SIGNATURE: signature, SIGSTORE: _sigstore(signature, key, index)}


def check(region: Mapping[str, bytes], index: bytes, root: Root) -> None:
    """Raise TrustError unless both forms hold one signature over `index` by one release key of `root`."""
    signature = region[SIGNATURE]
    bounded(SIGNATURE, signature, LIMITS.signature)
    keys = [root.keys[keyid] for keyid in root.roles[Targets.type].keyids]
    signers = [key for key in keys if _verifies(key, signature, index)]
    if not signers:
        raise TrustError(
            "signature-invalid",
            "the plain signature of index.json is by none of the release keys",
            where=SIGNATURE,
            expected=f"a signature by one of {', '.join(label(root, key.keyid) for key in keys)}",
            seen=f"{len(signature)} bytes that no key of them made over this index.json",
            hint=AGAIN,
        )
    expected = [_sigstore(signature, key, index) for key in signers]
    if region[SIGSTORE] not in expected:
        raise TrustError(
            "signature-invalid",
            "the Sigstore bundle of index.json does not hold its plain signature",
            where=SIGSTORE,
            expected=f"the {len(expected[0])} bytes that follow from {SIGNATURE} and the key of "
            f"{label(root, signers[0].keyid)}",
            seen=f"{len(region[SIGSTORE])} other bytes",
            hint=AGAIN,
        )


def _sigstore(signature: bytes, key: Key, index: bytes) -> bytes:
    return strictjson.canonical(
        {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "messageSignature": {
                "messageDigest": {"algorithm": "SHA2_256", "digest": _base64(sha256(index).digest())},
                "signature": _base64(signature),
            },
            "verificationMaterial": {
                "publicKey": {"hint": _base64(sha256(material(key)).digest())},
                "tlogEntries": [],  # readers refuse a bundle in which the list is absent
            },
        }
    )


def _verifies(key: Key, signature: bytes, data: bytes) -> bool:
    try:
        key.verify_signature(Signature(key.keyid, signature.hex()), data)
    except UnverifiedSignatureError:
        return False
    return True


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")
