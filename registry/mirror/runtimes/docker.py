"""The Docker daemon: it can be given mirrors of Docker Hub, and of nothing else.

* It has no way to say where at the mirror Docker Hub's content lies. A daemon with its classic image store asks for
  `library/nginx`; one with containerd's image store adds `?ns=docker.io`, which dryport's registry understands.
* It sends a mirror no credentials of its own.
* When all mirrors fail it asks Docker Hub, and nothing in its configuration forbids that: a proxy that nobody runs,
  for all but the mirrors, does.
"""

from __future__ import annotations

import json

from registry.errors import UsageError
from registry.mirror.mapping import Mapping
from registry.mirror.runtimes.files import HEAD, Access, Configuration, NodeFile, address, docker_config
from registry.oci.reference import DEFAULT_HOST

DAEMON = "etc/docker/daemon.json"
FENCE = "etc/systemd/system/docker.service.d/dryport-mirror.conf"
NOBODY = "http://127.0.0.1:9"
"""The port called discard: nothing listens there, so what is sent there goes nowhere, at once."""


def docker(mapping: Mapping, access: Access) -> Configuration:
    """Return the daemon's files. Raises UsageError for a mapping without Docker Hub, or with a base path."""
    hub = next((rule for rule in mapping.rules if rule.origin == DEFAULT_HOST), None)
    based = [str(mirror) for mirror in mapping.mirrors if mirror.base]
    if hub is None or based:
        raise UsageError(
            "docker-mirrors-one",
            "Docker takes mirrors of docker.io alone, and none below a base path",
            seen=", ".join(based) or ", ".join(rule.origin for rule in mapping.rules),
            expected="docker.io among the origins, and mirrors without a base path",
            hint="use names at the mirror with Docker (docker pull MIRROR/ghcr.io/team/app:1), or another runtime",
        )
    daemon: dict[str, object] = {"registry-mirrors": [f"https://{mirror.host}" for mirror in mapping.mirrors]}
    needs_store = bool(hub.place)
    if needs_store:
        daemon["features"] = {"containerd-snapshotter": True}
    unproxied = ",".join(["127.0.0.1", "localhost", *(one.host for one in mapping.mirrors), *mapping.direct])
    fence = f'[Service]\nEnvironment="HTTPS_PROXY={NOBODY}" "HTTP_PROXY={NOBODY}" "NO_PROXY={unproxied}"\n'
    files = [NodeFile(DAEMON, json.dumps(daemon, indent=2) + "\n"), NodeFile(FENCE, HEAD + fence)]
    if access.ca:
        files += [NodeFile(f"etc/docker/certs.d/{one.host}/ca.crt", access.ca) for one in mapping.mirrors]
    if access.login:
        files.append(NodeFile("root/.docker/config.json", docker_config(mapping, access.login), is_secret=True))
    return Configuration(files, _notes(mapping, access, needs_store=needs_store))


def _notes(mapping: Mapping, access: Access, *, needs_store: bool) -> tuple[str, ...]:
    first = mapping.mirrors[0]
    notes = [
        f"merge /{DAEMON} with what is there; then: systemctl daemon-reload && systemctl restart docker",
        f"/{FENCE} names a proxy that nobody runs: Docker reaches the mirrors and what is direct, and nobody else",
    ]
    others = [rule for rule in mapping.rules if rule.host != DEFAULT_HOST]
    if others:
        notes.append("Docker mirrors no other registry: give images of these their names at the mirror:")
        notes += [f"  {rule.origin}/... is {address(first, rule.place)}/..." for rule in others]
    if needs_store:
        notes += [
            "this turns on containerd's image store (Docker 24 or newer), which shows no images of the classic one;",
            "  with it, Docker asks a mirror by ?ns=docker.io, which dryport's registry understands",
            "  a daemon without it needs a mirror at whose root docker.io's content lies: origin docker.io=",
        ]
    if access.login:
        notes += [
            "Docker sends its login for names at the mirror alone, not when that stands in for docker.io:",
            "  let everybody pull docker.io's content from the mirror",
        ]
    return tuple(notes)
