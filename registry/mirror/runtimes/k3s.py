"""k3s and RKE2: one `registries.yaml`, from which they write containerd's configuration when they start.

* The upstream stays the last resort unless `disable-default-registry-endpoint` is set, and that counts only for
  registries with an entry: hence the `*`, which leads to a name at the mirror that cannot exist.
* A path in an endpoint stands for `/v2`, and RKE2 asks there whether it is a registry, which nobody answers: hence
  rewrites, which hold for all endpoints. Of several the order is not defined: there is never more than one.
"""

from __future__ import annotations

from registry.errors import UsageError
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
    base = _base(name, mapping)
    folder = f"etc/rancher/{name}"
    endpoints = [f"https://{one.host}" for one in mapping.mirrors]
    mirrors: dict[str, dict[str, object]] = {}
    for rule in mapping.rules:
        place = "/".join(part for part in (base, rule.place) if part)
        mirrors[rule.host] = {"endpoint": endpoints} | ({"rewrite": {"^(.*)$": f"{place}/$1"}} if place else {})
    for host in (*(one.host for one in mapping.mirrors), *mapping.direct):
        mirrors[host] = {"endpoint": [f"https://{host}"]}
    mirrors["*"] = {"endpoint": [api_url(mapping.mirrors[0], NOWHERE)]}
    value: dict[str, object] = {"mirrors": mirrors}
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


def _base(name: str, mapping: Mapping) -> str:
    bases = {mirror.base for mirror in mapping.mirrors}
    if len(bases) > 1:
        raise UsageError(
            "runtime-one-base",
            f"{name} rewrites a name once for all mirrors, so their base paths must be the same",
            seen=", ".join(str(mirror) for mirror in mapping.mirrors),
            hint="give these nodes the mirrors of one base path alone",
        )
    return bases.pop()
