"""Where a mirror's client finds what it asks by its upstream name: `/v2/library/web/...?ns=docker.io`.

Content of other registries is served at `<origin-host>/<path>`, so one registry stands in for all upstreams. containerd
adds `ns` to whatever it asks a mirror. Where nothing of that origin is here, or the caller may not pull it, the name
means what it says; no answer differs between the two.
"""

from __future__ import annotations

from registry.oci.reference import Reference


def origin(namespace: str | None, repository: str) -> str | None:
    """Return the repository in which content of `namespace` is served, if that is a registry's host at all."""
    if not namespace:
        return None
    try:
        return Reference(namespace, repository).served_at
    except ValueError:
        return None
