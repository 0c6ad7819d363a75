"""k3s and RKE2: one `registries.yaml`, from which they write containerd's configuration when they start.

* The upstream stays the last resort unless `disable-default-registry-endpoint` is set, and that counts only for
  registries with an entry: hence the `*`, which leads to a name at the mirror that cannot exist.
* An endpoint's path stands for `/v2`. Rewrites would do the same, but their order is not defined.
"""

from __future__ import annotations

from registry.mirror.mapping import Mapping
from registry.mirror.runtimes.containerd import NOWHERE
from registry.mirror.runtimes.files import (
    REFUSED,
    Access,
    Configuration,
    NodeFile,
    api_url,
    documents,
    require_whole_hosts,
)


def k3s(mapping: Mapping, access: Access) -> Configuration:
    """Return the files of a k3s node. Raises UsageError for a mapping that tells parts of a registry apart."""
    return _configuration("k3s", mapping, access, ())


def rke2(mapping: Mapping, access: Access) -> Configuration:
    """Return the files of an RKE2 node. Raises UsageError for a mapping that tells parts of a registry apart."""
    notes = (
        "RKE2 pulls its own runtime image before containerd runs; if the mirrors fail, it asks the upstream for that:",
        "  put its image archive into /var/lib/rancher/rke2/agent/images, or see that no route leads out",
    )
    return _configuration("rke2", mapping, access, notes)


def _configuration(name: str, mapping: Mapping, access: Access, notes: tuple[str, ...]) -> Configuration:
    require_whole_hosts(name, mapping)
    folder = f"etc/rancher/{name}"
    mirrors = {rule.host: [api_url(one, rule.place) for one in mapping.mirrors] for rule in mapping.rules}
    mirrors |= {one.host: [f"https://{one.host}"] for one in mapping.mirrors}
    mirrors |= {host: [f"https://{host}"] for host in mapping.direct}
    mirrors["*"] = [api_url(mapping.mirrors[0], NOWHERE)]
    value: dict[str, object] = {"mirrors": {host: {"endpoint": urls} for host, urls in mirrors.items()}}
    settings: dict[str, object] = {}
    if access.login:
        settings["auth"] = {"username": access.login.user, "password": access.login.password}
    if access.ca:
        settings["tls"] = {"ca_file": f"/{folder}/mirror-ca.crt"}
    if settings:
        value["configs"] = {one.host: settings for one in mapping.mirrors}
    files = [
        NodeFile(f"{folder}/registries.yaml", documents(value), is_secret=access.login is not None),
        NodeFile(f"{folder}/config.yaml.d/dryport-mirror.yaml", documents({"disable-default-registry-endpoint": True})),
    ]
    if access.ca:
        files.append(NodeFile(f"{folder}/mirror-ca.crt", access.ca))
    service = "systemctl restart k3s (or k3s-agent)" if name == "k3s" else "systemctl restart rke2-server (or -agent)"
    return Configuration(
        files,
        (
            f"every node needs these files; they are read when it starts: {service}",
            "they need 1.26.13, 1.27.10, 1.28.6, 1.29.1 or newer: before, the upstream could not be left out",
            REFUSED,
            *notes,
        ),
    )
