"""The plan of a bundle file: which members it has, in which order, and where each byte of theirs lies.

Everything follows from the lock before the first download, since the chunk table and `index.json` have known sizes; and
it follows again from the authenticated table, so a reader knows every byte that is not content.
docs/bundle-format.md has the drawing.

>>> lock = carried(Lock.read(path))
>>> layout = Layout.of_lock(lock)
>>> layout.size, [member.offset for member in layout.members]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bundles.archive import tar
from bundles.archive.chunks import CHUNK_BYTES, MEMBERS, TABLE_BYTES, ChunkTable, TableEntry, blob_name, chunk_count
from bundles.archive.region import REGION_BYTES
from bundles.lock import Lock, LockedArtifact, LockedBlob
from bundles.sources.artifact import Layer, made
from registry.errors import DefinitionError
from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.oci.manifest import INDEXES, MANIFESTS, OCI_INDEX, REF_NAME

INDEX_BYTES = strictjson.METADATA_BYTES
LAYOUT_NAME, INDEX_NAME, SUMS_NAME = "oci-layout", "index.json", "SHA256SUMS"
HEAD_MEMBERS = 4
"""oci-layout, index.json, SHA256SUMS and the chunk table; all others are blobs."""
LAYOUT_DATA = strictjson.canonical({"imageLayoutVersion": "1.0.0"})
PRODUCT, VERSION, CHUNKS = "dev.dryport.product", "dev.dryport.version", "dev.dryport.chunks"
KIND, DESCRIPTION = "dev.dryport.kind", "dev.dryport.title"
LOCK_TYPE, LOCK_LAYER = "application/vnd.dryport.lock.v1", "application/vnd.dryport.lock.v1+json"
UNKNOWN = Digest("sha256", "0" * 64)
"""Stands for the table's digest until the table is complete; digests have one length, so no size changes."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file in the tar; its header begins at `begin`, its content at `offset`."""

    name: str
    size: int
    begin: int
    offset: int

    @property
    def header(self) -> bytes:
        """All its header blocks."""
        return tar.header(self.name, self.size, self.offset - self.begin)

    @property
    def end(self) -> int:
        """Where its content ends."""
        return self.offset + self.size


@dataclass(frozen=True, slots=True)
class Layout:
    """All members outside the region, in the order of the file."""

    members: tuple[Member, ...]
    region_offset: int
    size: int

    @classmethod
    def arrange(cls, sizes: Sequence[tuple[str, int]]) -> Layout:
        """Return the layout of members given by name and size; the region follows index.json.

        What a reader must find before it has the table has a header of one block.
        """
        at = region_offset = 0
        members: list[Member] = []
        for name, size in sizes:
            length = tar.header_length(size, at) if len(members) >= HEAD_MEMBERS else tar.BLOCK
            member = Member(name, size, at, at + length)
            members.append(member)
            at = member.offset + tar.padded(size)
            if name == INDEX_NAME:
                region_offset, at = at, at + REGION_BYTES
        return cls(tuple(members), region_offset, at + len(tar.END))

    @classmethod
    def of_lock(cls, lock: Lock) -> Layout:
        """Return the layout of the bundle that `lock` (with its carried lock) describes."""
        blobs = [(blob_name(blob.digest), blob.size) for blob in _in_order(lock)]
        index_size, table_size = len(index_json(lock, UNKNOWN)), 0
        while True:  # a larger table moves the offsets in it, never back; they may get more digits: it grows, and stops
            layout = cls.of_table(index_size, blob_name(UNKNOWN), table_size, blobs)
            needed = layout.table_bytes()
            if needed > TABLE_BYTES:
                raise DefinitionError(
                    "bundle-too-large",
                    "the chunk table would be larger than a reader accepts",
                    expected=f"at most {TABLE_BYTES} bytes",
                    seen=f"{needed} bytes for {sum(size for _, size in blobs)} bytes of content",
                    hint="make two products of it",
                )
            if needed == table_size:
                return layout
            table_size = needed

    @classmethod
    def of_table(cls, index_size: int, table_name: str, table_size: int, blobs: Sequence[tuple[str, int]]) -> Layout:
        """Return the layout around a chunk table and the members behind it."""
        first = [(LAYOUT_NAME, len(LAYOUT_DATA)), (INDEX_NAME, index_size)]
        listed = [*first, (table_name, table_size), *blobs]
        sums = sum(64 + 2 + len(name) + 1 for name, _ in listed)
        return cls.arrange([*first, (SUMS_NAME, sums), (table_name, table_size), *blobs])

    @property
    def index(self) -> Member:
        """The member `index.json`."""
        return self.members[1]

    @property
    def sums(self) -> Member:
        """The member `SHA256SUMS`."""
        return self.members[2]

    @property
    def table_member(self) -> Member:
        """The chunk table's member; its name may still be the placeholder's."""
        return self.members[3]

    @property
    def blobs(self) -> tuple[Member, ...]:
        """All members behind the table."""
        return self.members[HEAD_MEMBERS:]

    def table(self, chunks: Mapping[str, tuple[str, ...]]) -> ChunkTable:
        """Return the chunk table; `chunks` has the digests of each member larger than one chunk."""
        return ChunkTable(
            members=tuple(
                TableEntry(name=one.name, size=one.size, offset=one.offset, chunks=chunks.get(one.name))
                for one in self.blobs
            )
        )

    def table_bytes(self) -> int:
        """Return how large the chunk table's encoding will be; chunk digests have one length."""
        lists = [
            len('"chunks":[],') + len(f'"{UNKNOWN.hex}",') * chunk_count(member.size) - 1
            for member in self.blobs
            if member.size > CHUNK_BYTES
        ]
        return len(self.table({}).encode()) + sum(lists)

    def renamed(self, table_digest: Digest) -> Layout:
        """Return the same layout with the table's true name."""
        name = blob_name(table_digest)
        sizes = [(name if member is self.table_member else member.name, member.size) for member in self.members]
        return Layout.arrange(sizes)

    def sums_bytes(self, index: bytes) -> bytes:
        """Return SHA256SUMS in coreutils' form: every member outside the region, but itself."""
        known = {LAYOUT_NAME: Digest.of(LAYOUT_DATA).hex, INDEX_NAME: Digest.of(index).hex}
        names = [member.name for member in self.members if member is not self.sums]
        return "".join(f"{known.get(name) or name.rpartition('/')[2]}  {name}\n" for name in names).encode()

    def gaps(self) -> Iterator[tuple[int, bytes, str]]:
        """Yield every stretch that is neither content nor region: offset, bytes, and the member that follows."""
        at = 0
        for member in self.members:
            if member is self.sums:
                yield at, bytes(self.region_offset - at), "the region"
                at = member.begin
            yield at, bytes(member.begin - at) + member.header, member.name
            at = member.end
        yield at, bytes(self.size - at), "the end"


def carried(lock: Lock) -> Lock:
    """Return the lock with one artefact more: the lock itself, as a bundle carries it."""
    if any(artifact.kind == "lock" for artifact in lock.artifacts):
        raise DefinitionError("lock-invalid", "the lock names a lock as artefact", hint="dryport bundle lock again")
    layer = Layer.text("bundle.lock.json", lock.encode().decode(), LOCK_LAYER)
    ref = f"dryport/lock/{lock.product}:{lock.version}"
    own = made("lock", LOCK_TYPE, ref, [layer], title="the lock this bundle was built from")
    return lock.model_copy(update={"artifacts": [*lock.artifacts, own]})


def index_json(lock: Lock, chunks: Digest) -> bytes:
    """Return the bytes of `index.json`; `chunks` is the chunk table's digest."""
    value = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [_descriptor(artifact) for artifact in sorted(lock.artifacts, key=lambda one: one.ref)],
        "annotations": {PRODUCT: lock.product, VERSION: lock.version, CHUNKS: str(chunks)},
    }
    data = strictjson.canonical(value)
    if len(data) > INDEX_BYTES:
        raise DefinitionError(
            "bundle-too-large",
            "index.json would be larger than a reader accepts",
            expected=f"at most {INDEX_BYTES} bytes",
            seen=f"{len(data)} bytes, {len(lock.artifacts)} artefacts",
            hint="make two products of it",
        )
    return data


def _descriptor(artifact: LockedArtifact) -> dict[str, object]:
    title = {DESCRIPTION: artifact.title} if artifact.title else {}
    value: dict[str, object] = {
        "mediaType": artifact.root.media_type,
        "digest": str(artifact.root.digest),
        "size": artifact.root.size,
        "annotations": {REF_NAME: artifact.ref, KIND: artifact.kind, **title},
    }
    if artifact.kind not in ("image", "pack", "content"):
        value["artifactType"] = f"application/vnd.dryport.{artifact.kind}.v1"
    return value


def _in_order(lock: Lock) -> list[LockedBlob]:
    """Return documents by digest, then all other blobs by digest. Raises DefinitionError if the lock makes no sense."""
    refs = Counter(artifact.ref for artifact in lock.artifacts)
    twice = sorted(ref for ref, count in refs.items() if count > 1)
    blobs = list(lock.blobs())
    sizes = {blob.digest: blob.size for blob in blobs}
    unequal = [
        blob.digest
        for artifact in lock.artifacts
        for blob in (artifact.root, *artifact.manifests, *artifact.blobs)
        if sizes[blob.digest] != blob.size or blob.digest.algorithm != "sha256"
    ]
    if twice or unequal or len(blobs) > MEMBERS:
        raise DefinitionError(
            "lock-invalid",
            "the lock cannot become a bundle",
            expected=f"distinct references, one size for each sha256 digest, at most {MEMBERS} blobs",
            seen=", ".join([*twice, *map(str, unequal[:5])]) or f"{len(blobs)} blobs",
            hint="lock again: dryport bundle lock bundle.yaml",
        )
    roots = {artifact.root.digest for artifact in lock.artifacts}
    return sorted(blobs, key=lambda blob: (blob.digest not in roots and not _is_document(blob), blob.digest))


def _is_document(blob: LockedBlob) -> bool:
    return blob.media_type in MANIFESTS | INDEXES or blob.media_type.endswith("+json")
