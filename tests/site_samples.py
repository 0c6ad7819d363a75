"""Sites, releases and plans for tests: real files in a folder that goes away, no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bundles.trust.verify import Release
from installer.flows.begin import begin
from installer.flows.contents import AptRepository, Contents, Kit
from installer.flows.plan import ROLES, VERBS, Observed, Plan, draft
from installer.hosts.facts import Facts
from installer.site.config import Declared
from installer.site.home import Home
from installer.site.state import State
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import TITLE

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SITE = """\
apiVersion: dryport/v1
kind: Site
name: alpha
domain: alpha.example
target: baremetal
home: home
hosts:
  - {name: n1, address: 10.0.0.1, key: id}
  - {name: n2, address: 10.0.0.2, key: {file: id}, port: 2222, user: ops}
registry:
  hosts: [n1]
"""
GOOD = Facts(
    os_id="debian",
    os_version="12",
    architecture="x86_64",
    init="systemd",
    privilege="root",
    skew=0.2,
    free={"/var/lib": 100 << 30, "/opt": 100 << 30},
    ports={5000: True, 5443: True},
    registry="inactive",
    kernel="6.1.0-18-amd64",
    cpus=4,
    cpu_flags=frozenset({"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"}),
    memory=8 << 30,
    inodes={"/var/lib": 1_000_000, "/opt": 1_000_000},
    sync_ms=0.8,
    links=frozenset(),
    temporary="writable",
    hostname="n1",
    machine="1" * 32,
    addresses=frozenset({"127.0.0.1", "10.0.0.1", "10.0.0.2"}),
    default_route=True,
    nameservers=("10.0.0.53",),
    searches=("alpha.example",),
    wildcard="",
    synchronised=True,
    services=frozenset(),
    dpkg_broken=False,
    reach={"10.0.0.1/5000": "refused"},
)
OTHER = replace(GOOD, hostname="n2", machine="2" * 32)
"""Another host as good as the first."""
KIT_LAYER = Descriptor("application/vnd.dryport.kit.v1.tar", Digest.of(b"kit"), 3, {TITLE: "kit.tar"})
CONTENTS = Contents(
    version="1.0.0",
    kit=Kit("dryport/kit", "0.1.0-linux-amd64", KIT_LAYER),
    playbooks_repository="dryport/playbooks/quickstart",
    playbooks=Descriptor("application/vnd.dryport.playbooks.v1.tar+gzip", Digest.of(b"playbooks"), 9),
    apt=(AptRepository("dryport/apt/host", "dryport", ("main",), ("python3",), 1000),),
    packs=("web:1.0.0",),
)
ALL_VERBS = frozenset((role, verb) for role in ROLES for verb in VERBS)


def release(sequence: int = 1, index: bytes = b"index") -> Release:
    """A release as verification would give it."""
    digest = Digest.of(index)
    return Release(
        "quickstart", "1.0.0", sequence, ("linux/amd64",), NOW, NOW + timedelta(days=180), digest, len(index)
    )


@dataclass(frozen=True, slots=True)
class Sample:
    """A site with a home."""

    declared: Declared
    home: Home

    def plan(self, state: State | None = None, facts: Mapping[str, Facts] | None = None) -> Plan:
        """The plan for `release()`."""
        observed = Observed(state or State(), facts or {"n1": GOOD, "n2": OTHER})
        return draft(
            release(), CONTENTS, self.declared, self.home, observed, verbs=ALL_VERBS, bundle_bytes=5000, now=NOW
        )


def declare(folder: Path, text: str = SITE) -> Declared:
    """A site.yaml in a folder, read."""
    path = folder / "site.yaml"
    path.write_text(text)
    return Declared.read(path)


def sample(folder: Path, text: str = SITE) -> Sample:
    """A site whose home was made."""
    declared = declare(folder, text)
    return Sample(declared, begin(declared, declared.home()).home)
