"""The store through death at every step, calls that the disk refuses, and a full disk.

Whatever happens: what was acknowledged is readable and has its digest, what was not is not half visible, tags name
manifests that are there, and the next writer finds nothing in its way.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import urllib3

from registry.oci.digest import Digest
from registry.oci.manifest import OCI_MANIFEST
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.users import user_line
from registry.store import changes, durable
from registry.store.gc import collect
from registry.store.store import Store
from tests.conftest import need_root
from tests.oci_samples import image

ROOT = Path(__file__).parent.parent.parent
SAMPLE = image(b"content")
MOST_CALLS = 60


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: a kill loses nothing of either, and memory does not wait for fsync."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else tmp_path) as folder:
        yield Path(folder)


def test_killed_at_any_step_the_store_keeps_what_it_acknowledged(memory: Path) -> None:
    command = [sys.executable, "-m", "tests.crash.store_victim", str(memory)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[-1]) > 50, "the writer had fewer steps than it must have"


class Refusal:
    """Makes the n-th call of one kind fail; `calls` counts them."""

    def __init__(self, number: int, error: int) -> None:
        self.number, self.error, self.calls = number, error, 0

    def of(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: object, **options: object) -> Any:  # noqa: ANN401 - whatever the call returns
            self.calls += 1
            if self.calls == self.number:
                raise OSError(self.error, os.strerror(self.error))
            return call(*arguments, **options)

        return run


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS], ids=errno.errorcode.get)
@pytest.mark.parametrize("name", ["write", "fsync", "rename"])
def test_a_refused_call_is_an_error_and_leaves_nothing(
    memory: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: int
) -> None:
    refused = 0
    with Store.open(memory / "store") as store:
        before = files(store)
        for number in range(1, MOST_CALLS):
            refusal = Refusal(number, error)
            with monkeypatch.context() as patch:
                place: object = Path if name == "rename" else os
                patch.setattr(place, name, refusal.of(getattr(place, name)))
                seen = refusal_of(store)
            if seen is None:
                break
            assert seen == error
            refused += 1
            for path in (store.folder / "blobs/sha256").iterdir():
                assert Digest.of(path.read_bytes()).hex == path.name
            assert [*(store.folder / "incoming").iterdir()] == []
            assert not store.tags("a")
        push(store)
        assert store.tags("a") == ["1"]
    assert refused >= 3
    assert before == set()


def push(store: Store) -> None:
    for digest, data in SAMPLE.blobs.items():
        store.put_blob("a", digest, [data])
    store.put_manifest("a", SAMPLE.manifest, OCI_MANIFEST, ["1"])


def refusal_of(store: Store) -> int | None:
    """Return the error number with which a push fails, or None."""
    try:
        push(store)
    except OSError as error:
        return error.errno
    return None


def files(store: Store) -> set[str]:
    return {path.name for path in store.folder.rglob("*") if path.is_file() and "index." not in path.name}


def test_a_blob_is_durable_in_its_file_and_folder_before_the_index_speaks_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def noted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: object, **options: object) -> Any:  # noqa: ANN401 - whatever the call returns
            order.append(name)
            return call(*arguments, **options)

        return run

    with Store.open(tmp_path / "store") as store:
        monkeypatch.setattr(os, "fsync", noted("fsync", os.fsync))
        monkeypatch.setattr(Path, "rename", noted("rename", Path.rename))
        monkeypatch.setattr(durable, "sync_folder", noted("sync folder", durable.sync_folder))
        monkeypatch.setattr(changes, "record_blob", noted("row", changes.record_blob))
        store.put_blob("a", Digest.of(b"x"), [b"x"])
    assert order == ["fsync", "rename", "sync folder", "fsync", "row"]


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Give a file system that is soon full."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True, timeout=20)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=20)


def test_on_a_full_disk_an_upload_fails_alone_and_gives_its_space_back(tmp_path: Path) -> None:
    need_root()
    users = tmp_path / "users"
    users.write_text(user_line("me", "x", ["pull,push:*"], iterations=100_000))
    login = urllib3.make_headers(basic_auth="me:x")
    small, large = os.urandom(100_000), os.urandom(20 << 20)
    with (
        small_disk(tmp_path / "disk", "12m") as disk,
        Store.open(disk / "store") as store,
        Running(Settings(users=users), store) as running,
        urllib3.PoolManager(retries=False, timeout=30, headers=login) as pool,
    ):
        url = f"{running.url}/v2/a/blobs/uploads/"
        other = running.url + pool.request("POST", url).headers["Location"]
        assert pool.request("PATCH", other, body=small[:1000]).status == 202
        free = os.statvfs(disk).f_bavail

        full = pool.request("POST", f"{url}?digest={Digest.of(large)}", body=large)
        assert full.status == 507
        assert str(disk).encode() not in full.data
        assert os.statvfs(disk).f_bavail >= free - 64  # the index may have grown a little

        assert pool.request("GET", other).headers["X-Upload-Offset"] == "1000"
        assert pool.request("PUT", f"{other}?digest={Digest.of(small)}", body=small[1000:]).status == 201
        assert pool.request("GET", f"{running.url}/v2/a/blobs/{Digest.of(small)}").data == small


def test_collection_frees_a_disk_that_is_full_to_the_last_byte(tmp_path: Path) -> None:
    need_root()
    garbage = os.urandom(3 << 20)
    with small_disk(tmp_path / "disk", "12m") as disk, Store.open(disk / "store") as store:
        push(store)
        store.put_blob("a", Digest.of(garbage), [garbage])
        fill(disk / "filler")
        assert os.statvfs(disk).f_bavail == 0
        with pytest.raises(OSError, match="No space"):
            store.put_blob("a", Digest.of(b"x" * 10_000), [b"x" * 10_000])
        for _ in range(2):
            collect(store, lease=-1, grace=-1)
        assert os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize > len(garbage) // 2
        store.put_blob("a", Digest.of(b"x" * 10_000), [b"x" * 10_000])
        assert store.tags("a") == ["1"]
        assert all(store.has_blob("a", digest) for digest in SAMPLE.blobs)


def test_a_process_that_comes_to_a_full_disk_opens_the_store_reads_it_and_frees_it(tmp_path: Path) -> None:
    need_root()
    garbage = os.urandom(3 << 20)
    with small_disk(tmp_path / "disk", "12m") as disk:
        with Store.open(disk / "store") as store:
            push(store)
            store.put_blob("a", Digest.of(garbage), [garbage])
        fill(disk / "filler")
        with Store.open(disk / "store") as store:
            assert store.tags("a") == ["1"]
            with pytest.raises(OSError, match="No space"):
                store.put_blob("a", Digest.of(b"x" * 500_000), [b"x" * 500_000])
        for _ in range(2):
            command = [sys.executable, "-c", "from installer.cli.main import main; main()", "registry", "gc"]
            command += ["--store", str(disk / "store"), "--lease", "0", "--grace", "0"]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stderr
        assert os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize > len(garbage) // 2
        with Store.open(disk / "store") as store:
            assert all(store.has_blob("a", digest) for digest in SAMPLE.blobs)
            push(store)


def fill(path: Path) -> None:
    """Take all the space there is."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            with suppress(OSError):
                while file.write(b"\0" * size):
                    pass
