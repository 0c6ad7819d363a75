"""Keys in files: a private key as PKCS#8 PEM (mode 0600, optionally encrypted), its public half as PEM beside it.

ECDSA P-256 everywhere: openssl of any age, PIV cards, PKCS#11 tokens and FIPS 140 modules agree on it. A public key's
name is its file's name; it goes into the root so that messages can say `alice` where ids alone would stand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.signer import Key, SSlibKey

from registry.errors import SiteError, UsageError
from registry.store import durable

_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")
_FILE_BYTES = 16_384
_EXPOSED = 0o077


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key and a person's word for it."""

    name: str
    key: Key


def generate(name: str, folder: Path, passphrase: bytes | None = None) -> PublicKey:
    """Write a new key as NAME.pem and NAME.pub into `folder`; an existing file is never replaced. Raises UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError("key-name", f"not a name for a key: {name!r:.80}", hint="letters, digits, dot, dash")
    private = ec.generate_private_key(ec.SECP256R1())
    encryption: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    secret, public = folder / f"{name}.pem", folder / f"{name}.pub"
    durable.make_folder(folder, 0o700)
    for path in (secret, public):
        if path.exists():
            hint = "choose another name"
            if path == secret and not public.exists():
                hint += f"; to write its public half again: openssl pkey -in {secret} -pubout -out {public}"
            raise UsageError("key-exists", "a key is never overwritten", where=str(path), hint=hint)
    durable.create(secret, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption), 0o600)
    spelled = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    durable.create(public, spelled, 0o644)
    return PublicKey(name, SSlibKey.from_crypto(private.public_key()))


def read_public(path: Path) -> PublicKey:
    """Return the public key in a PEM file. Raises UsageError."""
    try:
        key = load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        hint = "give the .pub file; from a private key: openssl pkey -in KEY.pem -pubout"
        raise UsageError("key-unreadable", "not a public key in PEM form", where=str(path), hint=hint) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _wrong_kind(path)
    return PublicKey(re.sub(r"[^0-9A-Za-z._-]", "_", path.stem)[:64], SSlibKey.from_crypto(key))


def read_private(path: Path, passphrase: bytes | None) -> ec.EllipticCurvePrivateKey:
    """Return the private key in a PEM file; raises UsageError with `passphrase-needed` if it is encrypted."""
    data = _read(path)
    try:
        key = load_pem_private_key(data, passphrase if b"ENCRYPTED" in data else None)
    except TypeError as error:
        hint = "give --passphrase-file, or run it at a terminal"
        raise UsageError("passphrase-needed", "the key is encrypted", where=str(path), hint=hint) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(
            "passphrase-wrong" if b"ENCRYPTED" in data else "key-unreadable",
            "the passphrase does not open this key" if b"ENCRYPTED" in data else "not a private key in PEM form",
            where=str(path),
            hint="give the .pem file that `dryport key new` made, and its passphrase if it has one",
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _wrong_kind(path)
    mode = path.stat().st_mode & 0o777
    if mode & _EXPOSED and b"ENCRYPTED" not in data:  # an encrypted key may lie on a stick that knows no modes
        raise SiteError(
            "key-exposed",
            "others on this machine can read this private key, and it has no passphrase",
            where=str(path),
            expected="mode 600",
            seen=f"mode {mode:o}",
            hint=f"chmod 600 {path}",
        )
    return key


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_FILE_BYTES)
    except OSError as error:
        raise UsageError(
            "key-unreadable",
            error.strerror or str(error),
            where=str(path),
            hint="give a key file that `dryport key new` made, readable by this user",
        ) from error


def _wrong_kind(path: Path) -> UsageError:
    return UsageError("key-kind", "keys are ECDSA on the curve P-256", where=str(path), hint="dryport key new NAME")
