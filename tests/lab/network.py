"""A network of a lab's own without a route out.

Podman picks a subnet that nothing on the machine uses, so labs of one machine never meet. On an internal network the
bridge gets no address from it; without one the machine would look for the hosts through its own default route.
"""

from __future__ import annotations

import ipaddress
import json
import subprocess
from dataclasses import dataclass

from tests.lab import podman


@dataclass(frozen=True, slots=True)
class Network:
    """An internal network: `gateway` is this machine's own address on its bridge."""

    name: str
    bridge: str
    subnet: ipaddress.IPv4Network

    @property
    def gateway(self) -> str:
        return str(self.subnet[1])

    def address(self, place: int) -> str:
        """Return the address of the place-th machine, counted from .11 upwards."""
        return str(self.subnet[10 + place])


def create(name: str) -> Network:
    """Make the network. Raises LabError when the name is taken."""
    podman.run("network", "create", "--internal", "--label", f"{podman.LABEL}={name}", name)
    found = json.loads(podman.run("network", "inspect", name))[0]
    return Network(name, found["network_interface"], ipaddress.IPv4Network(found["subnets"][0]["subnet"]))


def reach(network: Network) -> None:
    """Give the bridge its address; it is there once the first container is up."""
    address = f"{network.gateway}/{network.subnet.prefixlen}"
    subprocess.run(["ip", "address", "replace", address, "dev", network.bridge], check=True, timeout=10)


def remove(name: str) -> None:
    """Remove the network and its bridge, if they are there."""
    if name in names(name):
        bridge = json.loads(podman.run("network", "inspect", name))[0]["network_interface"]
        podman.run("network", "rm", "--force", name)
        subprocess.run(["ip", "link", "delete", bridge], check=False, timeout=10, capture_output=True)


def names(lab: str) -> list[str]:
    """Return the networks that a lab made."""
    return podman.run("network", "ls", "--filter", f"label={podman.LABEL}={lab}", "--format", "{{.Name}}").split()
