"""How long a registry needs until it serves: over a store of very many blobs, and over a mounted bundle of any size."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bundles.archive.chunks import CHUNK_BYTES, blob_name, chunk_count
from bundles.archive.layout import LAYOUT_DATA, Layout, carried, index_json
from bundles.archive.region import pack_region
from bundles.archive.writer import sign_in_place
from bundles.definition import Location
from bundles.lock import Inline, LocalFile, Lock, LockedBlob
from bundles.trust.roles import Statement, sign_release
from bundles.trust.verify import TrustState, fingerprint
from bundles.verify import verify
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_LAYER
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.store import durable
from registry.store.store import Store
from tests import sample_bundles
from tests.attacks.publisher import Publisher
from tests.bench.registries.cases import REPOSITORY, Figure
from tests.bench.registries.client import Client
from tests.bench.registries.contenders import Start, running

LAYER = Digest.of(b"stands for the digest of very many zeros")
ZEROS = hashlib.sha256(bytes(CHUNK_BYTES)).hexdigest()
REF = "registry.example.org/bench/huge:1"


def over_many_blobs(name: str, program: str, folder: Path, count: int) -> Figure:
    """Start over a store that has `count` blobs; seconds until a blob of it is answered."""
    folder.mkdir(parents=True)
    last = FILLS[name](folder / "store", count)
    begun = time.monotonic()
    with running(Start(name, program, folder)) as contender, contender.client() as client:
        answer = client.ask("GET", f"/v2/{REPOSITORY}/blobs/{last}")
        took = time.monotonic() - begun
        if answer.status != 200:
            raise SystemExit(f"{name} answered {answer.status} to a blob that it was given")
    shutil.rmtree(folder)
    return Figure(took, "s", higher=False)


def from_bundle(folder: Path, gibibytes: int) -> tuple[Figure, Figure]:
    """Mount a bundle with one huge layer; seconds to the first pull, without and with the start of the program."""
    folder.mkdir(parents=True)
    bundle, root = huge_bundle(folder, gibibytes)
    mark = fingerprint(root.read_bytes())
    middle = gibibytes << 29
    begun = time.monotonic()
    verified = verify(bundle, TrustState.begin(root.read_bytes(), mark), now=datetime.now(UTC))
    with Running(Settings(anonymous_pull=True), None, [verified.content()]) as server:
        _pull(server.port, middle)
        work = time.monotonic() - begun
    verified.close()
    entry = {"path": str(bundle), "root": str(root), "fingerprint": str(mark)}
    config = {"listen": "127.0.0.1:0", "anonymous_pull": True, "workers": 1, "bundles": [entry]}
    (folder / "config.yaml").write_text(json.dumps(config))
    program = "from installer.cli.main import main; main()"
    command = [sys.executable, "-c", program, "registry", "serve", "--config", str(folder / "config.yaml")]
    begun = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            first = process.stdout.readline() if process.stdout else ""
            _pull(int(first.strip().rpartition(":")[2]), middle)
            whole = time.monotonic() - begun
        finally:
            process.terminate()
    return Figure(work, "s", higher=False), Figure(whole, "s", higher=False)


def _pull(port: int, middle: int) -> None:
    """Take the manifest, and a piece from the middle of the layer."""
    at = f"/v2/{REF.rpartition(':')[0]}"
    with Client(port) as client:
        answer = client.ask("GET", f"{at}/manifests/1")
        piece = client.ask("GET", f"{at}/blobs/{LAYER}", Range=f"bytes={middle}-{middle + 99}")
    if answer.status != 200 or piece.body != bytes(100):
        raise SystemExit(f"the mounted bundle answered {answer.status} and {piece.status}")


def huge_bundle(folder: Path, gibibytes: int) -> tuple[Path, Path]:
    """Write a signed bundle whose layer is a hole; return it and its first root."""
    size = gibibytes << 30
    origin = LocalFile(file=Location(path="huge"))
    layer = LockedBlob(digest=LAYER, size=size, media_type=f"{OCI_LAYER}+gzip", origin=origin)
    image = sample_bundles._image(REF, [layer], "amd64")
    lock = carried(
        Lock(
            product="bench",
            version="1.0.0",
            platforms=["linux/amd64"],
            definition=str(Digest.of(b"definition")),
            artifacts=[image],
        )
    )
    layout = Layout.of_lock(lock)
    table = layout.table({blob_name(LAYER): (ZEROS,) * chunk_count(size)}).encode()
    index = index_json(lock, Digest.of(table))
    final = layout.renamed(Digest.of(table))
    path = folder / "huge.tar"
    known = {blob_name(one.digest): one.origin for one in lock.blobs()}
    with durable.Preallocated(path, final.size) as part:
        for offset, data, _ in final.gaps():
            part.write(offset, data)
        part.write(final.region_offset, pack_region({}))
        part.write(final.members[0].offset, LAYOUT_DATA)
        part.write(final.index.offset, index)
        part.write(final.sums.offset, final.sums_bytes(index))
        part.write(final.table_member.offset, table)
        for member in final.blobs:
            origin = known[member.name]
            if isinstance(origin, Inline):
                part.write(member.offset, origin.text.encode())
        part.publish()
    publisher, now = Publisher(product="bench"), datetime.now(UTC)
    statement = Statement("bench", "1.0.0", 1, ("linux/amd64",), now, now + timedelta(days=30))
    sign_in_place(path, sign_release(index, statement, publisher.roots, publisher.release))
    root = folder / "1.root.json"
    root.write_bytes(publisher.roots[0])
    return path, root


def _content(number: int) -> tuple[bytes, str]:
    data = b"%d\n" % number
    return data, hashlib.sha256(data).hexdigest()


def _fill_dryport(store: Path, count: int) -> str:
    with Store.open(store) as opened:
        first, digest = _content(0)
        opened.put_blob(REPOSITORY, Digest("sha256", digest), [first])
    place = store / "blobs/sha256"
    rows = []
    for number in range(1, count):
        data, digest = _content(number)
        (place / digest).write_bytes(data)
        rows.append((f"sha256:{digest}", len(data)))
    with sqlite3.connect(store / "index.sqlite") as connection:
        connection.executemany("INSERT INTO contents (digest, size) VALUES (?, ?)", rows)
        held = ((digest,) for digest, _ in rows)
        connection.executemany("INSERT INTO holdings (repository, digest) VALUES (1, ?)", held)
    connection.close()
    return rows[-1][0]


def _fill_distribution(store: Path, count: int) -> str:
    base = store / "docker/registry/v2"
    links = base / f"repositories/{REPOSITORY}/_layers/sha256"
    digest = ""
    for number in range(count):
        data, digest = _content(number)
        for folder, name, content in (
            (base / f"blobs/sha256/{digest[:2]}/{digest}", "data", data),
            (links / digest, "link", f"sha256:{digest}".encode()),
        ):
            folder.mkdir(parents=True)
            (folder / name).write_bytes(content)
    return f"sha256:{digest}"


def _fill_olareg(store: Path, count: int) -> str:
    place = store / REPOSITORY
    (place / "blobs/sha256").mkdir(parents=True)
    (place / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (place / "index.json").write_text('{"schemaVersion":2,"manifests":[]}')
    digest = ""
    for number in range(count):
        data, digest = _content(number)
        (place / "blobs/sha256" / digest).write_bytes(data)
    return f"sha256:{digest}"


FILLS: dict[str, Callable[[Path, int], str]] = {
    "dryport": _fill_dryport,
    "distribution": _fill_distribution,
    "olareg": _fill_olareg,
    "zot": _fill_olareg,  # keeps its repositories in the same layout
}
