"""podman, buildah, skopeo and CRI-O: one `registries.conf` (version 2), read anew at each pull.

* An origin is `blocked`, its mirrors are not: they alone are asked, for tags and digests.
* A registry without an entry would be asked itself. There is no entry for "all others", so the top-level domains in
  which public registries live are blocked one by one; what has a longer entry (origins, mirrors, direct) is not.
* Short names mean nothing: no registry is searched.
"""

from __future__ import annotations

from collections.abc import Iterator

from registry.mirror.mapping import Mapping
from registry.mirror.runtimes.files import HEAD, Access, Configuration, NodeFile, address, docker_config, quoted

CONF = "etc/containers/registries.conf"
CERTS = "etc/containers/certs.d"
PODMAN_AUTH = "root/.config/containers/auth.json"
CRIO_AUTH = "etc/crio/mirror-auth.json"
CRIO_CONF = "etc/crio/crio.conf.d/90-dryport-mirror.conf"
DOMAINS = (
    *("com", "net", "org", "info", "io", "dev", "app", "ai", "cloud", "aws", "sh", "run", "tech", "land", "team"),
    *("co", "me", "us", "eu", "uk", "de", "fr", "nl", "ch", "at", "it", "es", "pl", "cz", "se", "no", "fi", "dk"),
    *("ru", "cn", "jp", "kr", "in", "au", "ca", "br", "edu", "gov"),
)
"""Every public registry that is known to be used lies in one of these."""
_LIMIT = (
    "registries that are neither origins nor direct are refused if they lie in a usual top-level domain; the format "
    f"cannot refuse all others: {', '.join(DOMAINS)}"
)


def podman(mapping: Mapping, access: Access) -> Configuration:
    """Return the files for podman, buildah and skopeo."""
    files = list(_shared(mapping, access))
    if access.login:
        files.append(NodeFile(PODMAN_AUTH, docker_config(mapping, access.login), is_secret=True))
    return Configuration(
        files,
        (
            f"/{CONF} replaces what is there, and a user's own ~/.config/containers/registries.conf goes before it",
            "nothing needs a restart; another user than root needs a copy of auth.json in ~/.config/containers",
            _LIMIT,
        ),
    )


def crio(mapping: Mapping, access: Access) -> Configuration:
    """Return the files for CRI-O."""
    files = list(_shared(mapping, access))
    if access.login:
        files.append(NodeFile(CRIO_AUTH, docker_config(mapping, access.login), is_secret=True))
        files.append(NodeFile(CRIO_CONF, f"{HEAD}[crio.image]\nglobal_auth_file = {quoted(f'/{CRIO_AUTH}')}\n"))
    return Configuration(
        files,
        (
            f"/{CONF} replaces what is there; then: systemctl reload crio (restart it when {CRIO_CONF} is new)",
            "images in pods must have full names: docker.io/library/nginx, not nginx",
            _LIMIT,
        ),
    )


def _shared(mapping: Mapping, access: Access) -> Iterator[NodeFile]:
    yield NodeFile(CONF, "\n".join(_registries(mapping)))
    if access.ca:
        for mirror in mapping.mirrors:
            yield NodeFile(f"{CERTS}/{mirror.host}/ca.crt", access.ca)


def _registries(mapping: Mapping) -> Iterator[str]:
    yield f'{HEAD}unqualified-search-registries = []\nshort-name-mode = "enforcing"\n'
    for rule in mapping.rules:
        yield f"[[registry]]\nprefix = {quoted(rule.origin)}\nlocation = {quoted(rule.origin)}\nblocked = true\n"
        for mirror in mapping.mirrors:
            yield f"[[registry.mirror]]\nlocation = {quoted(address(mirror, rule.place))}\n"
    for host in (*(mirror.host for mirror in mapping.mirrors), *mapping.direct):
        yield f"[[registry]]\nprefix = {quoted(host)}\nlocation = {quoted(host)}\n"
    for domain in DOMAINS:
        yield f"[[registry]]\nprefix = {quoted(f'*.{domain}')}\nblocked = true\n"
