"""TUF metadata, read with bounds, and the one place where signatures are counted.

* size, depth and duplicate keys are judged before python-tuf sees a value (registry.oci.strictjson);
* a key counts once: by its id, and by its material (a root that lists one key under two ids is refused);
* a threshold error says who was expected, who signed and whose signature does not match.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from securesystemslib.exceptions import FormatError
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import Key, SSlibKey
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization import SerializationError

from registry.errors import TrustError
from registry.oci import strictjson
from registry.oci.digest import Digest

Kind = TypeVar("Kind", Root, Timestamp, Snapshot, Targets)
ALGORITHMS = {("ecdsa", "ecdsa-sha2-nistp256"), ("ecdsa", "ecdsa-sha2-nistp384"), ("ed25519", "ed25519")}
NAMES = "x-dryport-names"
"""A root's own field: key id to a person's word for the key. It helps messages and decides nothing."""
AGAIN = "copy the bundle again from where it was signed; if it stays so, tell the signer"
_SIGNATURE = re.compile(r"([0-9a-f]{2}){1,512}")  # one spelling only: a changed letter case is a changed file
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._@-]{0,63}")


@dataclass(frozen=True, slots=True)
class Limits:
    """Most bytes of each kind of metadata, and most roots in a chain (the figures of python-tuf, or lower)."""

    root: int = 512_000
    timestamp: int = 16_384
    snapshot: int = 65_536
    targets: int = 1 << 20
    signature: int = 512
    roots: int = 256


LIMITS = Limits()


def read(name: str, data: bytes, kind: type[Kind]) -> Metadata[Kind]:
    """Return the metadata in `data`; `name` is for messages. Its signatures are not checked here. Raises TrustError."""
    bounded(name, data, getattr(LIMITS, kind.type))
    try:
        return _parse(data, kind)
    except (ValueError, TypeError, KeyError, AttributeError, FormatError, SerializationError) as error:
        raise TrustError(
            "metadata-malformed",
            f"{name} is not TUF {kind.type} metadata: {error}",
            where=name,
            hint=AGAIN,
        ) from error


def bounded(name: str, data: bytes, limit: int) -> None:
    """Raise TrustError if `data` is larger than metadata of its kind ever is."""
    if len(data) > limit:
        raise TrustError(
            "metadata-too-large",
            f"{name} is larger than it can be",
            where=name,
            expected=f"at most {limit} bytes",
            seen=f"{len(data)} bytes",
            hint="do not use this bundle; ask the signer for it again",
        )


def fingerprint(root: bytes) -> Digest:
    """Return the sha256 of a root's canonical signed part: signatures may be added, it stays."""
    return Digest.of(read("root", root, Root).signed_bytes)


def label(root: Root, keyid: str) -> str:
    """Return a key's short id, with its name in the root if there is one."""
    names = root.unrecognized_fields.get(NAMES)
    name = names.get(keyid) if isinstance(names, dict) else None
    known = isinstance(name, str) and _NAME.fullmatch(name) and keyid in root.keys
    return f"{name} ({keyid[:12]!a})".replace("'", "") if known else f"{keyid[:12]!a}".replace("'", "")


def require_threshold(by: Root, metadata: Metadata[Kind], name: str) -> None:
    """Raise TrustError unless enough distinct keys of `by` signed `metadata` for the role it is of."""
    role = by.roles[metadata.signed.type]
    result = by.get_verification_result(metadata.signed.type, metadata.signed_bytes, metadata.signatures)
    if result.verified:
        return
    broken = [keyid for keyid in role.keyids if keyid in metadata.signatures and keyid not in result.signed]
    foreign = [keyid for keyid in metadata.signatures if keyid not in role.keyids]
    is_root = metadata.signed.type == Root.type
    if broken:
        reference, fact = "signature-invalid", "bears a signature that does not match its content"
        hint = "it was changed after signing: copy the bundle again; if it stays so, tell the signer"
    elif foreign and not result.signed:
        reference, fact = f"{'root' if is_root else 'release'}-key-unknown", "is signed by keys this root does not name"
        hint = "ask the signer whether the keys were changed; a bundle with the newer roots brings them along"
    else:
        reference, fact = f"{'root' if is_root else 'release'}-below-threshold", "is not signed by enough keys"
        hint = (
            "sign with the missing keys: dryport key sign-root" if is_root else "ask for a bundle that all have signed"
        )
    seen = [f"signed by {label(by, keyid)}" for keyid in result.signed]
    seen += [f"not matching: {label(by, keyid)}" for keyid in broken]
    seen += [f"unknown: {label(by, keyid)}" for keyid in foreign[:8]]
    wanted = ", ".join(label(by, keyid) for keyid in role.keyids)
    raise TrustError(
        reference,
        f"{name} {fact}",
        where=name,
        expected=f"{role.threshold} of the {metadata.signed.type} keys of root {by.version}: {wanted}",
        seen="; ".join(seen) or "no signature",
        hint=hint,
    )


def material(key: Key) -> bytes:
    """Return a public key's one encoding, whatever the spelling in metadata. Raises ValueError."""
    if not isinstance(key, SSlibKey) or (key.keytype, key.scheme) not in ALGORITHMS:
        raise ValueError(f"key {key.keyid[:12]} is of the kind {key.keytype}/{key.scheme}, which is not accepted")
    public = key.keyval["public"]
    if key.keytype == "ed25519":
        return bytes.fromhex(public)
    try:
        return load_pem_public_key(public.encode()).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from error


def _parse(data: bytes, kind: type[Kind]) -> Metadata[Kind]:
    value = strictjson.loads(data)
    spelled = str(encode_canonical(value["signed"])).encode()
    metadata: Metadata[Kind] = Metadata.from_dict(value)
    if metadata.signed.type != kind.type:
        raise ValueError(f"it says it is {metadata.signed.type}")
    if type(metadata.signed.version) is not int:
        raise ValueError("version is not a whole number")
    if not all(_SIGNATURE.fullmatch(one.signature) for one in metadata.signatures.values()):
        raise ValueError("a signature is not lower-case hexadecimal")
    if metadata.signed_bytes != spelled:  # python-tuf would verify its own spelling (of a time, say), not the file's
        raise ValueError("it is not spelled as it was signed")
    if isinstance(metadata.signed, Root):
        _check_keys(metadata.signed)
    return metadata


def _check_keys(root: Root) -> None:
    if len({material(key) for key in root.keys.values()}) != len(root.keys):
        raise ValueError("one key is listed under two ids")
    for name, role in root.roles.items():
        if type(role.threshold) is not int or len(role.keyids) < role.threshold or set(role.keyids) - set(root.keys):
            raise ValueError(f"the {name} role cannot reach its threshold with the keys it names")
