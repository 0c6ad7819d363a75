"""`dryport site`, `plan`, `apply` and `status`, as far as they need no host: what operators see and scripts use."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bundles.trust import memory
from bundles.trust.verify import fingerprint
from installer.cli.main import main
from installer.flows import plan as plans
from installer.site.home import Home
from installer.site.memory import remembered
from registry.errors import TrustError
from tests.attacks.publisher import Publisher
from tests.site_samples import SITE, Sample, sample

WRONG = f"sha256:{'0' * 64}"


class Operator:
    """Types commands and reads what comes back."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def types(self, *words: object, code: int = 0) -> dict[str, Any]:
        with pytest.raises(SystemExit) as ended:
            main([*map(str, words), "--json"])
        printed = self._capsys.readouterr()
        assert ended.value.code == code, printed
        value: dict[str, Any] = json.loads(printed.out)
        return value


@pytest.fixture
def operator(capsys: pytest.CaptureFixture[str]) -> Operator:
    return Operator(capsys)


@pytest.fixture
def site(tmp_path: Path) -> Sample:
    return sample(tmp_path)


@pytest.fixture
def root(tmp_path: Path) -> tuple[Path, str]:
    """A root on a medium, and its fingerprint on paper."""
    first = Publisher().roots[0]
    (tmp_path / "1.root.json").write_bytes(first)
    return tmp_path / "1.root.json", str(fingerprint(first))


def test_a_site_is_made_once(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(SITE)
    first = operator.types("site", "init", tmp_path / "site.yaml")
    assert (first["kind"], first["changed"], first["home"]) == ("SiteHome", True, str(tmp_path / "home"))
    assert not operator.types("site", "init", tmp_path / "site.yaml")["changed"]


def test_a_bad_declaration_ends_as_a_site_error_with_all_findings(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text(SITE.replace("domain", "domian"))
    error = operator.types("site", "init", tmp_path / "site.yaml", code=6)
    assert (error["reference"], len(error["findings"])) == ("site-invalid", 2)
    assert not (tmp_path / "home").exists()


def test_a_site_trusts_a_root_by_its_fingerprint_and_no_other(
    operator: Operator, site: Sample, root: tuple[Path, str]
) -> None:
    words = ("site", "trust", site.declared.path, "--root", root[0], "--fingerprint")
    refused = operator.types(*words, WRONG, code=5)
    assert refused["reference"] == "root-fingerprint-mismatch"
    assert not site.home.trust.exists()
    assert operator.types(*words, root[1])["changed"]
    assert not operator.types(*words, root[1])["changed"]


def test_a_second_root_is_not_trusted_beside_the_first(
    operator: Operator, site: Sample, root: tuple[Path, str], tmp_path: Path
) -> None:
    operator.types("site", "trust", site.declared.path, "--root", root[0], "--fingerprint", root[1])
    other = Publisher().roots[0]
    (tmp_path / "other.json").write_bytes(other)
    words = ("site", "trust", site.declared.path, "--root", tmp_path / "other.json", "--fingerprint")
    assert operator.types(*words, fingerprint(other), code=5)["reference"] == "root-already-trusted"
    found = memory.load(site.home.trust)
    assert found
    assert found.roots == (root[0].read_bytes(),)


def test_a_site_that_lost_its_memory_never_starts_afresh(
    operator: Operator, site: Sample, root: tuple[Path, str]
) -> None:
    words = ("site", "trust", site.declared.path, "--root", root[0], "--fingerprint", root[1])
    operator.types(*words)
    site.home.trust.unlink()
    assert operator.types(*words, code=5)["reference"] == "trust-memory-lost"
    with pytest.raises(TrustError) as caught:
        remembered(Home.open(site.home.path))
    assert caught.value.reference == "trust-memory-lost"


def test_a_site_without_trust_says_how_to_begin(site: Sample) -> None:
    with pytest.raises(TrustError) as caught:
        remembered(site.home)
    assert caught.value.reference == "site-without-trust"
    assert "site trust" in caught.value.hint


@pytest.mark.parametrize("words", [("--fingerprint", "abc", "--root", "r"), ("--fingerprint", WRONG)])
def test_trust_wants_a_root_and_a_whole_fingerprint(operator: Operator, site: Sample, words: tuple[str, ...]) -> None:
    assert operator.types("site", "trust", site.declared.path, *words, code=2)["family"] == "usage"


def test_a_missing_ssh_key_is_this_machines_fault_and_no_hosts(operator: Operator, site: Sample) -> None:
    error = operator.types("site", "check", site.declared.path, code=6)
    assert (error["reference"], error["where"]) == ("ssh-key-missing", str(site.declared.path.parent / "id"))


def test_a_replaced_host_must_be_one_of_the_site(operator: Operator, site: Sample) -> None:
    error = operator.types("site", "enrol", site.declared.path, "--replace", "n7", code=2)
    assert error["reference"] == "host-unknown"


def test_a_new_site_runs_nothing_and_says_so(operator: Operator, site: Sample) -> None:
    told = operator.types("status", site.declared.path)
    assert (told["release"], told["well"], told["registries"]) == (None, False, [])


def test_a_file_that_is_no_bundle_is_refused_before_anything_happens(
    operator: Operator, site: Sample, root: tuple[Path, str], tmp_path: Path
) -> None:
    operator.types("site", "trust", site.declared.path, "--root", root[0], "--fingerprint", root[1])
    (tmp_path / "b.tar").write_bytes(bytes(1 << 20))
    before = site.home.journal.read_bytes()
    words = ("plan", site.declared.path, "--bundle", tmp_path / "b.tar", "--out", tmp_path / "plan.json")
    assert operator.types(*words, code=4)["reference"] == "not-a-bundle"
    plans.save(site.plan(), tmp_path / "plan.json", site.home.secrets.read(plans.PLAN_KEY))
    words = ("apply", tmp_path / "plan.json", "--bundle", tmp_path / "b.tar")
    assert operator.types(*words, code=4)["reference"] == "not-a-bundle"
    assert site.home.journal.read_bytes() == before


def test_every_command_tells_its_options_without_reading_a_site() -> None:
    for words in (["site"], ["site", "init"], ["plan"], ["apply"], ["status"]):
        done = subprocess.run(
            [sys.executable, "-c", "from installer.cli.main import main; main()", *words, "--help"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "--help" in done.stdout


def test_bad_news_in_json_is_one_object_with_the_exit_code_of_who_has_to_act(
    operator: Operator, site: Sample, tmp_path: Path
) -> None:
    (tmp_path / "id").write_text("no key, and nothing listens either")
    text = site.declared.path.read_text()
    site.declared.path.write_text(text.replace("10.0.0.1", "127.0.0.1").replace("10.0.0.2, key", "127.0.0.2, key"))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    site.declared.path.write_text(
        site.declared.path.read_text().replace("key: id}", f"key: id, port: {port}}}").replace("2222", str(port))
    )
    told = operator.types("site", "check", site.declared.path, code=7)
    assert (told["kind"], told["good"], told["error"]["reference"]) == ("SiteCheck", False, "preflight-failed")
    assert {one["reference"] for one in told["error"]["findings"]} == {"host-unreachable"}


@pytest.mark.parametrize(("name", "reference"), [("no.tar", "bundle-missing"), ("site.yaml", "bundle-truncated")])
def test_a_check_for_a_bundle_that_is_none_says_so(operator: Operator, site: Sample, name: str, reference: str) -> None:
    words = ("site", "check", site.declared.path, "--bundle", site.declared.path.with_name(name))
    assert operator.types(*words, code=4)["reference"] == reference
