"""Our client against registries that others wrote: what the probe finds is so, and the uploads that follow work."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from registry.client.probe import probe
from registry.client.push import RemoteTarget
from registry.client.remote import RemoteRegistry
from registry.client.transport import Limits, Transport
from registry.client.upload_state import Habits, Resumable
from registry.errors import RemoteError
from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.oci.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, artifact
from tests.attacks.cutting_line import CuttingLine
from tests.bench.registries.contenders import Contender, Start, running
from tests.contracts.test_remote_target import InMemory
from tests.interop.registry_site import foreign
from tests.oci_samples import descriptor

MIB = 1 << 20
NAME = "team/app"
BLOB = random.Random(8).randbytes(24 * MIB + 11)  # noqa: S311 - the same every time
LAYER = descriptor(BLOB, OCI_LAYER)
QUICK = Limits(first_pause=0.05, longest_pause=1)
CAN = {
    "distribution": {"sparse-indexes": False, "referrers": False, "sha512": False, "deletes-manifests": True},
    "olareg": {"sparse-indexes": False, "referrers": True, "sha512": True, "deletes-manifests": False},
}
BOTH = {"writable", "monolithic", "chunked", "keeps-broken-upload", "mount", "ranges", "docker-types", "keeps-bytes"}


@pytest.fixture(params=["distribution", "olareg"])
def peer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Contender]:
    with running(Start(request.param, foreign(request.param), tmp_path / "peer")) as contender:
        yield contender


@pytest.fixture
def transport(peer: Contender) -> Iterator[Transport]:
    transport = Transport(f"http://127.0.0.1:{peer.port}", limits=QUICK)
    yield transport
    transport.close()


def pulled(transport: Transport, name: str = NAME) -> bytes:
    blob = RemoteRegistry.over(transport).blob_of(name, LAYER)
    try:
        return blob.read(0, LAYER.size)
    finally:
        blob.close()


def test_the_probe_finds_what_is_known_of_them(peer: Contender, transport: Transport) -> None:
    found = probe(transport, "team/dryport-probe", datetime.now(UTC))
    assert {name: found.can(name) for name in CAN[peer.name]} == CAN[peer.name]
    assert [name for name in BOTH if found.can(name) is not True] == []
    assert found.finding("upload-status").value == "exact"
    assert found.can("cleaned-up") is (peer.name == "distribution")
    target = RemoteTarget(transport, found)
    assert target.put_blob(NAME, LAYER, InMemory(BLOB)).bytes_sent == len(BLOB)
    assert pulled(transport) == BLOB


def test_a_blob_goes_whole_or_in_chunks_is_mounted_and_comes_back(transport: Transport) -> None:
    target = RemoteTarget(transport)
    target.put_blob("team/whole", LAYER, InMemory(BLOB))
    target.habits = Habits(monolithic=False, chunk=5 * MIB)
    target.put_blob("team/chunks", LAYER, InMemory(BLOB))
    assert target.mount("team/mounted", LAYER.digest, "team/whole")
    for name in ("team/whole", "team/chunks", "team/mounted"):
        assert target.has_blob(name, LAYER)
        assert pulled(transport, name) == BLOB


@pytest.mark.parametrize("chunk", [4 * MIB, 1 << 30])
def test_a_line_that_breaks_costs_no_more_than_a_chunk_each_time(peer: Contender, chunk: int) -> None:
    cuts = [LAYER.size // 5 * number for number in range(1, 5)]
    with CuttingLine(peer.port, cuts) as line:
        transport = Transport(line.url, limits=QUICK)
        target = RemoteTarget(transport)
        target.habits = Habits(monolithic=chunk > LAYER.size, chunk=chunk)
        target.put_blob(NAME, LAYER, InMemory(BLOB))
        transport.close()
    assert line.broken == 4
    assert line.up <= 1.02 * LAYER.size + 4 * min(chunk, 2 * MIB)
    direct = Transport(f"http://127.0.0.1:{peer.port}")
    assert pulled(direct) == BLOB
    direct.close()


def test_another_process_goes_on_inside_the_blob(transport: Transport) -> None:
    target = RemoteTarget(transport)
    target.habits = Habits(monolithic=False, chunk=4 * MIB)
    states: list[Resumable] = []

    def stop(more: int, state: Resumable) -> None:
        states.append(state)
        if not more and state.offset >= 12 * MIB:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        target.put_blob(NAME, LAYER, InMemory(BLOB), on_progress=stop)
    again = RemoteTarget(transport)
    sent = again.put_blob(NAME, LAYER, InMemory(BLOB), session=Resumable.from_json(states[-1].as_json()))
    assert (sent.sessions, sent.bytes_sent) == (0, LAYER.size - 12 * MIB)
    assert pulled(transport) == BLOB


def test_manifests_of_all_kinds_are_kept_as_they_are(transport: Transport) -> None:
    target = RemoteTarget(transport)
    small = b"{}"
    for data in (small, BLOB):
        target.put_blob(NAME, descriptor(data, OCI_LAYER), InMemory(data))
    oci = artifact("application/x-test", [LAYER])
    docker = _pretty(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": descriptor(small, "application/vnd.docker.container.image.v1+json").as_json(),
            "layers": [descriptor(BLOB, "application/vnd.docker.image.rootfs.diff.tar.gzip").as_json()],
        }
    )
    kinds = [(oci, OCI_MANIFEST, "oci"), (docker, DOCKER_MANIFEST, "docker")]
    for child, media_type, listed, tag in [
        (oci, OCI_MANIFEST, OCI_INDEX, "index"),
        (docker, DOCKER_MANIFEST, DOCKER_LIST, "list"),
    ]:
        value = {"schemaVersion": 2, "mediaType": listed, "manifests": [descriptor(child, media_type).as_json()]}
        kinds.append((_pretty(value), listed, tag))
    source = RemoteRegistry.over(transport)
    for data, media_type, tag in kinds:
        recorded = target.put_manifest(NAME, data, media_type, [tag])
        assert recorded.digest == Digest.of(data)
        assert source.manifest(NAME, Digest.of(data)) == (data, media_type)
        assert target.manifest_digest(NAME, tag) == Digest.of(data)


def test_a_referrer_tells_whether_the_fallback_tag_is_needed(peer: Contender, transport: Transport) -> None:
    target = RemoteTarget(transport)
    for data in (b"{}", BLOB):
        target.put_blob(NAME, descriptor(data, OCI_LAYER), InMemory(data))
    subject = artifact("application/x-test", [LAYER])
    target.put_manifest(NAME, subject, OCI_MANIFEST, ["1.0"])
    named = strictjson.canonical(descriptor(subject, OCI_MANIFEST).as_json()).strip()
    referrer = subject.replace(b'"config"', b'"subject":' + named + b',"config"')
    recorded = target.put_manifest(NAME, referrer, OCI_MANIFEST)
    assert recorded.subject_seen is (peer.name == "olareg")


def test_a_manifest_of_missing_blobs_is_refused_in_their_words(transport: Transport) -> None:
    with pytest.raises(RemoteError) as caught:
        RemoteTarget(transport).put_manifest(NAME, artifact("application/x-test", [LAYER]), OCI_MANIFEST)
    assert caught.value.reference == "manifest-refused"
    assert "BLOB_UNKNOWN" in caught.value.seen


def _pretty(value: object) -> bytes:
    return json.dumps(value, indent=3).encode() + b"\n"
