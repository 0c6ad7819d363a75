from __future__ import annotations

import json
from pathlib import Path

import pytest

from installer.site.config import Declared, schema
from registry.errors import SiteError
from tests.site_samples import SITE, declare

PUBLISHED = Path(__file__).parents[2] / "docs/site.schema.json"


def refused(folder: Path, text: str) -> SiteError:
    with pytest.raises(SiteError) as caught:
        declare(folder, text)
    return caught.value


def test_the_published_schema_is_the_one_in_the_code() -> None:
    assert json.loads(PUBLISHED.read_text()) == schema(), "write it anew from installer.site.config.schema()"


def test_a_site_is_read_with_its_defaults(tmp_path: Path) -> None:
    site = declare(tmp_path).site
    assert (site.hosts[0].port, site.hosts[0].user, site.registry.port) == (22, "root", 5000)


def test_paths_are_relative_to_the_file_and_not_to_where_one_stands(tmp_path: Path) -> None:
    declared = declare(tmp_path)
    assert {declared.key_path(host) for host in declared.site.hosts} == {tmp_path / "id"}
    assert declared.home() == tmp_path / "home"
    assert declared.home(tmp_path / "other") == tmp_path / "other"


def test_a_site_without_a_home_has_it_where_state_belongs(tmp_path: Path) -> None:
    declared = declare(tmp_path, SITE.replace("home: home\n", ""))
    assert declared.home() == Path("/var/lib/dryport/alpha")


def test_all_hosts_run_the_registry_if_none_is_named(tmp_path: Path) -> None:
    declared = declare(tmp_path, SITE.replace("  hosts: [n1]\n", "  port: 6000\n"))
    assert declared.site.registry_hosts == ("n1", "n2")


def test_every_finding_is_told_at_once(tmp_path: Path) -> None:
    error = refused(tmp_path, SITE.replace("target: baremetal", "target: cloud").replace("domain:", "domian:"))
    assert error.reference == "site-invalid"
    assert {finding.where for finding in error.findings} == {"target", "domain", "domian"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("name: n2", "name: n1", "same name"),
        ("hosts: [n1]", "hosts: [n9]", "names no host"),
        ("address: 10.0.0.2", "address: 10.0.0.999", "neither an IP address"),
        ("address: 10.0.0.2", "address: '-oProxyCommand=x'", "neither an IP address"),
        ("address: 10.0.0.2, key: {file: id}, port: 2222", "address: 10.0.0.1, key: id", "same address"),
        ("hosts: [n1]", "port: 5443", "are the same"),
        ("name: alpha", "name: Alpha!", "pattern"),
        ("user: ops", "user: -l", "pattern"),
        ("user: ops", "passwort: x", "Extra inputs"),
    ],
)
def test_what_cannot_be_is_refused_in_words(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in SITE
    assert said in " ".join(finding.message for finding in refused(tmp_path, SITE.replace(old, new)).findings)


def test_a_missing_file_and_broken_yaml_name_the_file(tmp_path: Path) -> None:
    assert refused(tmp_path, "{").where.endswith("site.yaml")
    with pytest.raises(SiteError, match="No such file"):
        Declared.read(tmp_path / "absent.yaml")


def test_the_digest_follows_what_is_declared_and_not_how_it_is_spelled(tmp_path: Path) -> None:
    first = declare(tmp_path).site.digest
    assert declare(tmp_path, "# a remark\n" + SITE.replace("port: 2222", "port: 0x8ae")).site.digest == first
    assert declare(tmp_path, SITE.replace("port: 2222", "port: 2223")).site.digest != first
