"""The promise that a reviewer with cosign and the release key needs neither dryport nor a network."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bundles.trust.detached import SIGSTORE
from bundles.trust.keys import generate
from bundles.trust.signers import open_signer
from tests.attacks.publisher import Publisher
from tests.conftest import absent
from tests.lab.peers import PeerError, peer


@pytest.fixture(scope="module")
def cosign() -> str:
    try:
        return str(peer("cosign"))
    except PeerError as error:
        absent(str(error))
        raise


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What lies on the reviewer's desk: index.json, the Sigstore bundle, release.pub; and a stranger's key."""
    generate("release", tmp_path)
    generate("stranger", tmp_path)
    publisher = Publisher()
    publisher.rotate(release=[open_signer(str(tmp_path / "release.pem"))])
    region, index = publisher.bundle()
    (tmp_path / "index.json").write_bytes(index)
    (tmp_path / "index.json.sigstore.json").write_bytes(region[SIGSTORE])
    return tmp_path


def verified(cosign: str, folder: Path, key: str = "release.pub") -> bool:
    """Say whether cosign verifies it, without a network: every proxy leads nowhere, and no home has a cache."""
    arguments = ["verify-blob", "--key", key, "--bundle", "index.json.sigstore.json", "--insecure-ignore-tlog"]
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:1")
    done = subprocess.run(
        [cosign, *arguments, "index.json"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **nowhere},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode == 0) == ("Verified OK" in done.stderr + done.stdout), done.stderr
    return done.returncode == 0


def test_cosign_finds_the_index_signed_by_the_release_key_and_by_no_other(cosign: str, folder: Path):
    assert verified(cosign, folder)
    assert not verified(cosign, folder, "stranger.pub")


def test_cosign_refuses_a_changed_index(cosign: str, folder: Path):
    (folder / "index.json").write_bytes((folder / "index.json").read_bytes() + b" ")
    assert not verified(cosign, folder)
