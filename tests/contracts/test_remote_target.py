"""Our own registry as a target of copies, over TLS and over plain loopback: what is sent is there, byte for byte."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.client.access import Access, fixed_login
from registry.client.push import RemoteTarget
from registry.client.transport import Transport
from registry.client.upload_state import Habits, Resumable
from registry.content import Content
from registry.errors import MediaError, RemoteError
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_LAYER, OCI_MANIFEST, artifact
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.users import user_line
from registry.store.store import Store
from tests.authority import Authority
from tests.oci_samples import descriptor

PASSWORD = "correct horse"
NAME = "team/app"
BLOB = random.Random(1).randbytes(5_300_000)  # noqa: S311 - the same every time, and nothing repeats in it
LAYER = descriptor(BLOB, OCI_LAYER)


class InMemory:
    """A content that lies in memory."""

    def __init__(self, data: bytes) -> None:
        self.data, self.size = data, len(data)
        self.reads: list[int] = []

    def read(self, offset: int, length: int) -> bytes:
        self.reads.append(offset)
        return self.data[offset : offset + length]

    def close(self) -> None:
        pass


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as store:
        yield store


@pytest.fixture(params=["tls", "plain"])
def target(request: pytest.FixtureRequest, tmp_path: Path, store: Store) -> Iterator[RemoteTarget]:
    authority = Authority(tmp_path)
    identity = authority.issue()
    users = tmp_path / "users"
    users.write_text(user_line("push", PASSWORD, ["pull,push,delete:*"]) + "\n")
    settings = Settings(users=users)
    if request.param == "tls":
        settings = Settings(certificate=identity.certificate, key=identity.key, users=users)
    with Running(settings, store) as server:
        assert server.url.startswith("https://" if request.param == "tls" else "http://127.0.0.1:")
        transport = Transport(server.url, Access(ca=authority.ca, login=fixed_login("push", PASSWORD)))
        yield RemoteTarget(transport)
        transport.close()


def kept(store: Store, repository: str, digest: Digest) -> bytes:
    content = store.blob(repository, digest)
    assert content is not None
    try:
        return content.read(0, content.size)
    finally:
        content.close()


def test_a_blob_is_sent_once_and_then_known(target: RemoteTarget, store: Store) -> None:
    told: list[int] = []
    assert not target.has_blob(NAME, LAYER)
    sent = target.put_blob(NAME, LAYER, InMemory(BLOB), on_progress=lambda more, _: told.append(more))
    assert (sent.bytes_sent, sent.sessions, sent.interruptions, sent.is_proven) == (len(BLOB), 1, 0, True)
    assert sum(told) == len(BLOB)
    assert target.has_blob(NAME, LAYER)
    assert kept(store, NAME, LAYER.digest) == BLOB


def test_a_blob_goes_in_chunks_where_the_target_is_known_to_want_that(target: RemoteTarget, store: Store) -> None:
    target.habits = Habits(monolithic=False, chunk=1_000_000)
    assert target.put_blob(NAME, LAYER, InMemory(BLOB)).bytes_sent == len(BLOB)
    assert kept(store, NAME, LAYER.digest) == BLOB


def test_a_blob_out_of_a_file_is_sent(target: RemoteTarget, store: Store) -> None:
    store.put_blob("here", LAYER.digest, [BLOB])
    content = store.blob("here", LAYER.digest)
    assert content is not None
    assert target.put_blob(NAME, LAYER, content).is_proven
    content.close()
    assert kept(store, NAME, LAYER.digest) == BLOB


@pytest.mark.parametrize("data", [b"", b"{}"])
def test_the_smallest_blobs_are_sent_too(target: RemoteTarget, store: Store, data: bytes) -> None:
    target.put_blob(NAME, descriptor(data, OCI_LAYER), InMemory(data))
    assert kept(store, NAME, Digest.of(data)) == data


def test_a_blob_named_by_sha512_keeps_that_name(target: RemoteTarget, store: Store) -> None:
    named = Descriptor(OCI_LAYER, Digest.of(BLOB, "sha512"), len(BLOB))
    target.put_blob(NAME, named, InMemory(BLOB))
    assert target.has_blob(NAME, named)
    assert kept(store, NAME, named.digest) == BLOB


def test_content_of_other_bytes_is_refused_here_and_never_there(target: RemoteTarget) -> None:
    for habits in (Habits(), Habits(monolithic=False, chunk=1_000_000)):
        target.habits = habits
        with pytest.raises(MediaError) as caught:
            target.put_blob(NAME, LAYER, InMemory(BLOB[:-1] + b"!"))
        assert caught.value.reference == "content-differs"
        with pytest.raises(MediaError):
            target.put_blob(NAME, LAYER, InMemory(BLOB[:-1]))
    assert not target.has_blob(NAME, LAYER)


def test_what_a_source_proves_is_not_hashed_again_and_the_target_still_refuses_other_bytes(
    target: RemoteTarget,
) -> None:
    class Proven(InMemory):
        proven_by = "a test"

    assert target.put_blob(NAME, LAYER, Proven(BLOB)).is_proven
    with pytest.raises(RemoteError, match="refuses the blob"):
        target.put_blob("team/other", LAYER, Proven(BLOB[:-1] + b"!"))
    assert not target.has_blob("team/other", LAYER)


def test_a_blob_of_another_repository_is_mounted_and_costs_no_byte(target: RemoteTarget) -> None:
    target.put_blob("team/base", LAYER, InMemory(BLOB))
    assert target.mount(NAME, LAYER.digest, "team/base")
    assert target.has_blob(NAME, LAYER)
    assert not target.mount(NAME, Digest.of(b"nowhere"), "team/base")


def test_a_mount_that_became_an_upload_is_used_as_one(target: RemoteTarget, store: Store) -> None:
    assert not target.mount(NAME, LAYER.digest, "team/base")
    sent = target.put_blob(NAME, LAYER, InMemory(BLOB))
    assert (sent.sessions, sent.bytes_sent) == (0, len(BLOB))
    assert kept(store, NAME, LAYER.digest) == BLOB


def test_another_process_goes_on_inside_the_blob(target: RemoteTarget, store: Store) -> None:
    target.habits = Habits(monolithic=False, chunk=1_000_000)
    states: list[Resumable] = []

    class Dies(InMemory):
        def read(self, offset: int, length: int) -> bytes:
            if offset >= 3_000_000:
                raise KeyboardInterrupt
            return super().read(offset, length)

    with pytest.raises(KeyboardInterrupt):
        target.put_blob(NAME, LAYER, Dies(BLOB), on_progress=lambda _, state: states.append(state))
    state = Resumable.from_json(states[-1].as_json())
    again = RemoteTarget(target.transport)
    again.habits = Habits(chunk=1_000_000)
    sent = again.put_blob(NAME, LAYER, InMemory(BLOB), session=state)
    assert sent.bytes_sent <= len(BLOB) - 3_000_000 + 1_000_000  # one chunk more if the first try came too early
    assert (sent.sessions, sent.is_proven) == (0, True)
    assert kept(store, NAME, LAYER.digest) == BLOB


def test_a_session_that_is_gone_is_begun_again(target: RemoteTarget, store: Store) -> None:
    state = Resumable(f"{target.url}/v2/{NAME}/blobs/uploads/00000000-0000-0000-0000-000000000000", 3)
    sent = target.put_blob(NAME, LAYER, InMemory(BLOB), session=state)
    assert (sent.sessions, sent.bytes_sent) == (1, len(BLOB))
    assert kept(store, NAME, LAYER.digest) == BLOB


def test_the_prefix_of_a_far_content_is_not_fetched_for_its_hash(target: RemoteTarget, store: Store) -> None:
    target.habits = Habits(monolithic=False, chunk=4_000_000)
    states: list[Resumable] = []

    class Far(InMemory):
        is_far = True

    content: Content = Far(BLOB)

    def stop(_more: int, state: Resumable) -> None:
        states.append(state)
        if state.offset > 4_100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        target.put_blob(NAME, LAYER, content, on_progress=stop)
    second = Far(BLOB)
    sent = target.put_blob(NAME, LAYER, second, session=states[-1])
    assert not sent.is_proven
    assert min(second.reads) == 4_000_000
    assert kept(store, NAME, LAYER.digest) == BLOB


def manifest(target: RemoteTarget, subject: Descriptor | None = None) -> bytes:
    for data in (b"{}", BLOB):
        target.put_blob(NAME, descriptor(data, OCI_LAYER), InMemory(data))
    data = artifact("application/x-test", [LAYER])
    if subject:
        data = data.replace(b'"config"', b'"subject":' + _json(subject) + b',"config"')
    return data


def _json(value: Descriptor) -> bytes:
    from registry.oci import strictjson  # noqa: PLC0415

    return strictjson.canonical(value.as_json()).strip()


@pytest.mark.parametrize("takes_tags", [False, True])
def test_a_manifest_is_recorded_under_its_digest_and_all_its_tags(
    target: RemoteTarget, store: Store, takes_tags: bool
) -> None:
    target.takes_tags = takes_tags
    data, tags = manifest(target), [f"1.{number}" for number in range(13)]
    recorded = target.put_manifest(NAME, data, OCI_MANIFEST, tags)
    assert recorded.digest == Digest.of(data)
    assert not recorded.subject_seen
    assert set(store.tags(NAME)) == set(tags)
    assert all(target.manifest_digest(NAME, tag) == Digest.of(data) for tag in tags)
    assert store.manifest(NAME, Digest.of(data)) == (data, OCI_MANIFEST)
    assert target.manifest_digest(NAME, "none") is None


def test_a_referrer_is_seen_by_a_registry_with_the_referrers_api(target: RemoteTarget) -> None:
    subject = descriptor(b"{}", OCI_MANIFEST)
    assert target.put_manifest(NAME, manifest(target, subject), OCI_MANIFEST).subject_seen


def test_dockers_types_keep_type_and_bytes(target: RemoteTarget, store: Store) -> None:
    child = manifest(target).replace(OCI_MANIFEST.encode(), DOCKER_MANIFEST.encode())
    target.put_manifest(NAME, child, DOCKER_MANIFEST)
    listed = _json(descriptor(child, DOCKER_MANIFEST))
    index = b'{ "schemaVersion": 2, "mediaType": "' + DOCKER_LIST.encode() + b'",\n "manifests": [' + listed + b"]}"
    target.put_manifest(NAME, index, DOCKER_LIST, ["list"])
    assert store.manifest(NAME, Digest.of(index)) == (index, DOCKER_LIST)


def test_a_manifest_of_missing_blobs_is_refused_in_the_registrys_words(target: RemoteTarget) -> None:
    with pytest.raises(RemoteError) as caught:
        target.put_manifest(NAME, artifact("application/x-test", [LAYER]), OCI_MANIFEST, ["1.0"])
    assert caught.value.reference == "manifest-refused"
    assert "MANIFEST_BLOB_UNKNOWN" in caught.value.seen


def test_manifests_tags_and_blobs_are_deleted_and_say_whether_they_were_there(target: RemoteTarget) -> None:
    data = manifest(target)
    target.put_manifest(NAME, data, OCI_MANIFEST, ["1.0"])
    assert target.delete_manifest(NAME, "1.0")
    assert target.manifest_digest(NAME, Digest.of(data)) == Digest.of(data)
    assert target.delete_manifest(NAME, Digest.of(data))
    assert not target.delete_manifest(NAME, Digest.of(data))
    assert target.delete_blob(NAME, LAYER.digest)
    assert not target.has_blob(NAME, LAYER)
