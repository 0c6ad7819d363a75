"""Kills processes that push, tag, delete and collect in one store, again and again, and looks at what is left.

`python -m tests.crash.store_killer FOLDER ROUNDS [SEED]` prints its figures and ends with the number of violations:
acknowledged content lost, files that are not what their name says, tags that cannot be read, leftovers.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from registry.errors import DryportError
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_MANIFEST, Manifest
from registry.store.gc import collect
from registry.store.store import Store
from tests.oci_samples import image

LEASE, GRACE = 30.0, 30.0
"""Longer than any push takes; between rounds so much time is let pass that everything is over."""
PUSHERS = 2
TAGS = ("latest", "v1", "v2")
Said = list[list[str]]


class Clock:
    """The machine's time and what was added to it."""

    def __init__(self, ahead: float) -> None:
        self.ahead = ahead

    def __call__(self) -> float:
        return time.time() + self.ahead


def push(store: Store, chance: random.Random, repository: str, say: Callable[..., None]) -> None:
    """Push an image under a tag, or take a tag or a manifest away; say what begins and what is acknowledged."""
    tag = chance.choice(TAGS)
    named = store.resolve(repository, tag)
    what = chance.random()
    if named and what < 0.15:
        say("begin", repository, tag, "-")
        store.delete_tag(repository, tag)
        say("done", repository, tag, "-")
        return
    sample = image(str(chance.randrange(12)).encode() * 20_000)
    for digest, data in sample.blobs.items():
        if store.has_blob(repository, digest):
            continue  # as clients do
        if chance.random() < 0.5:
            store.put_blob(repository, digest, [data])
        else:
            session = store.uploads.begin(repository, "me")
            with store.uploads.write(repository, "me", session.id) as writer:
                writer.write([data[:100]])
                writer.save()
            with store.uploads.write(repository, "me", session.id) as writer:
                writer.write([data[100:]])
                writer.commit(digest)
    digest = Digest.of(sample.manifest)
    say("begin", repository, tag, digest)
    store.put_manifest(repository, sample.manifest, OCI_MANIFEST, [tag])
    say("done", repository, tag, digest)


def child(act: Callable[[Callable[..., None]], None]) -> tuple[int, int]:
    """Fork; the child acts until it is killed. Return its process and where it tells."""
    reader, writer = os.pipe()
    process = os.fork()
    if process:
        os.close(writer)
        return process, reader
    os.close(reader)
    try:
        while True:
            act(lambda *words: os.write(writer, (" ".join(map(str, words)) + "\n").encode()) and None)
    except BaseException:  # noqa: BLE001 - told, and counted as a violation
        os.write(writer, f"failed {traceback.format_exc()!r}\n".encode())
        os._exit(1)


def one_round(folder: Path, clock: Clock, chance: random.Random) -> Said:
    """Let pushers and a collector work for a moment, kill them at once, and return what they said."""
    children = []
    for number in range(PUSHERS):
        seed = chance.random()

        def act(say: Callable[..., None], number: int = number, seed: float = seed) -> None:
            mine = random.Random(seed)  # noqa: S311 - chance, no secret
            with Store.open(folder, clock) as store:
                while True:
                    push(store, mine, f"team/app{number}", say)

        children.append(child(act))

    def gather(_: Callable[..., None]) -> None:
        with Store.open(folder, clock) as store:
            while True:
                with contextlib.suppress(DryportError):
                    collect(store, lease=LEASE, grace=GRACE)

    children.append(child(gather))
    time.sleep(chance.uniform(0.05, 0.5))
    said: Said = []
    for process, _ in children:
        os.kill(process, signal.SIGKILL)
    for process, reader in children:
        os.waitpid(process, 0)
        with os.fdopen(reader) as stream:
            said += [line.split(maxsplit=3) for line in stream]
    return said


def check(folder: Path, clock: Clock, tags: dict[tuple[str, str], set[str]]) -> None:
    """Raise AssertionError if a tag is not what was acknowledged, or anything it names cannot be read."""
    with Store.open(folder, clock) as store:
        for (repository, tag), allowed in tags.items():
            named = store.resolve(repository, tag)
            seen = str(named.digest) if named else "-"
            assert seen in allowed, f"{repository}:{tag} is {seen}, not one of {allowed}"
            tags[repository, tag] = {seen}
            if named:
                found = store.manifest(repository, named.digest)
                assert found, f"{repository}:{tag} names a manifest that cannot be read"
                for blob in Manifest.parse(*found).blobs:
                    content = store.blob(repository, blob.digest)
                    assert content, f"{blob.digest} of {repository}:{tag} is lost"
                    assert blob.digest.matches(content.read(0, content.size)), f"{blob.digest} is torn"
                    content.close()
        for path in (folder / "blobs/sha256").iterdir():
            assert Digest.of(path.read_bytes()).hex == path.name, f"{path.name} holds other bytes"


def check_leftovers(folder: Path, clock: Clock) -> None:
    """Raise AssertionError if, after all time is over, the disk holds anything that no tag reaches."""
    for path in (folder / "incoming").iterdir():
        os.utime(path, (0, 0))
    with Store.open(folder, clock) as store:
        for _ in range(3):
            clock.ahead += 15 * 86400
            collect(store, lease=LEASE, grace=GRACE)
        kept = set()
        for repository in store.repositories():
            for tag in store.tags(repository):
                named = store.resolve(repository, tag)
                assert named
                found = store.manifest(repository, named.digest)
                assert found
                kept |= {named.digest.hex, *(blob.digest.hex for blob in Manifest.parse(*found).blobs)}
        assert {path.name for path in (folder / "blobs/sha256").iterdir()} == kept, "leftovers in blobs"
        assert [*(folder / "incoming").iterdir()] == [], "leftovers of uploads"


def main(folder: Path, rounds: int, seed: int = 1) -> int:
    """Run the rounds; return the number of violations."""
    chance, clock = random.Random(seed), Clock(0.0)  # noqa: S311 - chance, no secret
    tags: dict[tuple[str, str], set[str]] = {}
    violations = acknowledged = 0
    for number in range(1, rounds + 1):
        said = one_round(folder, clock, chance)
        for word, *rest in said:
            if word == "failed":
                violations += 1
                sys.stdout.write(f"round {number}: a worker failed: {rest}\n")
                continue
            repository, tag, value = rest[0], rest[1], rest[2].strip()
            known = tags.setdefault((repository, tag), {"-"})
            if word == "begin":
                known.add(value)
            else:
                tags[repository, tag] = {value}
                acknowledged += 1
        try:
            check(folder, clock, tags)
            if number % 10 == 0 or number == rounds:
                check_leftovers(folder, clock)
            else:
                clock.ahead += chance.choice([0, LEASE, 2 * LEASE, 15 * 86400])
        except AssertionError as error:
            violations += 1
            sys.stdout.write(f"round {number}: {error}\n")
    sys.stdout.write(f"rounds {rounds}, acknowledged {acknowledged}, violations {violations}\n")
    return violations


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *map(int, sys.argv[2:])))
