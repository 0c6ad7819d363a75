"""A hostile tool copy: the dryport on the stick was changed. Plain openssl tells, before any of it runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bundles.kit import sign_kit
from bundles.trust.keys import generate
from bundles.trust.signers import open_signer
from tests.conftest import need


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    """A stick with a kit that alice signed; her public key came on paper. The signature covers any bytes."""
    need("openssl")
    for name in ("alice", "mallory"):
        generate(name, tmp_path)
    (tmp_path / "kit.tar").write_bytes(b"a tar of the installer" * 1000)
    sign_kit(tmp_path / "kit.tar", open_signer(str(tmp_path / "alice.pem")))
    return tmp_path


def is_alices(stick: Path) -> bool:
    """Check as docs/trust.md says, step 5."""
    files = ("-verify", "alice.pub", "-signature", "kit.tar.sig", "kit.tar")
    done = subprocess.run(
        ["openssl", "dgst", "-sha256", *files], cwd=stick, check=False, capture_output=True, text=True
    )
    assert (done.returncode == 0) == (done.stdout.strip() == "Verified OK")
    return done.returncode == 0


def test_the_honest_kit_is_told_as_its_signers(stick: Path):
    assert is_alices(stick)


@pytest.mark.parametrize("at", [0, 11_000, 21_999])
def test_a_kit_with_one_changed_bit_is_told(stick: Path, at: int):
    kit = bytearray((stick / "kit.tar").read_bytes())
    kit[at] ^= 1
    (stick / "kit.tar").write_bytes(kit)
    assert not is_alices(stick)


def test_a_kit_with_something_put_on_is_told(stick: Path):
    with (stick / "kit.tar").open("ab") as file:
        file.write(b"\0")
    assert not is_alices(stick)


def test_a_kit_that_somebody_else_signed_is_told(stick: Path):
    sign_kit(stick / "kit.tar", open_signer(str(stick / "mallory.pem")))
    assert not is_alices(stick)
