"""Wrong software: rightly signed, and not for this site, these machines or this dryport; with its honest twins."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from bundles.verify import verify
from installer.flows.plan import require_product
from installer.preflight.survey import survey
from installer.site.state import Installed, State
from installer.targets.baremetal import BareMetal
from registry.errors import TrustError
from tests.attacks.publisher import NOW, Publisher, refused, resigned
from tests.sample_bundles import Sample
from tests.site_samples import GOOD, OTHER, sample


def running(product: str) -> State:
    release = Installed(
        product=product,
        version="1.0.0",
        sequence=1,
        index="sha256:" + "0" * 64,
        issued="2031-01-01T00:00:00Z",
        best_before="2032-01-01T00:00:00Z",
        hosts=["n1"],
        applied="2031-01-02T00:00:00Z",
    )
    return State(release=release)


def test_a_bundle_of_another_product_is_no_update_of_a_site(tmp_path: Path):
    publisher = Publisher(product="sample")
    Sample.small().publish(tmp_path / "b.tar", publisher)
    release = verify(tmp_path / "b.tar", publisher.begin(), now=NOW).release
    with pytest.raises(TrustError) as caught:
        require_product(running("warehouse"), release)
    assert caught.value.reference == "release-of-another-product"
    require_product(running("sample"), release)
    require_product(State(), release)  # a site that runs nothing yet


def test_a_statement_moved_to_the_bundle_of_another_release_is_refused():
    publisher = Publisher()
    ours, index = publisher.bundle(2)
    other, _ = publisher.bundle(2, product="warehouse", content="another")
    stolen = {**ours, "metadata/targets.json": other["metadata/targets.json"]}
    assert refused(stolen, index, publisher.begin()).reference == "metadata-mixed"


@pytest.mark.parametrize("least", ["99.0.0", f"{version('dryport')[:-1]}9"])
def test_a_bundle_that_wants_a_newer_dryport_is_refused_by_this_one(least: str, tmp_path: Path):
    publisher = Publisher(product="sample")
    Sample.small().publish(tmp_path / "b.tar", publisher, min_installer=least)
    with pytest.raises(TrustError) as caught:
        verify(tmp_path / "b.tar", publisher.begin(), now=NOW)
    assert caught.value.reference == "installer-too-old"
    assert least in caught.value.expected
    Sample.small().publish(tmp_path / "twin.tar", publisher, min_installer=version("dryport"))
    assert verify(tmp_path / "twin.tar", publisher.begin(), now=NOW).release.min_installer == version("dryport")


@pytest.mark.parametrize("least", ["", "1", None, 1, ["1.0.0"], "1.0.0\n"])
def test_a_least_dryport_that_is_no_version_is_refused_even_if_the_right_key_signed_it(least: object):
    publisher = Publisher()
    region, index = publisher.bundle()
    wrong = resigned(
        region,
        "targets",
        lambda one: one["targets"]["index.json"]["custom"].update(minInstaller=least),
        publisher.release,
    )
    assert refused(wrong, index, publisher.begin()).reference == "statement-invalid"


def test_a_bundle_for_other_machines_is_refused_before_anything_is_planned(tmp_path: Path):
    site = sample(tmp_path)
    hosts = BareMetal(site.declared).hosts()
    refused_by = {}
    for platform in ("linux/arm64", "linux/amd64"):
        found = survey(site.declared.site, hosts, {"n1": GOOD, "n2": OTHER}, platforms=(platform,), bundle_bytes=1)
        refused_by[platform] = found.refusal()
    other = refused_by["linux/arm64"]
    assert other is not None
    assert ["cpu.architecture" in one.message for one in other.findings] == [True, True]  # one for each host
    assert refused_by["linux/amd64"] is None
