"""Upload sessions of the store, without a server: resumed, contended, finished."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.oci.digest import Digest
from registry.store import uploads
from registry.store.faults import (
    DigestMismatchError,
    QuotaExceededError,
    UploadBusyError,
    UploadsOpenError,
    UploadUnknownError,
)
from registry.store.store import Store
from registry.store.uploads import IDLE_SECONDS
from tests.store_samples import Clock, allow

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


def test_uploads_that_nobody_goes_on_with_make_room_for_the_same_subject(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MOST_OPEN", 3)
    now = [time.time()]
    with Store.open(tmp_path / "store", lambda: now[0]) as store:
        theirs = store.uploads.begin("a", "somebody")
        mine = [store.uploads.begin("a", "me") for _ in range(3)]
        with pytest.raises(UploadsOpenError):
            store.uploads.begin("b", "me")
        now[0] += uploads.CROWDED_SECONDS + 1
        writer = store.uploads.write("a", "me", mine[2].id)  # still at work
        store.uploads.begin("b", "me")
        writer.close()
        for gone in mine[:2]:
            with pytest.raises(UploadUnknownError):
                store.uploads.find("a", "me", gone.id)
        assert store.uploads.find("a", "me", mine[2].id)
        assert store.uploads.find("a", "somebody", theirs.id)


def test_an_upload_that_is_idle_for_a_week_ends_and_one_that_is_written_does_not(tmp_path: Path) -> None:
    now = [time.time()]
    with Store.open(tmp_path / "store", lambda: now[0]) as store:
        idle, written = (store.uploads.begin("a", "me") for _ in range(2))
        writer = store.uploads.write("a", "me", written.id)
        now[0] += uploads.IDLE_SECONDS - 10
        store.uploads.sweep()
        assert store.uploads.find("a", "me", idle.id)
        now[0] += 20
        store.uploads.sweep()
        with pytest.raises(UploadUnknownError):
            store.uploads.find("a", "me", idle.id)
        writer.write([DATA])
        assert writer.commit(Digest.of(DATA)) == len(DATA)


# What an upload has reserved of a quota comes back, however it ends


def quota(store: Store, size: int) -> None:
    allow(store, f"quota_bytes: {size}")


def rewound(store: Store, identity: str) -> None:
    with store.uploads.write("a", "me", identity) as writer:
        writer.write([DATA[:100]])
        writer.rewind()


def closed(store: Store, identity: str) -> None:
    with store.uploads.write("a", "me", identity) as writer:
        writer.write([DATA[:100]])


def killed(store: Store, identity: str) -> None:
    child = os.fork()
    if child == 0:
        with Store.open(store.folder) as other:
            other.uploads.write("a", "me", identity).write([DATA[:100]])
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def saved(store: Store, identity: str) -> None:
    with store.uploads.write("a", "me", identity) as writer:
        writer.write([DATA[:100]])
        writer.save()


@pytest.mark.parametrize("end", [rewound, closed, killed, saved])
def test_an_upload_that_rests_holds_no_more_of_the_quota_than_its_bytes(
    store: Store, end: Callable[[Store, str], None]
) -> None:
    quota(store, 10_000)
    end(store, store.uploads.begin("a", "me").id)
    other = store.uploads.begin("a", "me")
    with store.uploads.write("a", "me", other.id) as writer:
        writer.write([DATA[:9_900]])
        writer.commit(Digest.of(DATA[:9_900]))


def test_an_upload_that_the_quota_refuses_at_its_end_can_end_later(store: Store) -> None:
    session = store.uploads.begin("a", "me")
    with store.uploads.write("a", "me", session.id) as writer:
        writer.write([DATA])
        writer.save()
    quota(store, 100)
    with store.uploads.write("a", "me", session.id) as writer, pytest.raises(QuotaExceededError):
        writer.commit(Digest.of(DATA))
    assert [*(store.folder / "blobs/sha256").iterdir()] == []
    assert store.uploads.find("a", "me", session.id).size == len(DATA)
    quota(store, 100_000)
    with store.uploads.write("a", "me", session.id) as writer:
        writer.commit(Digest.of(DATA))
    assert store.has_blob("a", Digest.of(DATA))


def test_a_session_that_lost_its_file_is_over_for_good_and_holds_nothing(store: Store) -> None:
    session = store.uploads.begin("a", "me")
    saved(store, session.id)
    store.uploads.path(session.id).unlink()
    with pytest.raises(UploadUnknownError):
        store.uploads.write("a", "me", session.id)
    assert [*(store.folder / "incoming").iterdir()] == []
    with pytest.raises(UploadUnknownError):
        store.uploads.find("a", "me", session.id)


def test_a_session_whose_blob_was_named_before_a_crash_holds_nothing_of_the_quota(store: Store) -> None:
    quota(store, len(DATA))
    session = store.uploads.begin("a", "me")
    saved(store, session.id)
    store.uploads.path(session.id).rename(store.files.path(Digest.of(DATA[:100])))  # killed before its row
    store.put_blob("a", Digest.of(DATA), [DATA])
    with pytest.raises(UploadUnknownError):
        store.uploads.write("a", "me", session.id)


@pytest.mark.parametrize("end", [closed, killed])
def test_a_push_at_once_has_the_quota_that_a_dead_upload_reserved(
    store: Store, end: Callable[[Store, str], None]
) -> None:
    quota(store, 10_000)
    end(store, store.uploads.begin("a", "me").id)
    store.put_blob("a", Digest.of(DATA), [DATA])


def test_a_clock_that_was_set_back_does_not_keep_a_session_for_ever(tmp_path: Path) -> None:
    clock = Clock()
    with Store.open(tmp_path, clock) as store:
        clock.pass_(1e9)
        session = store.uploads.begin("a", "me")
        clock.pass_(-1e9)
        store.uploads.sweep()
        clock.pass_(IDLE_SECONDS + 1)
        store.uploads.sweep()
        with pytest.raises(UploadUnknownError):
            store.uploads.find("a", "me", session.id)
