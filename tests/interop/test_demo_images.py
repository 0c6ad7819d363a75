"""The demonstration's images, made from packages of a server on loopback."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import need
from tests.lab.demo_images import PACKAGES, make
from tests.package_server import PackageServer

pytestmark = pytest.mark.interop
NAMES = ["registry.example.org/quickstart/web:1.0", "registry.example.org/quickstart/clock:1.0"]


@pytest.fixture(autouse=True)
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageServer]:
    need("apt-get", "apt-config", "dpkg-deb", "gpgv", "skopeo")
    server = PackageServer.start(tmp_path / "server")
    for name in PACKAGES:
        server.add(name, "1.0", suite="bookworm")
    server.publish()
    monkeypatch.setenv("APT_CONFIG", str(server.machine(suites="bookworm bookworm-updates bookworm-security")))
    for suite in ("bookworm-updates", "bookworm-security"):
        server.stanzas[suite] = []
    server.publish()
    yield server
    server.stop()


def content(layout: Path) -> dict[str, bytes]:
    return {str(path.relative_to(layout)): path.read_bytes() for path in sorted(layout.rglob("*")) if path.is_file()}


def test_made_twice_they_are_the_same_bytes_and_an_old_layout_leaves_nothing_behind(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    list(make(first))
    second.mkdir()
    (second / "oci-layout").write_text("{}")
    (second / "leftover").write_text("of an older run")
    list(make(second))
    assert content(first) == content(second)
    assert not list(tmp_path.glob(".images-*"))


def test_skopeo_reads_both_and_they_share_their_base_layer(tmp_path: Path) -> None:
    list(make(tmp_path / "out"))
    layers = []
    for name in NAMES:
        command = ["skopeo", "inspect", f"oci:{tmp_path / 'out'}:{name}"]
        seen = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        assert (seen["Os"], seen["Architecture"]) == ("linux", "amd64")
        layers.append(seen["Layers"])
    assert layers[0][0] == layers[1][0]
    assert layers[0][1] != layers[1][1]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.jpg").write_bytes(b"cat")
    with pytest.raises(SystemExit, match="is no OCI layout"):
        list(make(tmp_path / "photos"))
    assert (tmp_path / "photos/cat.jpg").exists()
