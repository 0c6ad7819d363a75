"""The promise that a release and its keys can be checked with openssl alone, and made with it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bundles.trust.detached import forms
from bundles.trust.keys import generate, read_public
from bundles.trust.signers import open_signer, sign_detached
from bundles.trust.verify import judge
from tests.attacks.publisher import NOW, Publisher
from tests.conftest import need

pytestmark = pytest.mark.interop


@pytest.fixture(autouse=True)
def _openssl() -> None:
    need("openssl")


def openssl(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *map(str, arguments)], check=False, capture_output=True, text=True)


def checks(folder: Path) -> bool:
    """Say whether openssl finds index.json signed by release.pub."""
    files = ("-verify", folder / "release.pub", "-signature", folder / "index.json.sig", folder / "index.json")
    done = openssl("dgst", "-sha256", *files)
    assert (done.returncode == 0) == (done.stdout.strip() == "Verified OK")
    return done.returncode == 0


def test_openssl_finds_the_index_of_a_signed_bundle_signed_and_a_changed_one_not(tmp_path: Path):
    generate("release", tmp_path)
    publisher = Publisher()
    publisher.rotate(release=[open_signer(str(tmp_path / "release.pem"))])
    region, index = publisher.bundle()
    (tmp_path / "index.json").write_bytes(index)
    (tmp_path / "index.json.sig").write_bytes(region["metadata/index.json.sig"])
    assert checks(tmp_path)
    (tmp_path / "index.json").write_bytes(index + b" ")
    assert not checks(tmp_path)
    (tmp_path / "index.json").write_bytes(index)
    generate("other", tmp_path)
    (tmp_path / "index.json.sig").write_bytes(sign_detached(open_signer(str(tmp_path / "other.pem")), index))
    assert not checks(tmp_path)


def test_a_key_and_a_signature_made_by_openssl_are_as_good_as_ours(tmp_path: Path):
    secret, public = tmp_path / "release.pem", tmp_path / "release.pub"
    made = openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", secret)
    assert made.returncode == 0, made.stderr
    secret.chmod(0o600)
    assert openssl("pkey", "-in", secret, "-pubout", "-out", public).returncode == 0
    signer = open_signer(str(secret))
    assert read_public(public).key.keyid == signer.public_key.keyid
    publisher = Publisher()
    publisher.rotate(release=[signer])
    region, index = publisher.bundle()
    (tmp_path / "index.json").write_bytes(index)
    signed = openssl("dgst", "-sha256", "-sign", secret, "-out", tmp_path / "index.json.sig", tmp_path / "index.json")
    assert signed.returncode == 0, signed.stderr
    theirs = region | forms((tmp_path / "index.json.sig").read_bytes(), signer.public_key, index)
    judge(theirs, index, publisher.begin(), now=NOW)


def test_openssl_reads_the_keys_we_write_encrypted_or_not(tmp_path: Path):
    generate("plain", tmp_path)
    generate("locked", tmp_path, b"correct horse")
    (tmp_path / "word").write_text("correct horse\n")
    for name, extra in (("plain", ()), ("locked", ("-passin", f"file:{tmp_path}/word"))):
        public = openssl("pkey", "-in", tmp_path / f"{name}.pem", "-pubout", *extra)
        assert public.stdout == (tmp_path / f"{name}.pub").read_text(), public.stderr
