"""containerd 1.6 and newer: a folder with a `hosts.toml` for each registry, read anew at each pull.

* `server` is asked last, and is the upstream unless it is given: it names a mirror too.
* Without a [host] table containerd 1.6 drops the whole file, says so in its log alone, and asks the upstream.
* `_default` catches every registry that has no folder. It leads to a name at the mirror that cannot exist.
"""

from __future__ import annotations

from collections.abc import Sequence

from registry.mirror.mapping import Mapping
from registry.mirror.runtimes.files import (
    HEAD,
    REFUSED,
    Access,
    Configuration,
    NodeFile,
    api_url,
    quoted,
    require_whole_hosts,
)

CERTS = "etc/containerd/certs.d"
NOWHERE = "_not-mirrored"
"""No repository's name may begin so (OCI distribution-spec, "Pulling manifests"): nothing is there at any registry."""
NOTES = (
    f'once, in /etc/containerd/config.toml, then restart containerd: config_path = "/{CERTS}"',
    '  of containerd 1.x below [plugins."io.containerd.grpc.v1.cri".registry]',
    '  of containerd 2.x below [plugins."io.containerd.cri.v1.images".registry]',
    f"changes below /{CERTS} need no restart",
    REFUSED,
)


def containerd(mapping: Mapping, access: Access) -> Configuration:
    """Return the folders of all origins, of the mirrors themselves, of the direct registries, and of all others.

    Raises UsageError for a mapping that tells parts of a registry apart.
    """
    require_whole_hosts("containerd", mapping)
    return Configuration(host_folders(mapping, access, CERTS), NOTES)


def host_folders(mapping: Mapping, access: Access, certs: str) -> list[NodeFile]:
    """Return the files below `certs`, the folder with a folder for each registry."""
    wanted: dict[str, str] = {}
    for rule in mapping.rules:
        wanted[rule.host] = _hosts([api_url(mirror, rule.place) for mirror in mapping.mirrors], access)
    for mirror in mapping.mirrors:
        # A login here would stand in the way of who pushes with one of his own.
        wanted[mirror.host] = _hosts([f"https://{mirror.host}/v2"], access, pushes=access.login is None)
    for host in mapping.direct:
        wanted[host] = _hosts([f"https://{host}/v2"], Access(), pushes=True)
    wanted["_default"] = _hosts([api_url(mapping.mirrors[0], NOWHERE)], access)
    secret = access.login is not None
    files = [
        NodeFile(f"{certs}/{host}/hosts.toml", text, is_secret=secret and host not in mapping.direct)
        for host, text in wanted.items()
    ]
    if access.ca:
        files.append(NodeFile(f"{certs}/mirror-ca.crt", access.ca))
    return files


def _hosts(urls: Sequence[str], access: Access, *, pushes: bool = False) -> str:
    """Return a hosts.toml that asks `urls` in order: the last one as server, a single one as host too."""
    capabilities = ["pull", "resolve", "push"] if pushes else ["pull", "resolve"]
    settings = f"capabilities = [{', '.join(map(quoted, capabilities))}]\noverride_path = true\n"
    if access.ca:
        settings += 'ca = "../mirror-ca.crt"\n'  # seen from the folder of the hosts.toml
    header = f"Authorization = {quoted(f'Basic {access.login.basic}')}\n" if access.login else ""
    text = f"{HEAD}server = {quoted(urls[-1])}\n{settings}"
    text += f"\n[header]\n{header}" if header else ""
    for url in urls[:-1] or urls:
        text += f"\n[host.{quoted(url)}]\n{settings}"
        text += f"\n[host.{quoted(url)}.header]\n{header}" if header else ""
    return text
