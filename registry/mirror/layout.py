"""An OCI image layout in a folder (OCI image-spec 1.1, "Image Layout"), to copy from and to copy to.

Written: `org.opencontainers.image.ref.name` is `repository:tag`, so one folder holds many repositories; manifests
without a tag stand in the index by `dev.dryport.repository`, with what they refer to. Read: also layouts of others,
where the name is a tag alone; their repository is the folder's name. A blob gets its final name when it was verified.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from registry.content import Content, ContentSource
from registry.errors import DryportError, MediaError, SiteError
from registry.mirror.graph import Graph
from registry.mirror.space import check_free
from registry.mirror.target import Moved, Passage
from registry.oci import strictjson
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import INDEXES, MANIFESTS, OCI_INDEX, REF_NAME, Manifest
from registry.oci.reference import repository_name, tag_name
from registry.store import durable
from registry.store.faults import DigestMismatchError
from registry.store.files import StoredContent

LAYOUT = "oci-layout"
INDEX = "index.json"
LAYOUT_DATA = b'{"imageLayoutVersion":"1.0.0"}'
REPOSITORY = "dev.dryport.repository"
INDEX_BYTES = 64 << 20
BLOCK = 1 << 20


@dataclass(frozen=True)
class Entry:
    """A manifest that a layout's index names: where it belongs, and by which tag."""

    repository: str
    tag: str | None
    descriptor: Descriptor


class Layout:
    """A layout as a source (implements registry.content.ContentSource)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._entries = _entries(folder)

    def repositories(self) -> Iterable[str]:
        """Return every repository's name, sorted."""
        return sorted({entry.repository for entry in self._entries})

    def tags(self, repository: str) -> Iterable[str]:
        """Return a repository's tags, sorted."""
        return sorted({entry.tag for entry in self._entries if entry.repository == repository and entry.tag})

    def resolve(self, repository: str, tag: str) -> Descriptor | None:
        """Return the manifest that a tag names; the last entry counts."""
        found = [one for one in self._entries if (one.repository, one.tag) == (repository, tag)]
        return found[-1].descriptor if found else None

    def manifest(self, repository: str, digest: Digest) -> tuple[bytes, str] | None:
        """Return a manifest's exact bytes, checked, and its media type."""
        content = self.blob(repository, digest)
        if content is None:
            return None
        try:
            if content.size > 2 * strictjson.METADATA_BYTES:
                return None
            data = content.read(0, content.size)
        finally:
            content.close()
        if not digest.matches(data):
            raise MediaError(
                "content-differs",
                "a layout has other bytes than their name promises",
                where=str(_path(self.folder, digest)),
                expected=str(digest),
                seen=str(Digest.of(data, digest.algorithm)),
                hint="get the layout again from where it came",
            )
        return data, _media_type(data, self._stated(digest))

    def blob(self, repository: str, digest: Digest) -> Content | None:  # noqa: ARG002 - a layout's blobs are everybody's
        """Open a blob; its bytes are checked by whoever takes them."""
        try:
            handle = os.open(_path(self.folder, digest), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        return StoredContent(handle, os.fstat(handle).st_size)

    def referrers(self, repository: str, subject: Digest) -> Sequence[Descriptor]:
        """Return the manifests of the index whose subject is `subject`."""
        return [one for one, about in self._subjects(repository) if about == subject]

    def is_absent(self, repository: str, digest: Digest) -> bool:
        """A layout says of nothing that it is absent on purpose, but of children: those that an index names."""
        for entry in self._entries:
            if entry.repository == repository and entry.descriptor.media_type in INDEXES:
                found = self.manifest(repository, entry.descriptor.digest)
                if found and any(child.digest == digest for child in Manifest.parse(*found).children):
                    return True
        return False

    def _stated(self, digest: Digest) -> str | None:
        return next((one.descriptor.media_type for one in self._entries if one.descriptor.digest == digest), None)

    def _subjects(self, repository: str) -> Iterator[tuple[Descriptor, Digest]]:
        seen: set[Digest] = set()
        for entry in self._entries:
            digest = entry.descriptor.digest
            if entry.repository != repository or digest in seen:
                continue
            seen.add(digest)
            found = self.manifest(repository, digest)
            manifest = Manifest.parse(*found) if found else None
            if manifest and manifest.subject:
                yield replace(manifest.descriptor, digest=digest), manifest.subject.digest


class LayoutTarget:
    """A layout that is filled; one process at a time (implements registry.mirror.target.Target)."""

    refusals = (OSError,)

    def __init__(self, folder: Path) -> None:
        durable.make_folder(folder)
        self.folder = folder
        self._guard = _alone(folder)
        for algorithm in ("sha256", "sha512"):
            durable.make_folder(folder / "blobs" / algorithm)
        if not (folder / LAYOUT).exists():
            durable.replace(folder / LAYOUT, LAYOUT_DATA)
        self._entries = {_key(entry): entry for entry in _entries(folder, must_exist=False)}
        self._lock = threading.Lock()
        self.known: ContentSource | None = None

    def __str__(self) -> str:
        return str(self.folder)

    def close(self) -> None:
        """Let others write."""
        os.close(self._guard)

    def holds(self, repository: str, descriptor: Descriptor) -> bool:  # noqa: ARG002 - blobs are everybody's
        """Say whether a blob is there: a file has its name only after it was verified."""
        try:
            return _path(self.folder, descriptor.digest).stat().st_size == descriptor.size
        except FileNotFoundError:
            return False

    def share(self, repository: str, descriptor: Descriptor, holder: str | None) -> bool:  # noqa: ARG002
        """Say whether a blob is there: then all repositories have it."""
        return self.holds(repository, descriptor)

    def put(self, repository: str, descriptor: Descriptor, content: Content, passage: Passage) -> Moved:  # noqa: ARG002
        """Write a blob, on from what an earlier run wrote."""
        return _Part(self.folder, descriptor, content, passage).write()

    def named(self, repository: str, reference: str | Digest) -> Digest | None:
        """Return what a tag names, or whether a manifest is there and stands in the index."""
        key = (repository, None if isinstance(reference, Digest) else reference)
        with self._lock:
            if isinstance(reference, Digest):
                return reference if _path(self.folder, reference).is_file() else None
            found = self._entries.get((*key, None))
        return found.descriptor.digest if found else None

    def record(self, repository: str, manifest: Manifest, digest: Digest) -> None:
        """Write a manifest; what refers to another one is noted in the index, since nothing else leads to it."""
        durable.replace(_path(self.folder, digest), manifest.data)
        if manifest.subject:
            self._note(Entry(repository, None, replace(manifest.descriptor, digest=digest, annotations={})))

    def tag(self, repository: str, manifest: Manifest, digest: Digest, tags: Sequence[str]) -> None:
        """Note tags for the index."""
        for tag in tags:
            self._note(Entry(repository, tag, replace(manifest.descriptor, digest=digest, annotations={})))

    def check_fitness(self, graphs: Iterable[Graph]) -> Sequence[DryportError]:  # noqa: ARG002
        """It takes everything."""
        return ()

    def check_room(self, sizes: Iterable[int], contents: Iterable[Content | None]) -> None:  # noqa: ARG002
        """Raise SiteError if the folder's disk is too small."""
        check_free(self.folder, sizes)

    def finish(self) -> None:
        """Write the index, durably."""
        with self._lock:
            entries = sorted(self._entries.values(), key=_order)
            manifests = [_as_json(entry) for entry in entries]
        value = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
        data = strictjson.canonical(value)
        path = self.folder / INDEX
        if not path.exists() or path.read_bytes() != data:
            durable.replace(path, data)

    def _note(self, entry: Entry) -> None:
        with self._lock:
            self._entries[_key(entry)] = entry


@dataclass
class _Part:
    """One blob on its way into a layout."""

    folder: Path
    descriptor: Descriptor
    content: Content
    passage: Passage

    def write(self) -> Moved:
        final = _path(self.folder, self.descriptor.digest)
        part = final.with_name(f"{durable.TEMPORARY}{final.name}")
        handle = durable.open_partial(part)
        try:
            hasher, offset = self.descriptor.digest.hasher(), 0
            while offset < self.descriptor.size and (block := os.pread(handle, BLOCK, offset)):
                hasher.update(block)  # what an earlier run wrote; a crash may have left anything, the digest will tell
                offset += len(block)
            began = offset = min(offset, self.descriptor.size)
            self.passage.tell(offset)
            while offset < self.descriptor.size:
                block = self.content.read(offset, min(BLOCK, self.descriptor.size - offset))
                if not block:
                    break
                durable.write_all(handle, block, offset)
                hasher.update(block)
                offset += len(block)
                self.passage.tell(len(block))
            seen = Digest(self.descriptor.digest.algorithm, hasher.hexdigest())
            if seen != self.descriptor.digest or offset != self.descriptor.size:
                part.unlink()
                if began:  # what was there before may have been wrong: once more, from the beginning
                    self.passage.tell(-offset)
                    return self.write()
                raise DigestMismatchError(self.descriptor.digest, seen)
            durable.publish(handle, part, final)
        finally:
            os.close(handle)
        return Moved(offset - began)


def _entries(folder: Path, *, must_exist: bool = True) -> Sequence[Entry]:
    path = folder / INDEX
    try:
        with path.open("rb") as file:
            data = file.read(INDEX_BYTES + 1)
    except FileNotFoundError as error:
        if not must_exist:
            return ()
        raise MediaError(
            "layout-missing",
            "there is no OCI layout",
            where=str(folder),
            expected=f"a folder with {LAYOUT} and {INDEX}",
            hint="name the folder that holds the two files",
        ) from error
    try:
        children = Manifest.parse(data, OCI_INDEX).children
        return [_entry(child, folder) for child in children if child.media_type in MANIFESTS | INDEXES]
    except ValueError as error:
        raise MediaError("layout-invalid", str(error), where=str(path), hint="get the layout again") from error


def _entry(child: Descriptor, folder: Path) -> Entry:
    name = child.annotations.get(REF_NAME, "")
    head, colon, tag = name.rpartition(":")
    if stated := child.annotations.get(REPOSITORY):
        return Entry(repository_name(stated), tag_name(tag) if colon else None, child)
    own = _own_name(folder)
    if not name:
        return Entry(own, None, child)
    if colon and "/" not in tag:
        host, slash, path = head.partition("/")
        return Entry(repository_name(f"{host.replace(':', '_')}{slash}{path}".lower()), tag_name(tag), child)
    return Entry(own, tag_name(name), child) if "/" not in name else Entry(repository_name(name), None, child)


def _own_name(folder: Path) -> str:
    try:
        return repository_name(folder.resolve().name.lower())
    except ValueError:
        return "layout"


def _key(entry: Entry) -> tuple[str, str | None, Digest | None]:
    return entry.repository, entry.tag, None if entry.tag else entry.descriptor.digest


def _order(entry: Entry) -> tuple[str, str, str]:
    return entry.repository, entry.tag or "", str(entry.descriptor.digest)


def _as_json(entry: Entry) -> dict[str, object]:
    name = {REF_NAME: f"{entry.repository}:{entry.tag}"} if entry.tag else {}
    return replace(entry.descriptor, annotations={**name, REPOSITORY: entry.repository}).as_json()


def _path(folder: Path, digest: Digest) -> Path:
    return folder / "blobs" / digest.algorithm / digest.hex


def _media_type(data: bytes, stated: str | None) -> str:
    """Return what a manifest is: as the index states it, or as it says itself."""
    if stated:
        return stated
    try:
        value = strictjson.loads(data, limit=2 * strictjson.METADATA_BYTES)
    except ValueError:
        return "application/octet-stream"
    said = value.get("mediaType") if isinstance(value, dict) else None
    if isinstance(said, str):
        return said
    is_index = isinstance(value, dict) and "manifests" in value
    return OCI_INDEX if is_index else next(iter(sorted(MANIFESTS, reverse=True)))


def _alone(folder: Path) -> int:
    handle = os.open(folder / ".dryport.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise SiteError(
            "layout-in-use", "another copy writes this layout", where=str(folder), hint="wait for it to end"
        ) from error
    return handle


@contextmanager
def filled(folder: Path) -> Iterator[LayoutTarget]:
    """Give a layout to fill."""
    target = LayoutTarget(folder)
    try:
        yield target
    finally:
        target.close()
