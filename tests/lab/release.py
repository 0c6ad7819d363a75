"""A small release offered to one host as `apply` offers one: from this machine, over TLS of the site, through SSH.

It holds the kit, Python's packages and one pack, made by the same code that makes bundles; what a role finds is real.

    with offered(lab, kit, folder) as offer:
        offer.step("kit", "install").changed
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import yaml

from bundles.lock import Lock, LockedArtifact
from bundles.sources.fetch import Fetcher
from bundles.sources.inputs import Inputs
from bundles.sources.resolve import lock
from installer.hosts.ansible import Ansible, Outcome
from installer.hosts.forward import forward
from installer.hosts.scratch import run_folder
from installer.hosts.ssh import Ssh
from installer.site import aptsign
from installer.site.config import Site
from installer.site.pki import Authority
from installer.targets.base import Host
from registry.oci.manifest import OCI_MANIFEST
from registry.progress import Silent
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.users import user_line
from registry.store.store import Store
from tests.lab import hosts

PROJECT = Path(__file__).resolve().parents[2]
PULL_USER = "hosts"
PORT_THERE = 5443
PORT_REGISTRY = 5000
VERSION = "1.0.0"
PACKAGES = ["python3", "python3-apt", "ca-certificates"]
DEFINITION = {
    "apiVersion": "dryport/v1",
    "kind": "Bundle",
    "product": "lab",
    "version": VERSION,
    "platforms": ["linux/amd64"],
    "kit": [{"file": {"input": "kit"}}],
    "packs": [{"folder": {"path": "pack"}}],
    "apt": [{"name": "hosts", "suites": ["bookworm", "bookworm-security"], "packages": PACKAGES}],
}
PACK = {
    "name": "lab-hello",
    "displayName": "Hello",
    "version": VERSION,
    "layer": "addon",
    "addonType": "app services",
    "addonSubType": "web",
    "cloudTypes": ["all"],
    "kubeManifests": [],
    "annotations": {"source": "lab"},
}


@dataclass(slots=True)
class Offer:
    """A release in reach of a host: what its roles are given, and how a step is run."""

    ansible: Ansible
    host: Host
    variables: dict[str, object]
    password: str
    tasks: list[str] = field(default_factory=list)

    def step(self, role: str, verb: str) -> Outcome:
        """Run one role's verb on the host."""
        chosen = {"dryport_role": role, "dryport_verb": verb}
        return self.ansible.run(self.host, "step.yml", self.variables | chosen, self.tasks.append)


@contextmanager
def offered(lab: hosts.Lab, kit: Path, folder: Path, *, user: str = "root") -> Iterator[Offer]:
    """Offer the release to the lab's first host, which is reached as `user`."""
    machine = lab.hosts[0]
    host = Host(machine.name, machine.address, 22, user, lab.key)
    site = _site(host)
    authority = Authority.ensure(_made(folder / "pki"), site, now=datetime.now(UTC))
    known = folder / "known_hosts"
    known.write_text(f"{machine.address} {machine.public_key}\n")
    password = secrets.token_urlsafe(24)
    users = folder / "users"
    users.write_text(user_line(PULL_USER, password, ["pull:*"]) + "\n")
    users.chmod(0o600)
    with Store.open(folder / "store") as store, run_folder() as scratch:
        locked = _filled(store, kit, folder)
        key = aptsign.ensure_key(folder / "apt.pgp", folder / "apt.asc", "Lab <packages@lab.example>")
        apt = _first(locked, "apt")
        signed = aptsign.sign_repository(store, store, apt.ref.rpartition(":")[0], VERSION, folder / "apt.pgp")
        leaf = authority.leaf("operator", ["127.0.0.1"], now=datetime.now(UTC))
        settings = Settings(certificate=leaf.certificate, key=leaf.key, users=users, read_only=True)
        ssh = Ssh(known, control=scratch)
        ansible = Ansible(Path(sys.executable).with_name("ansible-playbook"), PROJECT / "playbooks", ssh, scratch)
        with Running(settings, store) as server, forward(ssh, host, there=PORT_THERE, here=server.port):
            variables = _variables(locked, authority, host, users=users, key=key, signed=signed)
            variables |= {"dryport_pull_password": password}
            yield Offer(ansible, host, variables, password)


def _site(host: Host) -> Site:
    entry = {"name": host.name, "address": host.address, "user": host.user, "key": str(host.key)}
    head = {"apiVersion": "dryport/v1", "kind": "Site", "name": "lab", "domain": "lab.example", "target": "baremetal"}
    return Site.model_validate({**head, "hosts": [entry]})


def _filled(store: Store, kit: Path, folder: Path) -> Lock:
    _made(folder / "pack")
    (folder / "pack" / "pack.json").write_text(json.dumps(PACK))
    (folder / "pack" / "values.yaml").write_text("pack:\n  namespace: hello\n")
    (folder / "bundle.yaml").write_text(yaml.safe_dump(DEFINITION))
    inputs = Inputs(folder, {"kit": kit}, _made(folder / "scratch"))
    locked = lock(folder / "bundle.yaml", inputs, Silent())
    fetch = Fetcher(inputs)
    for artifact in locked.artifacts:
        repository, _, tag = artifact.ref.rpartition(":")
        for blob in artifact.blobs:
            with fetch(blob) as blocks:
                store.put_blob(repository, blob.digest, blocks)
        with fetch(artifact.root) as blocks:
            store.put_manifest(repository, b"".join(blocks), OCI_MANIFEST, [tag])
    return locked


def _variables(
    locked: Lock, authority: Authority, host: Host, *, users: Path, key: str, signed: str
) -> dict[str, object]:
    kit, apt, pack = (_first(locked, kind) for kind in ("kit", "apt", "pack"))
    repository, _, reference = kit.ref.rpartition(":")
    leaf = authority.leaf(host.name, [host.address], now=datetime.now(UTC))
    return {
        "dryport_site": "lab",
        "dryport_ca_pem": authority.pem,
        "dryport_source_url": f"https://127.0.0.1:{PORT_THERE}",
        "dryport_pull_user": PULL_USER,
        "dryport_kit_repository": repository,
        "dryport_kit_reference": reference,
        "dryport_kit_digest": str(max(kit.blobs, key=lambda blob: blob.size).digest),
        "dryport_kit_version": reference.removesuffix("-linux-amd64"),
        "dryport_apt_repositories": [
            {
                "repository": apt.ref.rpartition(":")[0],
                "reference": signed,
                "suite": "dryport",
                "components": ["main"],
                "packages": PACKAGES,
                "key_asc": key,
            }
        ],
        "dryport_registry_address": host.address,
        "dryport_registry_port": PORT_REGISTRY,
        "dryport_registry_certificate": leaf.certificate.read_text(),
        "dryport_registry_key": leaf.key.read_text(),
        "dryport_registry_users": users.read_text(),
        "dryport_packs": [pack.ref.rpartition("/")[2]],
    }


def _first(locked: Lock, kind: str) -> LockedArtifact:
    return next(artifact for artifact in locked.artifacts if artifact.kind == kind)


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o700)
    return folder
