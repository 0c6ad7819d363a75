"""Kills builds and imports of bundles at random moments, again and again, and looks at what the run that ends has made.

    python -m tests.slow.bundle_kills [KILLS [SEED]]

A series is one build (as one file or in volumes, from a server of files that is slow enough) or one import, killed
until it ends. Then the bundle has to have the bytes of an unkilled build, the store has to hold the bundle's content,
nothing half-made may have its final name at any time, nothing may be left beside what was made, and the medium that is
imported has to be as it was. The server must not have sent more than every byte once and, for each kill, a chunk for
each stream. Ends with the violations.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bundles.archive.chunks import CHUNK_BYTES
from bundles.archive.reader import Archive, read_head
from bundles.archive.writer import PARALLEL, sign_in_place
from bundles.trust.metadata import fingerprint
from bundles.trust.roles import Statement, sign_release
from bundles.verify import verify
from registry.errors import DryportError
from registry.store import durable
from registry.store.store import Store
from tests.attacks.publisher import DAY, Publisher
from tests.sample_bundles import noise

MIB = 1 << 20
SIZES = (25 * MIB + 1, 18 * MIB, 9 * MIB, 5 * MIB, 3 * MIB, 300_000, 70_000)
RATE = 24 * MIB
"""Bytes a second of each connection."""
BUFFERED = 2 * MIB
"""What a killed reader's buffers may have held of a stream, sent and not written."""
VOLUME = "17MiB"
VOLUMES = 4
LONGEST = 120
ROOT = Path(__file__).parents[2]


@dataclass
class Tally:
    """What was seen."""

    kills: int = 0
    series: int = 0
    sent: int = 0
    unique: int = 0
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        more = (self.sent - self.unique) / MIB / max(1, self.kills)
        said = f"{self.kills} kills in {self.series} series"
        return f"{said}{f', {more:.2f} MiB sent again for each' if self.sent else ''}"


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, list[int]]]:
    """Serve a folder slowly, from any byte on; the list counts what was sent."""
    sent = [0]
    counting = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_HEAD(self) -> None:
            self._head((folder / self.path[1:]).stat().st_size, 200)

        def do_GET(self) -> None:
            found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            data = (folder / self.path[1:]).read_bytes()[int(found[1]) if found else 0 :]
            self._head(len(data), 206 if found else 200)
            for at in range(0, len(data), 256 << 10):
                block = data[at : at + (256 << 10)]
                try:
                    self.wfile.write(block)
                except OSError:
                    return
                with counting:
                    sent[0] += len(block)
                time.sleep(len(block) / RATE)

        def _head(self, size: int, code: int) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(size))
            self.end_headers()

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}", sent
    http.shutdown()
    http.server_close()


@dataclass
class Yard:
    """A definition with its lock, an honest bundle of it, and chance."""

    folder: Path
    chance: random.Random
    publisher: Publisher
    honest: Path
    sent: list[int]

    def killed(self, command: list[str], tally: Tally, longest: float, left: int) -> bool:
        """Run a command, and kill it at a random moment; say whether it ended by itself."""
        process = subprocess.Popen(
            command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=_environment()
        )
        patience = self.chance.uniform(0.05, longest) if left > 0 else LONGEST
        try:
            _, errors = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            tally.kills += 1
            return False
        if process.returncode:
            tally.violations.append(f"ended with {process.returncode}: {errors.decode()[-600:]}")
        return True

    def build(self, tally: Tally, most: int, *, volumes: bool) -> None:
        """One series of builds."""
        place = self.folder / f"built{'-cut' if volumes else ''}{tally.series}"
        place.mkdir()
        out = place / "b.tar"
        command = _dryport("bundle", "build", "bundle.yaml", "--out", str(out))
        command += ["--volume-size", VOLUME] if volumes else []
        before, kills = self.sent[0], tally.kills
        while not self.killed(command, tally, 2.5, most - tally.kills):
            is_named = out.exists() or len(list(place.glob("b.tar.*-of-*[0-9]"))) == VOLUMES
            if is_named and _digest(out) != _digest(self.honest):
                tally.violations.append("it had its name before it was whole")
        tally.series += 1
        tally.sent += self.sent[0] - before
        tally.unique += sum(SIZES)
        allowed = sum(SIZES) + (tally.kills - kills) * PARALLEL * (CHUNK_BYTES + BUFFERED)
        if self.sent[0] - before > allowed:
            tally.violations.append(f"{self.sent[0] - before} bytes were sent, {allowed} allowed")
        if left := [path.name for path in place.iterdir() if path.name.endswith(".part")]:
            tally.violations.append(f"left behind: {left}")
        if _digest(out) != _digest(self.honest):
            tally.violations.append("the bundle has other bytes than an unkilled one")

    def take_in(self, tally: Tally, most: int) -> None:
        """One series of imports."""
        store, root = self.folder / f"store{tally.series}", self.folder / "1.root.json"
        signed = self.folder / "signed.tar"
        medium = (_sha256(signed), signed.stat().st_mtime_ns)
        command = _dryport("registry", "import", "--from", str(signed), "--store", str(store), "--root", str(root))
        command += ["--fingerprint", str(fingerprint(root.read_bytes()))]
        while not self.killed(command, tally, 1.2, most - tally.kills):
            pass
        tally.series += 1
        if left := [one for one in store.rglob(f"{durable.TEMPORARY}*") if not _is_taken_back(one)]:
            tally.violations.append(f"left behind, and nobody would sweep it: {left}")
        if (_sha256(signed), signed.stat().st_mtime_ns) != medium:
            tally.violations.append("the medium was changed")
        with closing(verify(signed, self.publisher.begin(), now=_now())) as verified, Store.open(store) as opened:
            content = verified.content()
            for repository in content.repositories():
                for tag in content.tags(repository):
                    named, there = content.resolve(repository, tag), opened.resolve(repository, tag)
                    if named is None or there is None or named.digest != there.digest:
                        tally.violations.append(f"{repository}:{tag} did not arrive")
            for artifact in content.artifacts:
                for digest in artifact.blobs:
                    blob = opened.blob(artifact.repository, digest)
                    if blob is None or not digest.matches(blob.read(0, blob.size)):
                        tally.violations.append(f"{digest} did not arrive")


def prepare(folder: Path, url: str, publisher: Publisher) -> Path:
    """Write sources, definition and lock; return the honest bundle."""
    (folder / "files").mkdir()
    entries = []
    for number, size in enumerate(SIZES):
        data = noise(f"file {number}", size)
        (folder / f"files/{number}.bin").write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        entries.append(f"  - {{name: file-{number}, url: '{url}/{number}.bin', sha256: '{digest}'}}\n")
    head = "apiVersion: dryport/v1\nkind: Bundle\nproduct: kills\nversion: 1.0.0\nplatforms: [linux/amd64]\nfiles:\n"
    (folder / "bundle.yaml").write_text(head + "".join(entries))
    for words in (("lock", "bundle.yaml"), ("build", "bundle.yaml", "--out", "honest.tar")):
        subprocess.run(_dryport("bundle", *words), cwd=folder, check=True, capture_output=True, env=_environment())
    signed = folder / "signed.tar"
    signed.write_bytes((folder / "honest.tar").read_bytes())
    statement = Statement("kills", "1.0.0", 1, ("linux/amd64",), _now() - DAY, _now() + 100 * DAY)
    with read_head(signed) as head_of:
        index = head_of.index
    sign_in_place(signed, sign_release(index, statement, publisher.roots, publisher.release))
    (folder / "1.root.json").write_bytes(publisher.roots[0])
    return folder / "honest.tar"


def run(kills: int, seed: int) -> dict[str, Tally]:
    """Kill each kind of run so many times in all."""
    tallies = {name: Tally() for name in ("build", "build of volumes", "import")}
    with tempfile.TemporaryDirectory(prefix="bundle-kills-") as name:
        folder, publisher = Path(name), Publisher(product="kills")
        with server(folder / "files") as (url, sent):
            honest = prepare(folder, url, publisher)
            yard = Yard(folder, random.Random(seed), publisher, honest, sent)  # noqa: S311 - nothing secret
            share = -(-kills // len(tallies))
            while tallies["build"].kills < share:
                yard.build(tallies["build"], share, volumes=False)
            while tallies["build of volumes"].kills < share:
                yard.build(tallies["build of volumes"], share, volumes=True)
            while tallies["import"].kills < share:
                yard.take_in(tallies["import"], share)
    return tallies


def _dryport(*words: str) -> list[str]:
    return [sys.executable, "-c", "from installer.cli.main import main; main()", *words]


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}


def _digest(path: Path) -> str:
    """Return the sha256 of a bundle's tar, whether it lies in one file or in volumes."""
    try:
        with read_head(path, judge_region=False) as head:
            archive = Archive(head)
            hasher = hashlib.sha256()
            for at in range(0, archive.layout.size, MIB):
                hasher.update(head.medium.read(at, min(MIB, archive.layout.size - at)))
            return hasher.hexdigest()
    except DryportError as error:
        return f"{error.reference}: {error.message}"


def _is_taken_back(part: Path) -> bool:
    """Say whether a store takes for an orphan what a killed import left, once it is old enough."""
    old = time.time() - 2 * durable.ORPHAN_SECONDS
    os.utime(part, (old, old))
    return durable.is_orphan(part)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def main() -> int:
    asked = [int(one) for one in sys.argv[1:3]]
    began = time.monotonic()
    tallies = run(asked[0] if asked else 200, asked[1] if len(asked) > 1 else 1)
    violations = [f"{name}: {one}" for name, tally in tallies.items() for one in tally.violations]
    for line in violations:
        print(line)
    said = "; ".join(f"{name}: {tally}" for name, tally in tallies.items())
    print(f"{said}; {len(violations)} violations, {time.monotonic() - began:.0f} s")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
