"""What every handler is given: the content, where to write, who asks, and where blocking work runs."""

from __future__ import annotations

from dataclasses import dataclass

from registry.oci.digest import Digest
from registry.server.auth import Access, Identity
from registry.server.exchange import Request
from registry.server.settings import Settings
from registry.server.sources import Sources
from registry.server.threads import Threads
from registry.server.watch import Watch
from registry.server.wire import Refusal, warning
from registry.store.store import Store

READ_ONLY = "this registry is read-only"


@dataclass(frozen=True, slots=True)
class Registry:
    """One running registry's parts."""

    settings: Settings
    store: Store | None
    sources: Sources
    threads: Threads
    access: Access
    watch: Watch


@dataclass(frozen=True, slots=True)
class Call:
    """One request, found its route and allowed: the repository, and what the route's last part says."""

    registry: Registry
    request: Request
    identity: Identity
    repository: str
    argument: str

    @property
    def store(self) -> Store:
        """The registry's own store. Raises Refusal where there is none to write to."""
        if self.registry.store is None or self.registry.settings.read_only:
            raise Refusal("UNSUPPORTED", READ_ONLY, headers=warning(READ_ONLY))
        return self.registry.store


def digest_of(text: str) -> Digest:
    """Return the digest that a client wrote. Raises Refusal (400)."""
    try:
        return Digest.parse(text)
    except ValueError as error:
        raise Refusal("DIGEST_INVALID", "the digest is malformed or of an unknown algorithm") from error
