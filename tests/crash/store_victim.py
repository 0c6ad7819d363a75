"""Kills a store's writer at each of its steps in turn, and looks at what is left; run as a program.

A step is a call that touches the disk, or a commit. The writer is a fork, so that a kill costs no start of Python.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from registry.oci.digest import Digest
from registry.oci.manifest import OCI_MANIFEST
from registry.store.gc import collect
from registry.store.store import Store
from tests.oci_samples import image

SAMPLES = (image(b"first"), image(b"second"))
REPOSITORY = "team/app"


def work(folder: Path, say: Callable[..., None]) -> None:
    """Push an image through resumed uploads, and another at once, and collect garbage; say what is acknowledged."""
    with Store.open(folder) as store:
        store.put_blob(REPOSITORY, Digest.of(b"garbage"), [b"garbage"])
        for digest, data in SAMPLES[0].blobs.items():
            session = store.uploads.begin(REPOSITORY, "me")
            writer = store.uploads.write(REPOSITORY, "me", session.id)
            writer.write([data[:10]])
            say("upload", session.id, writer.save())
            writer = store.uploads.write(REPOSITORY, "me", session.id)
            writer.write([data[10:]])
            writer.commit(digest)
            say("blob", digest)
        say("manifest", store.put_manifest(REPOSITORY, SAMPLES[0].manifest, OCI_MANIFEST, ["latest", "t0"]))
        for digest, data in SAMPLES[1].blobs.items():
            store.put_blob(REPOSITORY, digest, [data])
            say("blob", digest)
        say("manifest", store.put_manifest(REPOSITORY, SAMPLES[1].manifest, OCI_MANIFEST, ["latest", "t1"]))
        for _ in range(2):
            collect(store, lease=-1, grace=-1)  # at once: nobody else is here
    say("end")


def die_at(last: int) -> None:
    """Make this process kill itself at its `last` step."""
    steps = 0

    def step(*_: object) -> None:
        nonlocal steps
        steps += 1
        if steps == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: object, **options: object) -> Any:  # noqa: ANN401 - whatever the call returns
            step()
            return call(*arguments, **options)

        return run

    for name in ("open", "write", "fsync", "fdatasync", "ftruncate", "unlink"):
        setattr(os, name, counted(getattr(os, name)))
    Path.rename = counted(Path.rename)  # type: ignore[method-assign]
    event.listen(Engine, "commit", step)


def run_until(folder: Path, last: int) -> list[list[str]]:
    """Let a fork work until its `last` step, and return what it said."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        tell = os.write

        def say(*words: object) -> None:
            tell(writer, (" ".join(map(str, words)) + "\n").encode())

        die_at(last)
        try:
            work(folder, say)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        said = [line.split() for line in stream]
    os.waitpid(child, 0)
    return said


def check(folder: Path, said: list[list[str]]) -> None:
    """Raise AssertionError if something acknowledged is lost, or something half is there."""
    with Store.open(folder) as store:
        for kind, *words in said:
            if kind == "blob":
                assert store.has_blob(REPOSITORY, Digest.parse(words[0])), f"acknowledged blob {words[0]} is lost"
            elif kind == "manifest":
                assert store.manifest(REPOSITORY, Digest.parse(words[0])), f"acknowledged {words[0]} is lost"
        for tag in store.tags(REPOSITORY):
            named = store.resolve(REPOSITORY, tag)
            assert named, f"tag {tag} names nothing"
            assert store.manifest(REPOSITORY, named.digest), f"tag {tag} names what is not there"
        for path in (folder / "blobs/sha256").iterdir():
            assert Digest.of(path.read_bytes()).hex == path.name, f"{path.name} holds other bytes"
        uploads = {words[1]: int(words[2]) for words in said if words[0] == "upload"}
        blobs = [words for words in said if words[0] == "blob"]
        for number, (identity, size) in enumerate(uploads.items()):
            if number >= len(blobs) and (folder / "incoming" / identity).exists():
                assert store.uploads.find(REPOSITORY, "me", identity).size >= size, "an acknowledged chunk is lost"
    work(folder, lambda *_: None)
    with Store.open(folder) as store:
        assert list(store.tags(REPOSITORY)) == ["latest", "t0", "t1"], "a second push did not mend it"
        assert not store.files.path(Digest.of(b"garbage")).exists(), "garbage stays for ever"


def main(folder: Path) -> int:
    """Kill at every step until the writer reaches its end; return the number of failures."""
    failures = 0
    for last in range(1, 1000):
        place = folder / str(last)
        said = run_until(place, last)
        try:
            check(place, said)
        except Exception:  # noqa: BLE001 - each step's failure is a line of the report
            failures += 1
            sys.stdout.write(f"killed at step {last} after {said}:\n{traceback.format_exc()}\n")
        if said and said[-1] == ["end"]:
            sys.stdout.write(f"steps {last - 1}\n")
            return failures
    return failures + 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
