"""What a runtime's module takes and gives: how the mirrors are reached, and files for a node or a cluster.

A secret stands in files of its own kind only (`is_secret`, mode 0600), and only where the format has no other place.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping as Dictionary
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from registry.errors import UsageError
from registry.mirror.mapping import Mapping, Mirror

REFUSED = "registries that are neither origins nor direct are refused: their names lead nowhere at the mirror"
NODES_TOO = "images that it deploys, its own too, go by the nodes' runtime: configure that as well"
HEAD = "# Written by `dryport mirror config`: change the mapping and write it again.\n"


@dataclass(frozen=True, slots=True)
class Login:
    """Who pulls from the mirrors."""

    user: str
    password: str = field(repr=False)

    @property
    def basic(self) -> str:
        """The user and the password as HTTP's Basic scheme and Docker's `auth` spell them."""
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Access:
    """How all the mirrors are reached: the CA that vouches for them (PEM, "" for the system's), and who asks."""

    ca: str = ""
    login: Login | None = None


@dataclass(frozen=True, slots=True)
class NodeFile:
    """A file of a node, its path below the node's root."""

    path: str
    text: str = field(repr=False)
    is_secret: bool = False


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a runtime needs: files, and what a person has to know or do beside putting them there."""

    files: Sequence[NodeFile]
    notes: Sequence[str] = ()


def address(mirror: Mirror, place: str) -> str:
    """Return `host/path` of a place at a mirror."""
    return "/".join(part for part in (str(mirror), place) if part)


def api_url(mirror: Mirror, place: str) -> str:
    """Return the URL that stands for `/v2` where a client asks for what lies below a place."""
    return "/".join(part for part in (f"https://{mirror.host}/v2", mirror.base, place) if part)


def docker_config(mapping: Mapping, login: Login) -> str:
    """Return the file that `docker login` at each mirror would leave; podman's and the kubelet's have the same form."""
    return json.dumps({"auths": {one.host: {"auth": login.basic} for one in mapping.mirrors}}, indent=2) + "\n"


def documents(*objects: Dictionary[str, Any]) -> str:
    """Return YAML documents as one text, keys in their order, texts of several lines (certificates) as they are."""
    return HEAD + yaml.dump_all(objects, Dumper=_Plain, sort_keys=False)


class _Plain(yaml.SafeDumper):
    """YAML as a person would write it: no aliases, blocks for several lines."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True


def _text(dumper: yaml.SafeDumper, data: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)


_Plain.add_representer(str, _text)


def quoted(text: str) -> str:
    """Return a TOML string. JSON's escapes are a subset of TOML's where nothing lies beyond the basic plane."""
    return json.dumps(text, ensure_ascii=False)


def require_whole_hosts(runtime: str, mapping: Mapping) -> None:
    """Raise UsageError if a rule is about a part of a registry, which `runtime` cannot tell apart."""
    if parts := [rule.origin for rule in mapping.rules if rule.path]:
        raise UsageError(
            "runtime-maps-hosts",
            f"{runtime} can be told where a whole registry lies, not where a part of one does",
            seen=", ".join(parts),
            expected="origins that are registries: docker.io, ghcr.io",
            hint="let the parts keep their names at the mirror, and name the registries alone",
        )
