"""Keys on a PKCS#11 token: SoftHSM signs a root and a release, and its PIN stands in no argument."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundles.trust.signers import open_signer, sign_detached
from registry.errors import DryportError
from tests.attacks.publisher import NOW, Publisher, judge
from tests.conftest import absent, need

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "7391"


@pytest.fixture(scope="module")  # a process loads the module, and reads its configuration, once
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    need("softhsm2-util", "pkcs11-tool", "openssl")
    try:
        import pkcs11  # noqa: F401, PLC0415 - an optional library
    except ImportError:
        absent("python-pkcs11 is not installed")
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\n")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SOFTHSM2_CONF", str(folder / "softhsm2.conf"))
        start = ["softhsm2-util", "--init-token", "--free", "--label", "trial", "--pin", PIN, "--so-pin", PIN]
        tool = ["pkcs11-tool", "--module", str(MODULE), "--token-label", "trial", "--login", "--pin", PIN]
        make = [*tool, "--keypairgen", "--key-type", "EC:prime256v1", "--id", "02"]
        for command in (start, make):
            subprocess.run(command, check=True, capture_output=True)
        yield f"pkcs11:token=trial;id=02?module-path={MODULE}"


def test_a_key_on_a_token_signs_a_release_that_a_site_and_plain_openssl_accept(token: str, tmp_path: Path):
    publisher = Publisher()
    signer = open_signer(token, PIN.encode)
    publisher.rotate(release=[signer])
    region, index = publisher.bundle()
    judge(region, index, publisher.begin(), now=NOW)
    files = {"key": signer.public_key.to_dict()["keyval"]["public"].encode(), "index": index}
    for name, data in (files | {"sig": region["metadata/index.json.sig"]}).items():
        (tmp_path / name).write_bytes(data)
    check = ["openssl", "dgst", "-sha256", "-verify", "key", "-signature", "sig", "index"]
    assert subprocess.run(check, cwd=tmp_path, check=True, capture_output=True, text=True).stdout == "Verified OK\n"


def test_a_key_on_a_token_answers_for_a_root(token: str):
    publisher = Publisher()
    publisher.rotate(people=[open_signer(token, PIN.encode), *publisher.people[1:]])
    state, _, _ = judge(*publisher.bundle(), publisher.begin(), now=NOW)
    assert len(state.roots) == 2


def test_a_wrong_pin_a_wrong_id_and_a_wrong_module_are_told_and_no_pin_is_repeated(token: str):
    signer = open_signer(token, lambda: b"000099")
    with pytest.raises(DryportError) as caught:
        sign_detached(signer, b"data")
    assert caught.value.reference == "token-unusable"
    assert "000099" not in str(caught.value)
    for wrong in (token.replace("id=02", "id=07"), token.replace("libsofthsm2", "libnothing")):
        with pytest.raises(DryportError, match="does not sign") as caught:
            open_signer(wrong, PIN.encode)
        assert caught.value.hint


@pytest.mark.parametrize("uri", ["pkcs11:token=a", "pkcs11:token=a;id=zz?module-path=m", "pkcs11:x"])
def test_a_uri_of_another_form_is_refused(uri: str):
    with pytest.raises(DryportError) as caught:
        open_signer(uri, PIN.encode)
    assert caught.value.reference == "key-uri-malformed"


def test_a_pin_in_a_uri_is_refused_and_not_repeated():
    with pytest.raises(DryportError, match="a PIN never stands in a URI") as caught:
        open_signer(f"pkcs11:token=a;id=02?module-path=m&pin-value={PIN}", PIN.encode)
    assert PIN not in f"{caught.value} {caught.value.seen}"


def test_without_a_way_to_ask_for_the_pin_it_says_how_to_give_it():
    with pytest.raises(DryportError) as caught:
        open_signer("pkcs11:token=a;id=02?module-path=m", None)
    assert caught.value.reference == "passphrase-needed"
