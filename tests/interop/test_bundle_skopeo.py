"""A bundle is readable without dryport: tar, bsdtar, sha256sum, openssl and skopeo, as docs/bundle-format.md says."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from bundles.archive import tar
from registry.oci.digest import Digest
from registry.store import durable
from tests.attacks.publisher import Publisher
from tests.bench.registries.contenders import Start, running
from tests.conftest import need
from tests.lab.peers import peer
from tests.sample_bundles import API, WEB, Sample, noise

PUBLISHER = Publisher(product="sample")
SIZES = {"base": 5_000_000, "app": 20_000}
LAYERS = {name: gzip.compress(noise(name, size), mtime=0) for name, size in SIZES.items()}
SAMPLE = Sample.of(LAYERS)


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "sample.tar"
    SAMPLE.publish(path, PUBLISHER)
    return path


@pytest.fixture(params=["tar", "bsdtar"])
def opened(request: pytest.FixtureRequest, bundle: Path, tmp_path: Path) -> Path:
    need(request.param)
    run(request.param, "-C", tmp_path, "-xf", bundle)
    return tmp_path


def test_gnu_tar_lists_the_metadata_first(bundle: Path):
    need("tar")
    names = run("tar", "-tf", bundle).splitlines()
    assert names[:3] == ["oci-layout", "index.json", "metadata/1.root.json"]
    assert names[names.index("metadata/pad") + 1] == "SHA256SUMS"
    assert all(name.startswith("blobs/sha256/") for name in names[names.index("SHA256SUMS") + 1 :])


@pytest.mark.parametrize("program", ["tar", "bsdtar"])
@pytest.mark.parametrize("size", [tar.ALIGNED_SIZE, (8 << 30) - 1, 9 << 30])
def test_other_programs_step_over_the_comment_before_a_large_blob(program: str, size: int, tmp_path: Path):
    need(program)
    path, name, last = tmp_path / "holes.tar", "blobs/sha256/" + "a" * 64, "blobs/sha256/" + "b" * 64
    header = tar.header(name, size, tar.header_length(size, 0))
    end = len(header) + tar.padded(size)
    durable.create(path, header)
    with path.open("r+b") as file:
        file.seek(end)
        file.write(tar.header(last, 0) + tar.END)
    lines = [line.split() for line in run(program, "-tvf", path).splitlines()]
    assert [line[-1] for line in lines] == [name, last]
    assert str(size) in lines[0]


def test_sha256sum_checks_every_member_outside_the_region(opened: Path):
    need("sha256sum")
    said = run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=opened)
    there = {str(one.relative_to(opened)) for one in opened.rglob("*") if one.is_file()}
    checked = {line.removesuffix(": OK") for line in said.splitlines()}
    assert checked == {one for one in there if not one.startswith("metadata/")} - {"SHA256SUMS"}


def test_openssl_checks_the_signature_on_the_index(opened: Path):
    need("openssl")
    pem = PUBLISHER.release[0].public_key.keyval["public"].encode()
    key = load_pem_public_key(pem)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    durable.create(opened / "release.pub", key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    check = ("openssl", "dgst", "-sha256", "-verify", "release.pub", "-signature", "metadata/index.json.sig")
    assert run(*check, "index.json", cwd=opened) == "Verified OK\n"
    durable.append(opened / "index.json", b" ")
    assert subprocess.run([*check, "index.json"], cwd=opened, capture_output=True, check=False).returncode != 0


def test_oras_reads_an_image_of_the_bundle(bundle: Path, tmp_path: Path):
    oras = str(peer("oras"))
    web = SAMPLE.lock.artifacts[0]
    # A reference with a colon of its own is not split by oras' other form, PATH:TAG.
    run(oras, "copy", "--no-tty", "--from-oci-layout-path", bundle, WEB, "--to-oci-layout", f"{tmp_path}/out:web")
    for blob in (web.root, *web.blobs):
        assert blob.digest.matches((tmp_path / "out/blobs/sha256" / blob.digest.hex).read_bytes())


def test_crane_pushes_the_extracted_layout(tmp_path: Path):
    """Crane pushes a layout's index with all that it names, so of a bundle that leaves no platform out."""
    crane, web = str(peer("crane")), SAMPLE.lock.artifacts[0]
    whole = Sample(SAMPLE.lock.model_copy(update={"artifacts": [web]}), SAMPLE.sources)
    whole.publish(tmp_path / "whole.tar", PUBLISHER)
    (tmp_path / "opened").mkdir()
    run("tar", "-C", tmp_path / "opened", "-xf", tmp_path / "whole.tar")
    start = Start("distribution", str(peer("distribution")), tmp_path / "registry")
    with running(start) as registry:
        target = f"127.0.0.1:{registry.port}/all"
        run(crane, "push", "--insecure", "--index", tmp_path / "opened", f"{target}:bundle")
        assert run(crane, "manifest", "--insecure", f"{target}@{web.root.digest}") == getattr(
            web.root.origin, "text", ""
        )
        for layer in web.blobs[1:]:
            done = subprocess.run(
                [crane, "blob", "--insecure", f"{target}@{layer.digest}"], capture_output=True, check=True
            )
            assert layer.digest.matches(done.stdout)


@pytest.mark.parametrize("reference", [WEB, API])
def test_skopeo_inspects_an_image_in_the_bundle(bundle: Path, reference: str):
    need("skopeo")
    seen = json.loads(run("skopeo", "inspect", f"oci-archive:{bundle}:{reference}"))
    assert seen["Architecture"] == "amd64"
    assert str(Digest.of(LAYERS["base"])) in seen["Layers"]


def test_skopeo_copies_one_image_out_byte_for_byte(bundle: Path, tmp_path: Path):
    need("skopeo")
    run("skopeo", "copy", "--quiet", f"oci-archive:{bundle}:{WEB}", f"oci:{tmp_path}/out:web")
    web = SAMPLE.lock.artifacts[0]
    (found,) = json.loads((tmp_path / "out" / "index.json").read_bytes())["manifests"]
    assert found["digest"] == str(web.root.digest)
    for blob in (web.root, *web.blobs):
        assert blob.digest.matches((tmp_path / "out" / "blobs" / "sha256" / blob.digest.hex).read_bytes())
