"""What `registry serve` serves: read from its options or its configuration file, opened and verified.

The configuration file is what the service on a host is started with; it holds paths, never a secret:

    listen: 0.0.0.0:5000
    certificate: /etc/dryport/registry/tls/registry.pem
    key: /etc/dryport/registry/tls/registry.key
    users: /etc/dryport/registry/users
    store: /var/lib/dryport/registry
    external_url: https://registry.example.org:5000
    bundles: []
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, IPvAnyAddress, ValidationError, field_validator

from bundles.delta import of_store
from bundles.verify import Verified, verify
from installer.cli.trusting import Trust
from installer.site import memory
from installer.site.home import Home
from registry.content import ContentSource
from registry.declaration import findings, load
from registry.errors import DryportError, SiteError, UsageError
from registry.server.limits import Limits, Rate
from registry.server.settings import Settings
from registry.store.store import Store

ACCESS = "access"
"""The access folder's place in a store: robots, the tokens' key, the audit log."""
HOUR = 3600.0
DEFAULT_LISTEN = "127.0.0.1:5000"
_LISTEN = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class BundleEntry(_Section):
    """A bundle to serve from, and whom to trust for it: a site's home, or a first root with its fingerprint."""

    path: Path
    """The bundle's file."""
    home: Path | None = None
    """The site's home whose trust and memory count."""
    root: Path | None = None
    """Instead of a home: the first root, 1.root.json."""
    fingerprint: str | None = None
    """That root's fingerprint, `sha256:...`, from a channel other than the bundle."""


class RateEntry(_Section):
    """So many requests at once, then so many a second; 0 stands for any number."""

    per_second: float = Field(0.0, ge=0, le=1_000_000)
    burst: int = Field(1, ge=1, le=1_000_000)


class LimitsEntry(_Section):
    """How often somebody may ask; `proxies` are believed to know who asks through them."""

    identity: RateEntry | None = None
    """Requests of one user or robot."""
    address: RateEntry | None = None
    """Requests from one address."""
    failures: RateEntry | None = None
    """Wrong credentials from one address."""
    limits_loopback: bool = False
    """Whether this machine's own requests count too."""
    proxies: frozenset[IPvAnyAddress] = frozenset()
    """Addresses whose X-Forwarded-For is believed."""

    def limits(self) -> Limits:
        """Return them as the server takes them; what is not said stays at its default."""
        given = {"identity": self.identity, "address": self.address, "failures": self.failures}
        rates = {name: Rate(one.per_second, one.burst) for name, one in given.items() if one}
        proxies = frozenset(map(str, self.proxies))
        return Limits(**rates, limits_loopback=self.limits_loopback, proxies=proxies)


class ServeConfig(_Section):
    """The configuration file of `dryport registry serve`; relative paths are beside it."""

    listen: str = Field(DEFAULT_LISTEN, examples=["0.0.0.0:5000", "[::]:5000"])
    """HOST:PORT. Beyond this machine's own loopback the registry speaks TLS only."""
    certificate: Path | None = None
    """The server's certificate chain, PEM."""
    key: Path | None = None
    """The certificate's key, PEM, not encrypted."""
    users: Path | None = None
    """The users file; see `dryport registry user add`."""
    store: Path | None = None
    """The store's folder; made if it is not there. Without one, bundles alone are served."""
    access: Path | None = None
    """Folder of robots, the tokens' key and the audit log; `access` in the store where this is left out."""
    external_url: str | None = Field(None, examples=["https://registry.example.org:5000"])
    """Under which address clients reach the registry; given, they are told to use tokens."""
    client_ca: Path | None = None
    """Who signs the certificates by which clients may log in, PEM."""
    anonymous_pull: bool = False
    """Whether anybody may pull everything."""
    limits: LimitsEntry = LimitsEntry()
    bundles: tuple[BundleEntry, ...] = ()
    """Bundles to serve in place."""
    workers: int = Field(0, ge=0, le=64)
    """Processes that serve; 0 stands for one per core."""
    accel: str = ""
    """Where an nginx in front has the store's blobs, which it then sends itself; docs/registry-behind-nginx.md."""
    collect_hours: float = Field(24.0, ge=0, le=8784)
    """How often garbage is collected while the registry serves; 0 stands for never."""

    @field_validator("listen")
    @classmethod
    def _is_address(cls, text: str) -> str:
        address(text)
        return text

    @classmethod
    def read(cls, path: Path) -> ServeConfig:
        """Return the configuration in a file. Raises SiteError with every finding."""
        config, error = cls.partly(path)
        if error is not None:
            raise error
        return config

    @classmethod
    def partly(cls, path: Path) -> tuple[ServeConfig, SiteError | None]:
        """Return what of a file is a configuration, and the error with every finding about the rest.

        Raises SiteError for a file that is none at all.
        """
        try:
            value = load(path)
            return cls.model_validate(value), None
        except ValidationError as error:
            told = SiteError(
                "config-invalid",
                f"{error.error_count()} finding(s) in the configuration",
                where=str(path),
                findings=findings(error, SiteError, "config-field"),
                hint=f"the fields are {', '.join(cls.model_fields)}",
            )
            wrong = {str(one["loc"][0]) for one in error.errors() if one["loc"]}
            if not isinstance(value, dict) or not wrong:
                raise told from error
            return cls.model_validate({name: part for name, part in value.items() if str(name) not in wrong}), told
        except (OSError, ValueError) as error:
            raise SiteError(
                "config-unreadable", str(error), where=str(path), hint="name a YAML file: --config FILE"
            ) from error

    def settings(self, folder: Path) -> Settings:
        """Return the server's settings, with paths seen from `folder`."""
        host, port = address(self.listen)
        store = below(folder, self.store)
        return Settings(
            host=host,
            port=port,
            certificate=below(folder, self.certificate),
            key=below(folder, self.key),
            users=below(folder, self.users),
            store=store,
            access=below(folder, self.access) or (store / ACCESS if store else None),
            client_ca=below(folder, self.client_ca),
            external_url=self.external_url,
            accel=self.accel,
            anonymous_pull=self.anonymous_pull,
            limits=self.limits.limits(),
            collect_seconds=self.collect_hours * HOUR,
        )


def below(folder: Path, path: Path | None) -> Path | None:
    """Return a configuration's path as seen from its folder."""
    return folder / path if path else None


@dataclass(frozen=True)
class Served:
    """What is open while a server runs."""

    store: Store | None
    mounts: Sequence[ContentSource]
    origins: Sequence[tuple[str, ContentSource]]
    """Each source with a person's word for it."""
    warnings: Sequence[str]


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration file, as published in docs/registry.schema.json."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **ServeConfig.model_json_schema()}


def judge(store: Path | None, bundles: Sequence[BundleEntry]) -> None:
    """Refuse what no opening is needed for. Raises UsageError."""
    if store is None and not bundles:
        raise UsageError(
            "nothing-to-serve", "there is neither a bundle nor a store to serve", hint="name a bundle or a store"
        )
    for entry in bundles:
        if entry.home is None and entry.root is None and entry.fingerprint is None:
            raise _untrusted(entry.path)


@contextmanager
def said_by(path: Path | None) -> Iterator[None]:
    """Tell what cannot be as a fault of the file that says so, where a file does. Raises SiteError then."""
    try:
        yield
    except UsageError as error:
        if path is None:
            raise
        raise site_error(error, path) from error


def site_error(error: DryportError, path: Path) -> SiteError:
    """Return an error as one of the file that is to be mended."""
    return SiteError(
        error.reference,
        error.message,
        where=error.where or str(path),
        expected=error.expected,
        seen=error.seen,
        hint=error.hint,
        findings=[site_error(one, path) for one in error.findings],
    )


@contextmanager
def opened(settings: Settings, bundles: Sequence[BundleEntry], folder: Path) -> Iterator[Served]:
    """Open the store and verify the bundles. Raises UsageError, TrustError, MediaError, SiteError."""
    judge(settings.store, bundles)
    with ExitStack() as stack:
        store = stack.enter_context(Store.open(settings.store)) if settings.store else None
        verified = [open_entry(entry, folder) for entry in bundles]
        for one in verified:
            stack.callback(one.close)
        base = of_store(store) if store else None
        mounts = [one.content(base) for one in verified]
        origins: list[tuple[str, ContentSource]] = [(f"store {settings.store}", store)] if store else []
        for entry, one, mount in zip(bundles, verified, mounts, strict=True):
            release = one.release
            name = f"bundle {entry.path} ({release.product} {release.version}, sequence {release.sequence}, verified)"
            origins.append((name, mount))
        yield Served(store, mounts, origins, [warning for one in verified for warning in one.warnings])


def open_bundle(path: Path, trust: Trust, *, learns: bool = True) -> Verified:
    """Return a bundle, verified against whom a person trusts. Raises UsageError, TrustError, MediaError, SiteError.

    A site's home learns the newer roots that the bundle brings, unless it is only looked at.
    """
    if trust.home is not None and trust == Trust(trust.home):
        if learns:
            return memory.verified(Home.open(trust.home), path, now=datetime.now(UTC))
        return verify(path, memory.remembered(Home.open(trust.home)), now=datetime.now(UTC))
    state = trust.state()
    if state is None:
        raise _untrusted(path)
    return verify(path, state, now=datetime.now(UTC))


def take_in(verified: Verified, home: Path | None) -> None:
    """Let a site remember, before it is copied, the release that an import takes in; without a home nobody does."""
    if home is not None:
        opened = Home.open(home)
        with opened.locked():
            memory.accept(opened, verified)


def _untrusted(path: Path) -> UsageError:
    return UsageError(
        "trust-missing",
        "a bundle is served or imported only when somebody trusted signed it",
        where=str(path),
        hint="give --home DIR, or --root 1.root.json with --fingerprint sha256:...",
    )


def address(text: str) -> tuple[str, int]:
    """Return host and port in `host:port` or `[v6]:port`. Raises ValueError."""
    found = _LISTEN.fullmatch(text)
    if not found or int(found[3]) > 65535:  # noqa: PLR2004 - the highest port
        raise ValueError(f"an address is HOST:PORT, not {text[:100]!r}")
    return found[1] or found[2], int(found[3])


def open_entry(entry: BundleEntry, folder: Path, *, learns: bool = True) -> Verified:
    """Return the bundle of a configuration's entry, verified; as `open_bundle`."""
    home, root = (below(folder, path) for path in (entry.home, entry.root))
    return open_bundle(folder / entry.path, Trust(home, root, entry.fingerprint), learns=learns)
