"""The Docker daemon, of which there are two kinds.

* Docker 29 and newer with containerd's image store reads containerd's `hosts.toml` files, from a folder of its own: it
  can be told of mirrors for every registry.
* An older one, or one with the classic image store, takes mirrors of Docker Hub alone, and only those at whose root
  Docker Hub's content lies. It sends them no login. When they fail it asks Docker Hub, and no setting forbids that.

For both, a proxy that nobody runs keeps the daemon from all but the mirrors and what is direct.
"""

from __future__ import annotations

import json

from registry.mirror.mapping import Mapping
from registry.mirror.runtimes.containerd import host_folders
from registry.mirror.runtimes.files import (
    HEAD,
    Access,
    Configuration,
    NodeFile,
    address,
    docker_config,
    require_whole_hosts,
)
from registry.oci.reference import DEFAULT_HOST

CERTS = "etc/docker/certs.d"
DAEMON = "etc/docker/daemon.json"
FENCE = "etc/systemd/system/docker.service.d/dryport-mirror.conf"
NOBODY = "http://127.0.0.1:9"
"""The port called discard: nothing listens there, so what is sent there is refused at once."""


def docker(mapping: Mapping, access: Access) -> Configuration:
    """Return the daemon's files. Raises UsageError for a mapping that tells parts of a registry apart."""
    require_whole_hosts("docker", mapping)
    unproxied = ",".join(["127.0.0.1", "localhost", *(one.host for one in mapping.mirrors), *mapping.direct])
    fence = f'[Service]\nEnvironment="HTTPS_PROXY={NOBODY}" "HTTP_PROXY={NOBODY}" "NO_PROXY={unproxied}"\n'
    files = [*host_folders(mapping, access, CERTS), NodeFile(FENCE, HEAD + fence)]
    if access.ca:
        files += [NodeFile(f"{CERTS}/{one.host}/ca.crt", access.ca) for one in mapping.mirrors]
    if access.login:
        files.append(NodeFile("root/.docker/config.json", docker_config(mapping, access.login), is_secret=True))
    hubs = _hubs(mapping)
    if hubs:
        files.append(NodeFile(DAEMON, json.dumps({"registry-mirrors": hubs}, indent=2) + "\n"))
    return Configuration(files, (*_notes(mapping), *(_with_hubs(access) if hubs else _without_hubs(mapping))))


def _hubs(mapping: Mapping) -> list[str]:
    """Return the mirrors at whose root Docker Hub's content lies."""
    is_at_root = any(rule.origin == DEFAULT_HOST and not rule.place for rule in mapping.rules)
    return [f"https://{mirror.host}" for mirror in mapping.mirrors if is_at_root and not mirror.base]


def _notes(mapping: Mapping) -> tuple[str, ...]:
    return (
        "systemctl daemon-reload && systemctl restart docker",
        f"/{FENCE} names a proxy that nobody runs: Docker reaches the mirrors and what is direct, and nobody else",
        "Docker 29 or newer with containerd's image store (see docker info) mirrors every origin",
        "any other Docker mirrors docker.io alone; other images have their names at the mirror:",
        *(
            f"  {rule.origin}/... is {address(mapping.mirrors[0], rule.place)}/..."
            for rule in mapping.rules
            if rule.origin != DEFAULT_HOST
        ),
    )


def _with_hubs(access: Access) -> tuple[str, ...]:
    no_login = "such a Docker sends a mirror of docker.io no login: let everybody pull docker.io's content"
    return (f"merge /{DAEMON} with what is there", *((no_login,) if access.login else ()))


def _without_hubs(mapping: Mapping) -> tuple[str, ...]:
    hub = next((rule for rule in mapping.rules if rule.origin == DEFAULT_HOST), None)
    if hub is None:
        return ()
    return (
        f"  {hub.origin}/... is {address(mapping.mirrors[0], hub.place)}/...",
        "  such a Docker could mirror docker.io from a mirror at whose root its content lies: origin docker.io=",
    )
