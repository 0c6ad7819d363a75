"""A line that breaks ten times inside a blob, either way: what was carried is not carried again."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.client.access import Access, fixed_login
from registry.client.push import RemoteTarget
from registry.client.ranges import RemoteBlob
from registry.client.remote import RemoteRegistry
from registry.client.transport import Limits, Transport
from registry.client.upload_state import Habits
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_LAYER
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.users import user_line
from registry.store.store import Store
from tests.attacks.cutting_line import CuttingLine

MIB = 1 << 20
SIZE = 96 * MIB
CUTS = [SIZE // 11 * number for number in range(1, 11)]
LIMITS = Limits(first_pause=0.05, longest_pause=1)
NAME = "team/app"


class Generated:
    """A large content that takes no memory: each MiB is the same random bytes, begun one byte later."""

    size = SIZE
    base = random.Random(6).randbytes(2 * MIB)  # noqa: S311 - the same every time

    def read(self, offset: int, length: int) -> bytes:
        number, inside = divmod(offset, MIB)
        length = min(length, MIB - inside, self.size - offset)
        return self.base[number + inside : number + inside + length]

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def layer() -> Descriptor:
    content, hasher = Generated(), hashlib.sha256()
    for offset in range(0, SIZE, MIB):
        hasher.update(content.read(offset, MIB))
    return Descriptor(OCI_LAYER, Digest("sha256", hasher.hexdigest()), SIZE)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Store, int]]:
    users = tmp_path / "users"
    users.write_text(user_line("push", "secret", ["pull,push:*"]) + "\n")
    with Store.open(tmp_path / "store") as store, Running(Settings(users=users), store) as server:
        yield store, server.port


def reach(line: CuttingLine) -> Transport:
    return Transport(line.url, Access(login=fixed_login("push", "secret")), LIMITS)


@pytest.mark.parametrize("chunk", [4 * MIB, 1 << 30])
def test_an_upload_over_a_line_that_breaks_ten_times(served: tuple[Store, int], layer: Descriptor, chunk: int) -> None:
    store, port = served
    with CuttingLine(port, CUTS) as line:
        transport = reach(line)
        target = RemoteTarget(transport)
        target.habits = Habits(monolithic=chunk > SIZE, chunk=chunk)
        sent = target.put_blob(NAME, layer, Generated())
        transport.close()
    assert line.broken == 10
    assert sent.sessions == 1
    assert line.up <= 1.02 * SIZE + 10 * MIB
    assert store.has_blob(NAME, layer.digest)


def test_a_download_over_a_line_that_breaks_ten_times(served: tuple[Store, int], layer: Descriptor) -> None:
    store, port = served
    content = Generated()
    store.put_blob(NAME, layer.digest, (content.read(offset, MIB) for offset in range(0, SIZE, MIB)))
    with CuttingLine(port, CUTS, downwards=True) as line:
        transport = reach(line)
        blob = RemoteRegistry.over(transport).blob_of(NAME, layer)
        assert isinstance(blob, RemoteBlob)
        hasher, offset = layer.digest.hasher(), 0
        while offset < SIZE:
            block = blob.read(offset, MIB)
            hasher.update(block)
            offset += len(block)
        blob.close()
        transport.close()
    assert line.broken == 10
    assert hasher.hexdigest() == layer.digest.hex
    assert line.down <= 1.02 * SIZE + 10 * MIB
