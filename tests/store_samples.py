"""What tests do to a store: push an image, set a rule, damage a file, look at what its tags name."""

from __future__ import annotations

from registry.oci.digest import Digest
from registry.oci.manifest import OCI_MANIFEST
from registry.store.store import Store
from tests.oci_samples import Image, image

ONE, TWO = image(b"one"), image(b"two")


class Clock:
    """Time that passes when told."""

    def __init__(self, now: float = 1_000_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


def push(store: Store, sample: Image, *tags: str, repository: str = "a") -> Digest:
    for digest, data in sample.blobs.items():
        store.put_blob(repository, digest, [data])
    return store.put_manifest(repository, sample.manifest, OCI_MANIFEST, tags)


def allow(store: Store, rule: str) -> None:
    """Write a policy of one rule for all repositories."""
    (store.folder / "policy.yaml").write_text(f"rules: [{{repositories: ['*'], {rule}}}]")


def shown(store: Store) -> dict[str, dict[str, str]]:
    """Every repository's tags with what they name, as far as it can be read whole."""
    return {
        name: {tag: str(found.digest) for tag in store.tags(name) if (found := store.resolve(name, tag))}
        for name in store.repositories()
    }


def damage(store: Store, digest: Digest) -> None:
    """Flip a bit in the middle of a content's file."""
    path = store.files.path(digest)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
