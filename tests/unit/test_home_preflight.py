"""The operator's own side: certificates that end, clocks behind evidence, a site that trusts nothing yet."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bundles.trust import memory
from installer.preflight.home import look
from installer.preflight.question import Result
from installer.preflight.survey import survey
from installer.site.pki import Authority
from installer.targets.baremetal import BareMetal
from registry.errors import SiteError
from tests.attacks.publisher import Publisher
from tests.site_samples import GOOD, OTHER, Sample, sample

TODAY = datetime.now(UTC)


@pytest.fixture
def site(tmp_path: Path) -> Sample:
    made = sample(tmp_path)
    made.home.pki.joinpath("n1.pem").unlink(missing_ok=True)
    Authority.open(made.home.pki, made.declared.site).leaf("n1", ["10.0.0.1"], now=TODAY)
    return made


def results(site: Sample, now: datetime) -> dict[str, Result]:
    return {one.id: one.result for one in look(site.home, site.declared.site, now=now)}


def test_a_new_home_is_well_and_trusts_nobody_yet(site: Sample) -> None:
    found = results(site, TODAY)
    assert found.pop("trust.begun") is Result.WARN
    assert set(found.values()) == {Result.PASS}


@pytest.mark.parametrize(
    ("days", "check", "result"),
    [
        (380, "certificate.hosts", Result.WARN),
        (398, "certificate.hosts", Result.FAIL),
        (3400, "certificate.ca", Result.WARN),
        (3651, "certificate.ca", Result.FAIL),
    ],
)
def test_a_certificate_that_ends_is_told_before_it_does(site: Sample, days: int, check: str, result: Result) -> None:
    assert results(site, TODAY + timedelta(days=days))[check] is result


def test_a_certificate_that_cannot_be_read_is_unknown_and_so_no_success(site: Sample) -> None:
    (site.home.pki / "ca.pem").write_bytes(b"nonsense")
    own = look(site.home, site.declared.site, now=TODAY)
    assert next(one for one in own if one.id == "certificate.ca").result is Result.UNKNOWN
    found = survey(site.declared.site, BareMetal(site.declared).hosts(), {"n1": GOOD, "n2": OTHER}, own=own)
    refusal = found.refusal()
    assert isinstance(refusal, SiteError)
    assert refusal.exit_code == 6


def test_a_clock_behind_signed_evidence_is_not_believed(site: Sample) -> None:
    memory.save(site.home.trust, replace(Publisher().begin(), floor=TODAY))
    assert results(site, TODAY)["time.floor"] is Result.PASS
    assert results(site, TODAY - timedelta(minutes=1))["time.floor"] is Result.FAIL
    assert results(site, TODAY)["trust.begun"] is Result.PASS
