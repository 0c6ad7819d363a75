"""Upload sessions of the store, without a server: resumed, contended, finished."""

from __future__ import annotations

import pytest

from registry.oci.digest import Digest
from registry.store.faults import DigestMismatchError, UploadBusyError, UploadUnknownError
from registry.store.store import Store

DATA = b"0123456789" * 1000


def test_an_upload_goes_on_in_another_process(store: Store) -> None:
    session = store.uploads.begin("a", "me")
    first = store.uploads.write("a", "me", session.id)
    first.write([DATA[:4000]])
    assert first.save() == 4000
    with Store.open(store.folder) as other:  # knows no running hash, only the file
        second = other.uploads.write("a", "me", session.id)
        assert second.start == 4000
        second.write([DATA[4000:]])
        assert second.commit(Digest.of(DATA)) == len(DATA)
    assert store.has_blob("a", Digest.of(DATA))
    assert list((store.folder / "incoming").iterdir()) == []


def test_what_was_not_saved_is_forgotten(store: Store) -> None:
    session = store.uploads.begin("a", "me")
    store.uploads.write("a", "me", session.id).save()
    with store.uploads.write("a", "me", session.id) as writer:
        writer.write([b"lost with its writer"])
    assert store.uploads.find("a", "me", session.id).size == 0
    with store.uploads.write("a", "me", session.id) as writer:
        assert writer.start == 0
        writer.write([DATA])
        writer.commit(Digest.of(DATA))


def test_a_stale_running_hash_is_not_trusted(store: Store) -> None:
    session = store.uploads.begin("a", "me")
    ours = store.uploads.write("a", "me", session.id)
    ours.write([DATA[:10]])
    ours.save()
    with Store.open(store.folder) as other:
        theirs = other.uploads.write("a", "me", session.id)
        theirs.write([DATA[10:20]])
        theirs.save()
    again = store.uploads.write("a", "me", session.id)
    again.write([DATA[20:]])
    again.commit(Digest.of(DATA))
    assert store.has_blob("a", Digest.of(DATA))


def test_one_writer_at_a_time(store: Store) -> None:
    session = store.uploads.begin("a", "me")
    with store.uploads.write("a", "me", session.id) as writer:
        with pytest.raises(UploadBusyError):
            store.uploads.write("a", "me", session.id)
        with pytest.raises(UploadBusyError):
            store.uploads.cancel("a", "me", session.id)
        writer.write([DATA])
        writer.commit(Digest.of(DATA))


@pytest.mark.parametrize(("repository", "subject"), [("b", "me"), ("a", "you"), ("a", "")])
def test_a_session_belongs_to_its_repository_and_subject(store: Store, repository: str, subject: str) -> None:
    session = store.uploads.begin("a", "me")
    for call in (store.uploads.find, store.uploads.write, store.uploads.cancel):
        with pytest.raises(UploadUnknownError):
            call(repository, subject, session.id)


def test_a_session_whose_file_lost_bytes_is_over(store: Store) -> None:
    session = store.uploads.begin("a", "me")
    writer = store.uploads.write("a", "me", session.id)
    writer.write([DATA])
    writer.save()
    store.uploads.path(session.id).write_bytes(DATA[:-1])
    with pytest.raises(UploadUnknownError):
        store.uploads.write("a", "me", session.id)


def test_a_wrong_digest_ends_the_session_and_frees_its_space(store: Store) -> None:
    session = store.uploads.begin("a", "me")
    writer = store.uploads.write("a", "me", session.id)
    writer.write([DATA])
    with pytest.raises(DigestMismatchError):
        writer.commit(Digest.of(b"other"))
    assert list((store.folder / "incoming").iterdir()) == []
    with pytest.raises(UploadUnknownError):
        store.uploads.find("a", "me", session.id)


def test_another_algorithm_than_announced_is_hashed_at_the_end(store: Store) -> None:
    session = store.uploads.begin("a", "me", "sha256")
    writer = store.uploads.write("a", "me", session.id)
    writer.write([DATA])
    writer.commit(Digest.of(DATA, "sha512"))
    assert store.has_blob("a", Digest.of(DATA, "sha512"))
    assert not store.has_blob("a", Digest.of(DATA))
