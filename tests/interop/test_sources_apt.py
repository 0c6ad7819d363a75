"""Debian closures against real apt and a package server on loopback: what is chosen, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pysequoia import Profile, Tsk

from bundles.archive.writer import build
from bundles.definition import AptEntry
from bundles.lock import Inline, LockedArtifact
from bundles.sources.apt import closure
from bundles.sources.apt.entries import Entry, PackageSet
from bundles.sources.apt.root import PrivateApt
from bundles.sources.fetch import Fetcher
from bundles.sources.inputs import Inputs
from bundles.sources.resolve import lock
from registry.errors import DefinitionError, RemoteError
from registry.oci.manifest import TITLE, Manifest
from registry.progress import Silent
from tests.conftest import need
from tests.package_server import PackageServer

pytestmark = pytest.mark.interop


@pytest.fixture(autouse=True)
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageServer]:
    need("apt-get", "apt-config", "dpkg-deb", "gpgv")
    server = PackageServer.start(tmp_path / "server")
    server.add("tool", "1.0", depends="library (>= 2)", recommends="manual")
    server.add("library", "2.1", depends="libc6")
    server.add("libc6", "0.1")
    server.add("manual", "1.0")
    server.publish()
    monkeypatch.setenv("APT_CONFIG", str(server.machine()))
    yield server
    server.stop()


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Inputs(tmp_path, {}, scratch)


def resolved(
    inputs: Inputs, *packages: str, suites: tuple[str, ...] = ("stable",), base: tuple[str, ...] = ()
) -> LockedArtifact:
    entry = AptEntry(name="host", suites=list(suites), packages=list(packages or ("tool",)), base=list(base))
    return closure.resolve(entry, "1.0.0", inputs)


def titles(artifact: LockedArtifact) -> list[str]:
    assert isinstance(artifact.root.origin, Inline)
    manifest = Manifest.parse(artifact.root.origin.text.encode(), artifact.root.media_type)
    return [blob.annotations[TITLE] for blob in manifest.blobs[1:]]


def pool(artifact: LockedArtifact) -> list[str]:
    return [title.removeprefix("pool/") for title in titles(artifact) if title.startswith("pool/")]


def text_of(artifact: LockedArtifact, title: str) -> str:
    origin = artifact.blobs[1 + titles(artifact).index(title)].origin
    assert isinstance(origin, Inline)
    return origin.text


def test_the_closure_comes_from_the_release_and_not_from_what_this_machine_has_installed(inputs: Inputs) -> None:
    # libc6 is installed here in another version, and is carried all the same; recommended packages are not.
    assert pool(resolved(inputs)) == ["libc6_0.1_amd64.deb", "library_2.1_amd64.deb", "tool_1.0_amd64.deb"]


def test_an_update_takes_the_place_of_the_release_version(
    server: PackageServer, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add("library", "1:2.2+b1~x", suite="stable-updates", depends="libc6")
    server.publish()
    monkeypatch.setenv("APT_CONFIG", str(server.machine()))
    artifact = resolved(inputs, suites=("stable", "stable-updates"))
    assert "library_2.2+b1~x_amd64.deb" in pool(artifact), "an epoch is no part of a file's name"
    assert "Version: 1:2.2+b1~x\n" in text_of(artifact, "dists/dryport/main/binary-amd64/Packages")
    blob = next(blob for blob in artifact.blobs if getattr(blob.origin, "package", "") == "library")
    with Fetcher(inputs)(blob) as blocks:
        assert len(b"".join(blocks)) == blob.size


def test_two_architectures_lie_side_by_side_in_one_lock(
    server: PackageServer, inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add("tool", "1.0", depends="library (>= 2)", architecture="arm64")
    server.add("library", "2.2", architecture="arm64")
    server.publish()
    monkeypatch.setenv("APT_CONFIG", str(server.machine()))
    (tmp_path / "bundle.yaml").write_text(
        "apiVersion: dryport/v1\nkind: Bundle\nproduct: test\nversion: 1.0.0\nplatforms: [linux/amd64, linux/arm64]\n"
        "apt:\n  - {name: host, suites: [stable], packages: [tool]}\n"
        "  - {name: host-arm, suites: [stable], packages: [tool], architecture: arm64}\n"
    )
    locked = lock(tmp_path / "bundle.yaml", inputs, Silent())
    assert [pool(one) for one in locked.artifacts] == [
        ["library_2.2_arm64.deb", "tool_1.0_arm64.deb"],
        ["libc6_0.1_amd64.deb", "library_2.1_amd64.deb", "tool_1.0_amd64.deb"],
    ]
    build(locked, tmp_path / "bundle.tar", Fetcher(inputs), Silent())


def test_what_the_base_holds_is_left_out(inputs: Inputs) -> None:
    assert pool(resolved(inputs, base=("library",))) == ["tool_1.0_amd64.deb"]


def test_an_update_of_the_base_is_carried_when_something_needs_it(
    server: PackageServer, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add("library", "3.0", suite="stable-updates", depends="libc6")
    server.add("modern", "1.0", suite="stable-updates", depends="library (>= 3)")
    server.publish()
    monkeypatch.setenv("APT_CONFIG", str(server.machine()))
    both = ("stable", "stable-updates")
    assert pool(resolved(inputs, "tool", suites=both, base=("library",))) == ["tool_1.0_amd64.deb"]
    assert pool(resolved(inputs, "modern", suites=both, base=("library",))) == [
        "library_3.0_amd64.deb",
        "modern_1.0_amd64.deb",
    ]


def test_the_closure_is_a_repository_that_apt_installs_from_with_no_other_beside_it(
    inputs: Inputs, tmp_path: Path
) -> None:
    artifact, fetch, site = resolved(inputs), Fetcher(inputs), tmp_path / "site"
    for title, blob in zip(titles(artifact), artifact.blobs[1:], strict=True):
        (site / title).parent.mkdir(parents=True, exist_ok=True)
        with fetch(blob) as blocks:
            (site / title).write_bytes(b"".join(blocks))
    wanted = PackageSet(("dryport",), ("main",), "amd64")
    entry = Entry(f"file:{site}", ("dryport",), ("main",), options={"Trusted": "yes"})
    chosen = PrivateApt.open((entry,), wanted, inputs.scratch).choose(["tool"])
    assert [choice.name for choice in chosen] == ["libc6", "library", "tool"]


def test_the_lock_names_neither_server_nor_folder_and_its_date_is_the_servers(inputs: Inputs, tmp_path: Path) -> None:
    artifact = resolved(inputs)
    text = artifact.model_dump_json()
    assert "127.0.0.1" not in text
    assert str(tmp_path) not in text
    assert "Date: Sat, 01 Nov 2025 10:00:00 UTC\n" in text_of(artifact, "dists/dryport/Release")


def test_a_dependency_nobody_has_is_told_in_apts_words(server: PackageServer, inputs: Inputs) -> None:
    server.add("broken", "1.0", depends="nowhere (>= 7)")
    server.publish()
    with pytest.raises(DefinitionError) as caught:
        resolved(inputs, "broken")
    assert caught.value.reference == "apt-unresolvable"
    assert "nowhere (>= 7)" in caught.value.seen


def test_an_unknown_package_is_named(inputs: Inputs) -> None:
    with pytest.raises(DefinitionError) as caught:
        resolved(inputs, "no-such-package")
    assert caught.value.reference == "apt-unresolvable"
    assert "no-such-package" in caught.value.seen


def test_a_name_that_others_provide_is_refused_because_apt_would_choose(server: PackageServer, inputs: Inputs) -> None:
    server.add("postfix", "1.0", provides="mail-agent")
    server.publish()
    with pytest.raises(DefinitionError) as caught:
        resolved(inputs, "mail-agent")
    assert caught.value.reference == "apt-unresolvable"
    assert "mail-agent" in caught.value.message


def test_a_suite_that_this_machine_has_no_source_for_is_named(inputs: Inputs) -> None:
    with pytest.raises(DefinitionError) as caught:
        resolved(inputs, suites=("stable", "stable-security"))
    assert caught.value.reference == "apt-suite-unknown"
    assert "stable-security" in caught.value.message
    assert caught.value.seen == "stable"


def test_a_package_known_by_md5_alone_is_refused(server: PackageServer, inputs: Inputs) -> None:
    server.add("weak", "1.0", hashes="MD5sum")
    server.publish()
    with pytest.raises(DefinitionError) as caught:
        resolved(inputs, "weak")
    assert caught.value.reference == "apt-hash-weak"
    assert "weak 1.0" in caught.value.where


def test_lists_signed_by_somebody_else_are_refused(server: PackageServer, inputs: Inputs) -> None:
    server.publish(key=Tsk.generate(user_id="Somebody else <s@example.org>", profile=Profile.RFC4880))
    with pytest.raises(RemoteError) as caught:
        resolved(inputs)
    assert caught.value.reference == "apt-update-failed"


def test_this_machines_hooks_and_pins_have_no_say(
    server: PackageServer, inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = tmp_path / "hook-ran"
    server.add("library", "2.9", depends="libc6")
    server.publish()
    hook = f'APT::Update::Post-Invoke {{ "touch {ran}"; }};\nAPT::Update::Pre-Invoke {{ "touch {ran}"; }};'
    lax = 'APT::Install-Recommends "true";\nAPT::Architecture "arm64";\nAPT::Get::AllowUnauthenticated "true";'
    machine = server.machine(settings=f"{hook}\n{lax}")
    pin = "Package: library\nPin: version 2.1\nPin-Priority: 1001\n"
    (machine.parent / "preferences.d/pin").write_text(pin)
    monkeypatch.setenv("APT_CONFIG", str(machine))
    assert pool(resolved(inputs)) == ["libc6_0.1_amd64.deb", "library_2.9_amd64.deb", "tool_1.0_amd64.deb"]
    assert not ran.exists()


def test_a_local_mirror_serves_as_well(server: PackageServer, inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APT_CONFIG", str(server.machine(uri=f"file:{server.folder}")))
    artifact, asked = resolved(inputs), len(server.asked)
    for blob in artifact.blobs:
        with Fetcher(inputs)(blob) as blocks:
            assert sum(map(len, blocks)) == blob.size
    assert len(server.asked) == asked == 0
