"""buildah and containerd push to and pull from our registry, with TLS checked and a user's password."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from registry.oci.digest import Digest
from registry.oci.manifest import DOCKER_LIST, OCI_INDEX
from tests.conftest import absent, need, need_root
from tests.interop.registry_site import PASSWORD, USER, Site, run, served
from tests.oci_samples import image


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with served(tmp_path) as opened:
        yield opened


def test_buildah_pushes_and_pulls_an_image_and_an_index(site: Site) -> None:
    need("buildah")
    need_root()
    access = ("--authfile", str(site.login), "--cert-dir", str(site.certificates))
    remote = f"{site.address}/team/built"
    sample = image()
    with tempfile.TemporaryDirectory(prefix="dp-") as short:
        program = ("buildah", "--root", f"{short}/root", "--runroot", f"{short}/run", "--storage-driver", "vfs")
        made = run(*program, "pull", "-q", f"oci:{site.layout(sample)}:1.0").split()[-1]
        run(*program, "push", *access, made, f"docker://{remote}:1.0")
        run(*program, "manifest", "create", "several")
        run(*program, "manifest", "add", *access, "several", f"docker://{remote}:1.0")
        run(*program, "manifest", "push", "--all", *access, "several", f"docker://{remote}:several")
        run(*program, "rmi", "--all", "--force")
        run(*program, "pull", "-q", *access, f"docker://{remote}:several")
    assert list(site.store.tags("team/built")) == ["1.0", "several"]
    listed = site.store.resolve("team/built", "several")
    assert listed is not None
    assert listed.media_type in (OCI_INDEX, DOCKER_LIST)


@contextmanager
def containerd() -> Iterator[tuple[str, ...]]:
    """Run a containerd of this test alone, and give the command that speaks to it."""
    with tempfile.TemporaryDirectory(prefix="dp-") as short:
        config = Path(short) / "config.toml"
        config.write_text(
            f'version = 2\nroot = "{short}/root"\nstate = "{short}/state"\n'
            f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "{short}/sock"\n'
        )
        with (Path(short) / "log").open("wb") as log:
            daemon = subprocess.Popen(["containerd", "-c", str(config)], stdout=log, stderr=log)
        try:
            for _ in range(150):
                if (Path(short) / "sock").exists() or daemon.poll() is not None:
                    break
                time.sleep(0.1)
            if daemon.poll() is not None:
                absent(f"containerd does not run here: {(Path(short) / 'log').read_text()[-300:]}")
            yield ("ctr", "--address", f"{short}/sock")
        finally:
            daemon.terminate()
            daemon.wait(20)


def hosts(site: Site, *names: str) -> Path:
    """Write containerd's configuration: these registries are reached at ours, and ours by the authority's word."""
    folder = site.folder / "hosts"
    for name in (site.address, *names):
        place = folder / name
        place.mkdir(parents=True)
        where = f"https://{site.address}"
        (place / "hosts.toml").write_text(
            f'server = "{where}"\n[host."{where}"]\n'
            f'capabilities = ["pull", "resolve", "push"]\nca = "{site.ca}"\nskip_verify = false\n'
        )
    return folder


def test_containerd_imports_pushes_and_pulls_by_tag_and_by_digest(site: Site) -> None:
    need("containerd", "ctr", "skopeo")
    need_root()
    sample = image()
    digest = Digest.of(sample.manifest)
    archive = site.folder / "image.tar"
    name = f"{site.address}/team/app:1.0"
    run("skopeo", "copy", f"oci:{site.layout(sample)}:1.0", f"oci-archive:{archive}:1.0")
    access = ("--user", f"{USER}:{PASSWORD}", "--hosts-dir", str(hosts(site)))
    with containerd() as ctr:
        run(*ctr, "images", "import", "--no-unpack", "--index-name", name, str(archive))
        listed = run(*ctr, "images", "list", "-q").split()
        run(*ctr, "images", "push", *access, name, listed[0])
        run(*ctr, "images", "rm", "--sync", *listed)
        run(*ctr, "images", "pull", "--snapshotter", "native", *access, name)
        run(*ctr, "content", "fetch", *access, f"{site.address}/team/app@{digest}")
        pulled = run(*ctr, "content", "get", str(digest))
    assert json.loads(pulled) == json.loads(sample.manifest)
    assert list(site.store.tags("team/app")) == ["1.0"]


def test_containerd_pulls_an_image_by_its_upstream_name_from_us_as_mirror(site: Site) -> None:
    need("containerd", "ctr", "skopeo")
    need_root()
    sample = image()
    run("skopeo", "copy", "--preserve-digests", "--authfile", str(site.login), "--dest-cert-dir",
        str(site.certificates), f"oci:{site.layout(sample)}:1.0",
        f"docker://{site.address}/upstream.example.org/team/app:1.0")  # fmt: skip
    access = ("--user", f"{USER}:{PASSWORD}", "--hosts-dir", str(hosts(site, "upstream.example.org")))
    with containerd() as ctr:
        run(*ctr, "images", "pull", "--snapshotter", "native", *access, "upstream.example.org/team/app:1.0")
        assert json.loads(run(*ctr, "content", "get", str(Digest.of(sample.config)))) == json.loads(sample.config)
