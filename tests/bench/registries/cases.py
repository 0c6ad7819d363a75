"""What is measured: each case loads one registry for a moment and gives a figure per CPU second of the server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.registries.client import MANIFEST, Blob, Client
from tests.bench.registries.contenders import Contender

REPOSITORY = "bench/app"
CONNECTIONS = 16
PARALLEL_UPLOADS = 256
EMPTY = "application/vnd.oci.empty.v1+json"


@dataclass(frozen=True)
class Figure:
    """One result; `higher` says which way is better."""

    value: float
    unit: str
    higher: bool


def prepare(contender: Contender) -> str:
    """Push one small image, tagged `latest`, and return its manifest's digest."""
    with contender.client() as client:
        config, layer = Blob(100), Blob(4096)
        for blob in (config, layer):
            client.push_blob(REPOSITORY, blob)
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer)],
        }
        return push_manifest(client, manifest, "latest")


def push_manifest(client: Client, manifest: dict[str, object], reference: str) -> str:
    data = json.dumps(manifest).encode()
    done = client.ask("PUT", f"/v2/{REPOSITORY}/manifests/{reference}", data, Content_Type=MANIFEST)
    if done.status != 201:
        raise SystemExit(f"a manifest was answered {done.status} {done.body[:300]!r}")
    return done.headers["docker-content-digest"]


def requests(contender: Contender, method: str, path: str, seconds: float) -> Figure:
    """Ask the same again and again over a few connections; requests per CPU second of the server."""
    clients = [contender.client() for _ in range(CONNECTIONS)]
    message = clients[0].head(method, path)
    is_head = method == "HEAD"
    for client in clients:
        answer = client.ask(method, path)
        if answer.status != 200:
            raise SystemExit(f"{contender.name} answered {answer.status} to {method} {path}")
    before, count, until = contender.cpu(), 0, time.monotonic() + seconds
    while time.monotonic() < until:
        for client in clients:
            client.connect().sendall(message)
        for client in clients:
            client.take(is_head=is_head)
        count += len(clients)
    used = contender.cpu() - before
    for client in clients:
        client.__exit__()
    return Figure(count / max(used, 0.01), "req/cpu-s", higher=True)


def download(contender: Contender, blob: Blob, streams: int, total: int) -> Figure:
    """Fetch one blob over several connections until `total` bytes came; CPU seconds of the server per GB."""
    each = max(1, total // blob.size // streams)
    path = f"/v2/{REPOSITORY}/blobs/{blob.digest}"

    def work(_: int) -> None:
        with contender.client() as client:
            for _ in range(each):
                answer = client.ask("GET", path)
                if answer.status != 200:
                    raise SystemExit(f"{contender.name} answered {answer.status} to a blob")

    used = _cpu_of(contender, streams, work)
    return Figure(used / (each * streams * blob.size / 1e9), "cpu-s/GB", higher=False)


def upload(contender: Contender, size: int, streams: int, total: int, *, chunked: bool = False) -> Figure:
    """Push blobs that nobody has, durably where the registry knows how; CPU seconds of the server per GB."""
    each = max(1, total // size // streams)
    blobs = [[Blob(size) for _ in range(each)] for _ in range(streams)]

    def work(number: int) -> None:
        with contender.client() as client:
            for blob in blobs[number]:
                client.push_blob(REPOSITORY, blob, chunked=chunked)

    used = _cpu_of(contender, streams, work)
    return Figure(used / (each * streams * size / 1e9), "cpu-s/GB", higher=False)


def parallel_memory(contender: Contender, size: int) -> Figure:
    """Hold many uploads open in the middle of their bodies; the largest memory seen, in MiB."""
    clients = [contender.client() for _ in range(PARALLEL_UPLOADS)]
    data = bytes(size)
    for client in clients:
        begun = client.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/", b"")
        place = begun.headers["location"].removeprefix("http://").removeprefix("https://")
        client.connect().sendall(client.head("PATCH", place[place.index("/") :], Content_Length=str(4 * size)))
    largest = 0
    for _ in range(3):
        threads = [threading.Thread(target=client.connect().sendall, args=(data,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        largest = max(largest, contender.memory())
    time.sleep(0.5)
    largest = max(largest, contender.memory())
    for client in clients:
        client.__exit__()
    return Figure(largest / (1 << 20), "MiB", higher=False)


def push_referrers(contender: Contender, subject: str, count: int) -> None:
    """Push artifacts that refer to a manifest."""
    with contender.client() as client:
        empty = Blob.of(b"{}")
        client.push_blob(REPOSITORY, empty)
        size = len(client.ask("GET", f"/v2/{REPOSITORY}/manifests/{subject}").body)
        for number in range(count):
            manifest = {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "artifactType": "application/vnd.example.bench",
                "config": _descriptor(EMPTY, empty),
                "layers": [_descriptor(EMPTY, empty)],
                "subject": {"mediaType": MANIFEST, "digest": subject, "size": size},
                "annotations": {"number": str(number)},
            }
            data = json.dumps(manifest).encode()
            digest = Blob.of(data).digest
            push_manifest(client, manifest, digest)


def push_tags(contender: Contender, digest: str, count: int) -> None:
    """Give a manifest many tags, several at a time where the registry knows how."""
    with contender.client() as client:
        data = client.ask("GET", f"/v2/{REPOSITORY}/manifests/{digest}").body
        names = [f"v{number:06}" for number in range(count)]
        while names:
            some, names = names[:100], names[100:]
            query = "&".join(f"tag={name}" for name in some)
            path = f"/v2/{REPOSITORY}/manifests/{digest}?{query}"
            done = client.ask("PUT", path, data, Content_Type=MANIFEST)
            if "oci-tag" not in done.headers:
                for name in some:
                    client.ask("PUT", f"/v2/{REPOSITORY}/manifests/{name}", data, Content_Type=MANIFEST)


def _cpu_of(contender: Contender, streams: int, work: Callable[[int], None]) -> float:
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - told by the main thread
            failures.append(error)

    before = contender.cpu()
    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return contender.cpu() - before


def _descriptor(media_type: str, blob: Blob) -> dict[str, object]:
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size}
