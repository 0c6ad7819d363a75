"""What one release holds and another does not: by artefact, by OS package, and in bytes that have to be carried.

Read from locks alone, which bundles carry: no blob is looked at.

>>> difference(Lock.read(old), Lock.read(new)).changes[0]
Change(kind='image', name='registry.example.org/web', before='1.0', after='1.1', size=52428800)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bundles.lock import AptPackage, Lock, LockedArtifact, Wheel

PACKAGE, WHEEL = "os-package", "wheel"


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """Something added (`before` is None), removed (`after` is None) or changed."""

    kind: str
    name: str
    before: str | None
    after: str | None
    size: int
    """Bytes of it that the other release has not: of an addition or a change what is new, of a removal what goes."""

    @property
    def what(self) -> str:
        """`added`, `removed` or `changed`."""
        return "added" if self.before is None else "removed" if self.after is None else "changed"


@dataclass(frozen=True, slots=True)
class Difference:
    """All changes, by kind and name, and what has to be carried."""

    changes: tuple[Change, ...]
    new_bytes: int
    """Bytes of distinct blobs that only the second one has."""
    gone_bytes: int
    kept_bytes: int


def difference(before: Lock, after: Lock) -> Difference:
    """Return what changed from one lock to another."""
    old, new = ({blob.digest: blob.size for blob in lock.blobs()} for lock in (before, after))
    one, other = _by_name(before), _by_name(after)
    changes = list(_changes(one, other, set(old), set(new)))
    changes += _packages(before, after)
    return Difference(
        tuple(sorted(changes, key=lambda one: (one.kind, one.name, one.before or "", one.after or ""))),
        sum(size for digest, size in new.items() if digest not in old),
        sum(size for digest, size in old.items() if digest not in new),
        sum(size for digest, size in new.items() if digest in old),
    )


def _changes(
    before: Mapping[tuple[str, str], Mapping[str, LockedArtifact]],
    after: Mapping[tuple[str, str], Mapping[str, LockedArtifact]],
    old: set[object],
    new: set[object],
) -> Iterator[Change]:
    for kind, name in sorted(before.keys() | after.keys()):
        gone, come = dict(before.get((kind, name), {})), dict(after.get((kind, name), {}))
        for version in gone.keys() & come.keys():
            one, other = gone.pop(version), come.pop(version)
            if one.root.digest != other.root.digest:
                # A tag that moved: what it names tells them apart.
                spelled = [f"{version} ({str(each.root.digest)[:19]})" for each in (one, other)]
                yield Change(kind, name, spelled[0], spelled[1], _size(other, old))
        if len(gone) == len(come) == 1:
            (version, _), (next_version, artifact) = *gone.items(), *come.items()
            yield Change(kind, name, version, next_version, _size(artifact, old))
            continue
        for version, artifact in sorted(gone.items()):
            yield Change(kind, name, version, None, _size(artifact, new))
        for version, artifact in sorted(come.items()):
            yield Change(kind, name, None, version, _size(artifact, old))


def _by_name(lock: Lock) -> Mapping[tuple[str, str], Mapping[str, LockedArtifact]]:
    """Return artefacts by kind and name, then by version: the tag or digest of their reference."""
    found: dict[tuple[str, str], dict[str, LockedArtifact]] = {}
    for artifact in lock.artifacts:
        name, version = artifact.ref, ""
        if "@" in name:
            name, _, version = name.partition("@")
        last = name.rpartition("/")[2]
        if ":" in last:
            tag = last.partition(":")[2]
            name, version = name[: -len(tag) - 1], f"{tag}@{version}" if version else tag
        if artifact.kind != "lock":
            found.setdefault((artifact.kind, name), {})[version] = artifact
    return found


def _packages(before: Lock, after: Lock) -> Iterator[Change]:
    old, new = _installed(before), _installed(after)
    for key in sorted(old.keys() | new.keys()):
        was, now = old.get(key), new.get(key)
        if was != now:
            size = (now or was or ("", 0))[1]
            yield Change(key[0], f"{key[1]}: {key[2]}", was[0] if was else None, now[0] if now else None, size)


def _installed(lock: Lock) -> Mapping[tuple[str, str, str], tuple[str, int]]:
    """Return version and size of each OS package and wheel, by kind, its closure's name and its own."""
    found = {}
    for artifact in lock.artifacts:
        closure = artifact.ref.rpartition(":")[0].rpartition("/")[2]
        for blob in artifact.blobs:
            match blob.origin:
                case AptPackage(package=name, architecture=architecture, version=version):
                    found[PACKAGE, closure, f"{name}:{architecture}"] = (version, blob.size)
                case Wheel(package=name, version=version):
                    found[WHEEL, closure, name] = (version, blob.size)
    return found


def _size(artifact: LockedArtifact, elsewhere: set[object]) -> int:
    parts = {one.digest: one.size for one in (artifact.root, *artifact.manifests, *artifact.blobs)}
    return sum(size for digest, size in parts.items() if digest not in elsewhere)
