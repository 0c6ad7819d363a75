"""Keys in files: how they are made, who may read them, and what a wrong file is answered."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from bundles.trust.keys import generate, read_public
from bundles.trust.signers import open_signer, sign_detached
from registry.errors import DryportError, SiteError, UsageError


def reference(caught: pytest.ExceptionInfo[DryportError]) -> str:
    return caught.value.reference


def test_a_new_key_is_a_private_file_of_its_owner_and_a_public_file_for_all(tmp_path: Path):
    made = generate("alice", tmp_path / "keys")
    secret, public = tmp_path / "keys/alice.pem", tmp_path / "keys/alice.pub"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert b"BEGIN PRIVATE KEY" in secret.read_bytes()  # PKCS#8, as every tool reads it
    assert read_public(public) == made
    assert open_signer(str(secret)).public_key.keyid == made.key.keyid
    assert sorted(path.name for path in secret.parent.iterdir()) == ["alice.pem", "alice.pub"]


@pytest.mark.parametrize("taken", ["alice.pem", "alice.pub"])
def test_a_key_is_never_overwritten(tmp_path: Path, taken: str):
    (tmp_path / taken).write_bytes(b"precious")
    with pytest.raises(UsageError) as caught:
        generate("alice", tmp_path)
    assert reference(caught) == "key-exists"
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"precious"]


@pytest.mark.parametrize("name", ["", "../alice", "a/b", ".alice", "a" * 65])
def test_a_name_that_is_more_than_a_name_is_refused(tmp_path: Path, name: str):
    with pytest.raises(UsageError) as caught:
        generate(name, tmp_path)
    assert reference(caught) == "key-name"


def test_an_encrypted_key_opens_with_its_passphrase_and_with_no_other(tmp_path: Path):
    generate("alice", tmp_path, b"correct horse")
    path = str(tmp_path / "alice.pem")
    assert b"ENCRYPTED" in (tmp_path / "alice.pem").read_bytes()
    open_signer(path, lambda: b"correct horse")
    with pytest.raises(UsageError) as caught:
        open_signer(path, lambda: b"battery staple")
    assert reference(caught) == "passphrase-wrong"
    with pytest.raises(UsageError) as caught:
        open_signer(path)
    assert reference(caught) == "passphrase-needed"


def test_nobody_is_asked_for_a_passphrase_that_no_key_needs(tmp_path: Path):
    generate("alice", tmp_path)

    def ask() -> bytes:
        raise AssertionError("asked for nothing")

    open_signer(str(tmp_path / "alice.pem"), ask)


def test_a_key_that_others_can_read_is_refused_unless_it_is_encrypted(tmp_path: Path):
    generate("alice", tmp_path)
    generate("bob", tmp_path, b"secret")
    for name in ("alice", "bob"):
        (tmp_path / f"{name}.pem").chmod(0o640)
    with pytest.raises(SiteError) as caught:
        open_signer(str(tmp_path / "alice.pem"))
    assert reference(caught) == "key-exposed"
    assert caught.value.hint.startswith("chmod 600")
    open_signer(str(tmp_path / "bob.pem"), lambda: b"secret")
    (tmp_path / "alice.pem").chmod(0o400)
    open_signer(str(tmp_path / "alice.pem"))


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP256K1()])
def test_a_key_of_another_kind_is_refused(tmp_path: Path, curve: ec.EllipticCurve):
    private = ec.generate_private_key(curve)
    secret, public = tmp_path / "k.pem", tmp_path / "k.pub"
    secret.touch(0o600)
    secret.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    for read in (lambda: open_signer(str(secret)), lambda: read_public(public)):
        with pytest.raises(UsageError) as caught:
            read()
        assert reference(caught) == "key-kind"


def test_a_private_key_given_as_public_and_the_other_way_round_are_refused(tmp_path: Path):
    generate("alice", tmp_path)
    for read in (lambda: read_public(tmp_path / "alice.pem"), lambda: open_signer(str(tmp_path / "alice.pub"))):
        with pytest.raises(UsageError) as caught:
            read()
        assert reference(caught) == "key-unreadable"
        assert "PRIVATE" not in str(caught.value)


def test_a_key_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(UsageError) as caught:
        open_signer(f"file:{tmp_path}/nobody.pem")
    assert (reference(caught), caught.value.where) == ("key-unreadable", f"{tmp_path}/nobody.pem")


def test_a_scheme_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(UsageError) as caught:
        open_signer("kms:release")
    assert reference(caught) == "key-scheme-unknown"
    assert "file:" in caught.value.expected


def test_a_detached_signature_is_der_over_sha256(tmp_path: Path):
    generate("release", tmp_path)
    signature = sign_detached(open_signer(f"file:{tmp_path}/release.pem"), b"content")
    private = load_pem_private_key((tmp_path / "release.pem").read_bytes(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    private.public_key().verify(signature, b"content", ec.ECDSA(SHA256()))
