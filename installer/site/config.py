"""`site.yaml`: what a person declares about one isolated site.

* An unknown key is an error, every finding is reported together, a read file does not change.
* Secrets are references to files, never values.
* Paths are relative to the file's own folder.

>>> declared = Declared.read(Path("site.yaml"))
>>> [host.name for host in declared.site.hosts]
['node1']
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from registry.declaration import findings, load
from registry.errors import SiteError
from registry.oci import strictjson
from registry.oci.digest import Digest

_LABEL = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"  # RFC 1123, a single label
_DOMAIN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$"
_USER = r"^[a-z_][a-z0-9_-]{0,31}$"
HOMES = Path("/var/lib/dryport")
"""Where a site's home lies unless the file or the command line says otherwise."""


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        if re.fullmatch(r"[0-9.]+", text) or not re.fullmatch(_DOMAIN, text):
            raise ValueError(f"neither an IP address nor a host name: {text[:100]!r}") from None
        return text


def _network(text: str) -> str:
    return str(ipaddress.ip_network(text))


Address = Annotated[str, AfterValidator(_address)]
Network = Annotated[str, AfterValidator(_network)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Section(BaseModel):
    """Base of all parts."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FileReference(Section):
    """A secret that lies in a file."""

    file: str = Field(min_length=1)


class HostEntry(Section):
    """An existing Linux machine that SSH reaches."""

    name: str = Field(pattern=_LABEL, description="Name of the host inside the site.")
    address: Address = Field(description="IP address or DNS name at which SSH answers.")
    port: Port = 22
    user: str = Field("root", pattern=_USER)
    key: str | FileReference = Field(description="SSH private key: its path, or {file: path}. Never the key itself.")

    @property
    def key_file(self) -> str:
        """The private key's path as it was written."""
        return self.key if isinstance(self.key, str) else self.key.file


class RegistryEntry(Section):
    """The site's own registry."""

    hosts: list[str] = Field(default=[], description="Hosts that run it; all hosts when left out.")
    port: Port = 5000


class PolicyEntry(Section):
    """Limits that the operator may move."""

    clock_skew_seconds: int = Field(60, ge=1, description="A host's clock may differ from this machine's by so much.")
    plan_hours: int = Field(24, ge=1, description="A saved plan is refused when it is older.")
    forward_port: Port = Field(5443, description="Port on a host's loopback through which it reaches this machine.")


class Site(Section):
    """A whole `site.yaml`."""

    apiVersion: Literal["dryport/v1"]  # noqa: N815 - the field's own spelling in every file of ours
    kind: Literal["Site"]
    name: str = Field(pattern=_LABEL)
    domain: str = Field(pattern=_DOMAIN, description="The site CA signs only names below it.")
    target: Literal["baremetal"]
    home: str | None = Field(None, description="The home folder, if not /var/lib/dryport/NAME.")
    hosts: list[HostEntry] = Field(min_length=1)
    addresses: list[Network] = Field(
        default=[], description="Networks that the site CA may sign addresses of; the hosts' own addresses if left out."
    )
    registry: RegistryEntry = RegistryEntry()
    policy: PolicyEntry = PolicyEntry()

    @model_validator(mode="after")
    def _fits_together(self) -> Site:
        names = [host.name for host in self.hosts]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"hosts with the same name: {', '.join(twice)}")
        places = [(host.address, host.port) for host in self.hosts]
        if len(set(places)) != len(places):
            raise ValueError("two hosts with the same address and port")
        if unknown := sorted(set(self.registry.hosts) - set(names)):
            raise ValueError(f"registry.hosts names no host of this site: {', '.join(unknown)}")
        if self.registry.port == self.policy.forward_port:
            raise ValueError("registry.port and policy.forward_port are the same")
        return self

    @property
    def registry_hosts(self) -> tuple[str, ...]:
        """Names of the hosts that run the site's registry."""
        return tuple(self.registry.hosts or (host.name for host in self.hosts))

    @property
    def digest(self) -> Digest:
        """The digest of what is declared, whatever the file's spelling."""
        return Digest.of(strictjson.canonical(self.model_dump(mode="json")))


def schema() -> dict[str, Any]:
    """Return the JSON Schema of `site.yaml`, as published in docs/site.schema.json."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Site.model_json_schema()}


@dataclass(frozen=True, slots=True)
class Declared:
    """A site and the file that declares it."""

    site: Site
    path: Path

    @classmethod
    def read(cls, path: Path) -> Declared:
        """Return the site in a file. Raises SiteError that lists every finding."""
        try:
            str(path.absolute()).encode()  # the home keeps it, and JSON holds text alone
            value = load(path)
        except (OSError, ValueError) as error:
            raise SiteError(
                "site-unreadable", str(error), where=str(path), hint="write a site.yaml as docs/site.md shows"
            ) from error
        try:
            return cls(Site.model_validate(value), path.absolute())
        except ValidationError as error:
            raise SiteError(
                "site-invalid",
                f"{error.error_count()} finding(s) in the site's declaration",
                where=str(path),
                findings=findings(error, SiteError, "site-field"),
                hint="mend the fields named here; docs/site.md lists all of them",
            ) from error

    def home(self, chosen: Path | None = None) -> Path:
        """Return the home folder: the one chosen on the command line, the declared one, or the usual one."""
        if chosen is not None:
            return chosen.absolute()
        return self.path.parent / self.site.home if self.site.home else HOMES / self.site.name

    def key_path(self, host: HostEntry) -> Path:
        """Return where a host's SSH private key lies."""
        return self.path.parent / Path(host.key_file).expanduser()
