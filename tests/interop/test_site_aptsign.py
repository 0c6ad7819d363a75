"""The site's clear signature, judged by Debian's own gpgv, as apt does it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from installer.site import aptsign
from registry.errors import MediaError
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import EMPTY_BYTES, OCI_MANIFEST, TITLE, Manifest, artifact
from registry.store.store import Store
from tests.conftest import need

RELEASE = b"Origin: dryport\nSuite: dryport\n- a line with a dash\nSHA256:\n 00 1 main/binary-amd64/Packages\n"
REPOSITORY = "dryport/apt/host"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    aptsign.ensure_key(tmp_path / "key.pgp", tmp_path / "key.asc", "dryport site alpha")
    return tmp_path / "key.pgp"


def bundled(folder: Path, release: bytes = RELEASE, title: str = "dists/dryport/Release") -> Store:
    """What a bundle carries, as a store."""
    store = Store.open(folder)
    layers = []
    for name, data in ((title, release), ("pool/python3_1_amd64.deb", b"deb")):
        store.put_blob(REPOSITORY, Digest.of(data), [data])
        layers.append(Descriptor("application/x", Digest.of(data), len(data), {TITLE: name}))
    store.put_blob(REPOSITORY, Digest.of(EMPTY_BYTES), [EMPTY_BYTES])
    notes = {"dev.dryport.apt.packages": "python3"}
    store.put_manifest(REPOSITORY, artifact("application/vnd.dryport.apt.v1", layers, notes), OCI_MANIFEST, ["1.0.0"])
    return store


def signed_form(store: Store) -> Manifest:
    named = store.resolve(REPOSITORY, "1.0.0-site")
    assert named
    found = store.manifest(REPOSITORY, named.digest)
    assert found
    return Manifest.parse(*found)


def in_release(store: Store) -> bytes:
    layer = next(one for one in signed_form(store).blobs if one.annotations.get(TITLE) == "dists/dryport/InRelease")
    content = store.blob(REPOSITORY, layer.digest)
    assert content
    return content.read(0, content.size)


def gpgv(folder: Path, key: Path, data: bytes) -> subprocess.CompletedProcess[bytes]:
    need("gpgv", "gpg")
    (folder / "InRelease").write_bytes(data)
    keyring = ["gpg", "--homedir", str(folder), "--dearmor", "--output", str(folder / "ring.gpg")]
    if not (folder / "ring.gpg").exists():
        subprocess.run([*keyring, str(key.with_suffix(".asc"))], check=True, capture_output=True)
    check = ["gpgv", "--keyring", str(folder / "ring.gpg"), "--output", "-", str(folder / "InRelease")]
    return subprocess.run(check, check=False, capture_output=True)


def test_gpgv_accepts_the_sites_signature_and_gives_the_release_back(tmp_path: Path, key: Path) -> None:
    done = gpgv(tmp_path, key, aptsign.clear_sign(RELEASE, key))
    assert done.returncode == 0, done.stderr
    assert done.stdout == RELEASE


def test_gpgv_refuses_a_release_that_was_changed_after_signing(tmp_path: Path, key: Path) -> None:
    signed = aptsign.clear_sign(RELEASE, key)
    assert gpgv(tmp_path, key, signed.replace(b"amd64", b"arm64")).returncode != 0


def test_gpgv_refuses_the_signature_of_another_site(tmp_path: Path, key: Path) -> None:
    other = tmp_path / "other.pgp"
    aptsign.ensure_key(other, tmp_path / "other.asc", "dryport site beta")
    assert gpgv(tmp_path, key, aptsign.clear_sign(RELEASE, other)).returncode != 0


def test_the_signed_form_names_the_same_packages_and_copies_none(tmp_path: Path, key: Path) -> None:
    with bundled(tmp_path / "bundle") as source, Store.open(tmp_path / "site") as store:
        assert aptsign.sign_repository(source, store, REPOSITORY, "1.0.0", key) == "1.0.0-site"
        base = source.resolve(REPOSITORY, "1.0.0")
        assert base
        found = source.manifest(REPOSITORY, base.digest)
        assert found
        assert signed_form(store).blobs[:-1] == Manifest.parse(*found).blobs
        assert not store.has_blob(REPOSITORY, Digest.of(b"deb"))
        assert gpgv(tmp_path, key, in_release(store)).stdout == RELEASE


def test_signing_again_changes_nothing_and_a_new_release_or_key_is_signed_anew(tmp_path: Path, key: Path) -> None:
    with bundled(tmp_path / "bundle") as source, Store.open(tmp_path / "site") as store:
        aptsign.sign_repository(source, store, REPOSITORY, "1.0.0", key)
        first = signed_form(store)
        aptsign.sign_repository(source, store, REPOSITORY, "1.0.0", key)
        assert signed_form(store) == first
        with bundled(tmp_path / "second", RELEASE + b"Label: x\n") as changed:
            aptsign.sign_repository(changed, store, REPOSITORY, "1.0.0", key)
        assert gpgv(tmp_path, key, in_release(store)).stdout == RELEASE + b"Label: x\n"
        key.unlink()
        aptsign.ensure_key(key, key.with_suffix(".asc"), "dryport site alpha")
        (tmp_path / "ring.gpg").unlink()
        aptsign.sign_repository(source, store, REPOSITORY, "1.0.0", key)
        assert gpgv(tmp_path, key, in_release(store)).returncode == 0


@pytest.mark.parametrize("title", ["dists/dryport/Releases", "dists/../Release", "Release"])
def test_an_artefact_without_a_release_file_is_refused(tmp_path: Path, key: Path, title: str) -> None:
    with bundled(tmp_path / "bundle", title=title) as source, Store.open(tmp_path / "site") as store:
        with pytest.raises(MediaError) as caught:
            aptsign.sign_repository(source, store, REPOSITORY, "1.0.0", key)
        assert caught.value.reference == "apt-release-missing"
        assert store.resolve(REPOSITORY, "1.0.0-site") is None


def test_a_signature_that_the_store_lost_is_made_anew(tmp_path: Path, key: Path) -> None:
    with bundled(tmp_path / "bundle") as source, Store.open(tmp_path / "own") as store:
        aptsign.sign_repository(source, store, REPOSITORY, "1.0.0", key)
        next((tmp_path / "own").rglob(Digest.of(in_release(store)).hex)).unlink()
        aptsign.sign_repository(source, store, REPOSITORY, "1.0.0", key)
        assert gpgv(tmp_path, key, in_release(store)).stdout == RELEASE
