"""The bill of materials: complete, told by digest, and the same bytes for the same lock."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bundles.lock import Lock
from bundles.sbom import bill
from installer.cli.main import main
from tests.attacks.publisher import Publisher
from tests.sample_bundles import API, WEB, Sample
from tests.unit.test_diff import closure, lock_of


def types(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def test_every_artefact_is_named_with_the_digest_of_its_root():
    lock = Sample.small().lock
    document = json.loads(bill(lock))
    told = {(one["properties"][0]["value"], one["hashes"][0]["content"]) for one in document["components"]}
    assert told == {(one.kind, one.root.digest.hex) for one in lock.artifacts if one.kind != "lock"}
    names = {f"{one['name']}:{one['version']}": one for one in document["components"]}
    assert {WEB, API} < set(names)
    root = next(one.root.digest for one in lock.artifacts if one.ref == WEB)
    place = "registry.example.org%2Fquickstart%2Fweb"
    assert names[WEB]["purl"] == f"pkg:oci/web@sha256%3A{root.hex}?repository_url={place}&tag=1.0.0"


def test_every_os_package_of_a_closure_is_a_component_with_a_package_url():
    lock = lock_of(closure(("curl", "7.88.1-10+deb12u8", 5), ("libc6", "2.36-9", 7)))
    parts = json.loads(bill(lock))["components"][0]["components"]
    assert {one["purl"] for one in parts} == {
        "pkg:deb/curl@7.88.1-10%2Bdeb12u8?arch=amd64&distro=stable",
        "pkg:deb/libc6@2.36-9?arch=amd64&distro=stable",
    }
    assert len({one["bom-ref"] for one in parts}) == 2


def test_the_same_lock_gives_the_same_bytes_and_another_lock_another_serial_number():
    lock = Sample.small().lock
    assert bill(lock) == bill(Lock.model_validate(json.loads(lock.encode())))
    other = lock.model_copy(update={"version": "9.9.9"})
    assert json.loads(bill(lock))["serialNumber"] != json.loads(bill(other))["serialNumber"]


def test_a_bundle_and_its_lock_have_one_bill(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    sample, publisher = Sample.small(), Publisher(product="sample")
    sample.publish(tmp_path / "b.tar", publisher)
    (tmp_path / "bundle.lock.json").write_bytes(sample.lock.encode())
    assert types("bundle", "sbom", tmp_path / "b.tar", "--out", tmp_path / "of-bundle.json") == 0
    assert "UNVERIFIED" in capsys.readouterr().err
    assert types("bundle", "sbom", tmp_path / "bundle.lock.json") == 0
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "of-bundle.json").read_bytes())
    assert types("bundle", "sbom", tmp_path / "b.tar", "--json") == 0
    assert json.loads(capsys.readouterr().out)["sbom"]["bomFormat"] == "CycloneDX"
