"""The proof that a node gets its images from the mirrors: every one is pulled, by digest, under its original name.

An image is proven when the node's own program pulled it, asked a mirror for it, and asked nobody else: neither an
address that is no mirror's, nor the name of anybody but a mirror. What cannot be seen is not proven.

>>> [one.served_by for one in prove(LocalNode(), PULLERS["podman"], images, mapping, Silent())]
['registry.site.example:5000']
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from installer.hosts.node import Node
from installer.hosts.pull import Puller
from installer.hosts.session import running
from registry.errors import HostError
from registry.mirror.mapping import Mapping, Mirror
from registry.oci.reference import Reference
from registry.progress import Progress

BEGIN_SECONDS = 60.0
IMAGE_SECONDS = 3600.0
_HTTPS, _DNS = 443, 53
_NO_CONTACT = {0, 9}
"""Ports to which resolvers `connect` a UDP socket, only to see which of our own addresses counts; nothing is sent."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one image."""

    image: Reference
    is_pulled: bool
    served_by: str
    """The mirrors that were asked, in their order: layers come side by side, so of several each may have given some."""
    elsewhere: Sequence[str]
    """Addresses and names beside the mirrors that were asked."""
    said: str

    @property
    def is_proven(self) -> bool:
        """Say whether it came from a mirror and from nowhere else."""
        return self.is_pulled and bool(self.served_by) and not self.elsewhere

    def as_json(self) -> dict[str, object]:
        """Return the outcome as documented for `--json`."""
        return {
            "image": str(self.image),
            "proven": self.is_proven,
            "servedBy": self.served_by,
            "elsewhere": list(self.elsewhere),
            "said": "" if self.is_proven else self.said,
        }


def prove(
    node: Node,
    puller: Puller,
    images: Sequence[Reference],
    mapping: Mapping,
    progress: Progress,
    *,
    root: str = "/",
    is_watched: bool = True,
) -> Sequence[Outcome]:
    """Pull every image on the node and return what became of each. Raises HostError if the node cannot be used.

    Not watched, connections are not seen, names still are: then a mirror is believed to have served what was pulled.
    """
    hosts = sorted({_host(mirror) for mirror in mapping.mirrors})
    with (
        running(node, puller.script(root, hosts, is_watched=is_watched)) as session,
        progress.meter("pulling through the node", len(images), "images") as meter,
    ):
        sight = _Sight.read(session.lines("ready", BEGIN_SECONDS), mapping, is_watched=is_watched)
        sight.require_told(puller, root, node)
        outcomes = []
        for image in images:
            session.write(f"{image.host}/{image.repository}@{image.digest}")
            outcomes.append(sight.outcome(image, session.lines("code", IMAGE_SECONDS)))
            meter.advance(1, str(image))
        return outcomes


@dataclass
class _Sight:
    """Whom a node may ask, and how what it says is read."""

    mapping: Mapping
    is_watched: bool
    addresses: dict[str, list[str]] = field(default_factory=dict)
    """Addresses of each mirror's host, as the node resolves it."""
    resolvers: set[str] = field(default_factory=set)
    settings: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, lines: Iterator[tuple[str, str]], mapping: Mapping, *, is_watched: bool) -> _Sight:
        sight = cls(mapping, is_watched)
        for word, rest in lines:
            if word == "mirror":
                host, _, address = rest.partition(" ")
                sight.addresses.setdefault(host, []).append(_address(address))
            elif word == "resolver":
                sight.resolvers.add(_address(rest))
            elif word == "setting":
                sight.settings.append(rest)
        return sight

    def require_told(self, puller: Puller, root: str, node: Node) -> None:
        """Raise HostError if the runtime itself does not read the folder that its program is pointed at."""
        if root == "/" and puller.certs and not any(puller.certs in one.split(":") for one in self.settings):
            raise HostError(
                "runtime-not-told",
                "containerd on the node does not read the folder with the hosts.toml files, so its pods would not",
                where=str(node),
                expected=f'config_path = "{puller.certs}"',
                seen=", ".join(self.settings) or "no config_path",
                hint="add it to /etc/containerd/config.toml as docs/runtimes.md shows, and restart containerd",
            )

    def outcome(self, image: Reference, lines: Iterator[tuple[str, str]]) -> Outcome:
        said: list[str] = []
        asked: set[str] = set()
        elsewhere, code = [], "1"
        for word, rest in lines:
            if word == "said":
                said.append(rest)
            elif word == "code":
                code = rest
            elif word == "looked-up" and rest.rstrip(".").lower() not in map(_host, self.mapping.mirrors):
                elsewhere.append(rest)
            elif word == "asked":
                address, _, port = rest.partition(" ")
                mirror = self._mirror_at(_address(address), int(port))
                if mirror:
                    asked.add(mirror)
                elif not self._is_harmless(_address(address), int(port)):
                    elsewhere.append(f"{address} port {port}")
        served_by = ", ".join(one.host for one in self.mapping.mirrors if one.host in asked)
        if not self.is_watched and code == "0":
            served_by = "a mirror (not watched)"
        return Outcome(image, code == "0", served_by, tuple(dict.fromkeys(elsewhere)), " ".join(said)[-600:])

    def _mirror_at(self, address: str, port: int) -> str:
        return next(
            (
                one.host
                for one in self.mapping.mirrors
                if _port(one) == port and address in self.addresses.get(_host(one), [])
            ),
            "",
        )

    def _is_harmless(self, address: str, port: int) -> bool:
        if port == _DNS and address in self.resolvers:
            return True
        return port in _NO_CONTACT and any(address in found for found in self.addresses.values())


def _host(mirror: Mirror) -> str:
    return mirror.host.partition(":")[0]


def _port(mirror: Mirror) -> int:
    return int(mirror.host.partition(":")[2] or _HTTPS)


def _address(text: str) -> str:
    """Return an address in its one spelling; an IPv4 address in IPv6's clothes is the IPv4 address."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return text
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
