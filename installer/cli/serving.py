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

from pydantic import BaseModel, ConfigDict, Field, IPvAnyAddress, ValidationError, field_validator

from bundles.verify import Verified, verify
from installer.cli.trusting import Trust
from installer.site import memory
from installer.site.home import Home
from registry.content import ContentSource
from registry.declaration import findings, load
from registry.errors import SiteError, UsageError
from registry.server.limits import Limits, Rate
from registry.server.settings import Settings
from registry.store.store import Store

ACCESS = "access"
"""The access folder's place in a store: robots, the tokens' key, the audit log."""
DEFAULT_LISTEN = "127.0.0.1:5000"
_LISTEN = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BundleEntry(_Section):
    """A bundle to serve from, and whom to trust for it: a site's home, or a first root with its fingerprint."""

    path: Path
    home: Path | None = None
    root: Path | None = None
    fingerprint: str | None = None


class RateEntry(_Section):
    """So many requests at once, then so many a second; 0 stands for any number."""

    per_second: float = Field(0.0, ge=0, le=1_000_000)
    burst: int = Field(1, ge=1, le=1_000_000)


class LimitsEntry(_Section):
    """How often somebody may ask one server process; `proxies` are believed to know who asks through them."""

    identity: RateEntry | None = None
    address: RateEntry | None = None
    failures: RateEntry | None = None
    limits_loopback: bool = False
    proxies: frozenset[IPvAnyAddress] = frozenset()

    def limits(self) -> Limits:
        """Return them as the server takes them; what is not said stays at its default."""
        given = {"identity": self.identity, "address": self.address, "failures": self.failures}
        rates = {name: Rate(one.per_second, one.burst) for name, one in given.items() if one}
        proxies = frozenset(map(str, self.proxies))
        return Limits(**rates, limits_loopback=self.limits_loopback, proxies=proxies)


class ServeConfig(_Section):
    """A whole configuration file; relative paths are beside it."""

    listen: str = DEFAULT_LISTEN
    certificate: Path | None = None
    key: Path | None = None
    users: Path | None = None
    store: Path | None = None
    access: Path | None = None
    external_url: str | None = None
    client_ca: Path | None = None
    anonymous_pull: bool = False
    limits: LimitsEntry = LimitsEntry()
    bundles: tuple[BundleEntry, ...] = ()
    workers: int = Field(0, ge=0, le=64)
    """Processes that serve; 0 stands for one per core."""
    accel: str = ""
    """Where an nginx in front has the store's blobs, which it then sends itself; docs/registry-behind-nginx.md."""

    @field_validator("listen")
    @classmethod
    def _is_address(cls, text: str) -> str:
        address(text)
        return text

    @classmethod
    def read(cls, path: Path) -> ServeConfig:
        """Return the configuration in a file. Raises SiteError with every finding."""
        try:
            return cls.model_validate(load(path))
        except ValidationError as error:
            raise SiteError(
                "config-invalid",
                f"{error.error_count()} finding(s) in the configuration",
                where=str(path),
                findings=findings(error, SiteError, "config-field"),
                hint="the fields are listen, certificate, key, users, store, bundles, access, external_url, client_ca, "
                "anonymous_pull, limits, workers and accel",
            ) from error
        except (OSError, ValueError) as error:
            raise SiteError(
                "config-unreadable", str(error), where=str(path), hint="name a YAML file: --config FILE"
            ) from error

    def settings(self, folder: Path) -> Settings:
        """Return the server's settings, with paths seen from `folder`."""
        host, port = address(self.listen)
        store = _below(folder, self.store)
        return Settings(
            host=host,
            port=port,
            certificate=_below(folder, self.certificate),
            key=_below(folder, self.key),
            users=_below(folder, self.users),
            store=store,
            access=_below(folder, self.access) or (store / ACCESS if store else None),
            client_ca=_below(folder, self.client_ca),
            external_url=self.external_url,
            accel=self.accel,
            anonymous_pull=self.anonymous_pull,
            limits=self.limits.limits(),
        )


def _below(folder: Path, path: Path | None) -> Path | None:
    return folder / path if path else None


@dataclass(frozen=True)
class Served:
    """What is open while a server runs."""

    store: Store | None
    mounts: Sequence[ContentSource]
    origins: Sequence[tuple[str, ContentSource]]
    """Each source with a person's word for it."""
    warnings: Sequence[str]


def judge(settings: Settings, bundles: Sequence[BundleEntry]) -> None:
    """Refuse what no opening is needed for. Raises UsageError."""
    if settings.store is None and not bundles:
        raise UsageError(
            "nothing-to-serve", "there is neither a bundle nor a store to serve", hint="--bundle or --store"
        )
    for entry in bundles:
        if entry.home is None and entry.root is None and entry.fingerprint is None:
            raise _untrusted(entry.path)


@contextmanager
def opened(settings: Settings, bundles: Sequence[BundleEntry], folder: Path) -> Iterator[Served]:
    """Open the store and verify the bundles. Raises UsageError, TrustError, MediaError, SiteError."""
    judge(settings, bundles)
    with ExitStack() as stack:
        store = stack.enter_context(Store.open(settings.store)) if settings.store else None
        verified = [_verified(entry, folder) for entry in bundles]
        for one in verified:
            stack.callback(one.close)
        mounts = [one.content() for one in verified]
        origins: list[tuple[str, ContentSource]] = [(f"store {settings.store}", store)] if store else []
        for entry, one, mount in zip(bundles, verified, mounts, strict=True):
            release = one.release
            name = f"bundle {entry.path} ({release.product} {release.version}, sequence {release.sequence}, verified)"
            origins.append((name, mount))
        yield Served(store, mounts, origins, [warning for one in verified for warning in one.warnings])


def open_bundle(path: Path, trust: Trust) -> Verified:
    """Return a bundle, verified against whom a person trusts. Raises UsageError, TrustError, MediaError.

    A site's home learns the newer roots that the bundle brings.
    """
    if trust.home is not None and trust == Trust(trust.home):
        return memory.verified(Home.open(trust.home), path, now=datetime.now(UTC))
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


def _verified(entry: BundleEntry, folder: Path) -> Verified:
    home, root = (folder / path if path else None for path in (entry.home, entry.root))
    return open_bundle(folder / entry.path, Trust(home, root, entry.fingerprint))
