"""Kills `dryport mirror copy` at random moments, again and again, and looks at what the copy that ends has made.

    python -m tests.slow.mirror_kills [KILLS [SEED [TARGET...]]]     targets: dryport, distribution, layout

Large blobs go over a slow line, so that most kills fall inside them. A series is one copy, killed until it ends; then
the target has to show what an unkilled copy shows, nothing may be left of the journal, and the line must not have
carried more than every byte once and, for each kill, what may have to be sent again. Ends with the violations.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from registry.client.access import Access, fixed_login
from registry.client.remote import RemoteRegistry
from registry.client.transport import Transport
from registry.mirror.copy import copy
from registry.mirror.layout import Layout, filled
from registry.progress import Silent
from registry.store.store import Store
from tests.bench.registries.contenders import PASSWORD, Start, running
from tests.lab.peers import peer
from tests.line import Line
from tests.mirror_samples import fill, image, noise, seen

MIB = 1 << 20
RATE = 6 * MIB
STREAMS = 4
RESENT = 2 * MIB
"""What one stream may have to carry again after a kill: a block, and what buffers held. (The promise is a chunk.)"""
WORDS = 0.02
"""Heads of requests, manifests and questions, per byte of blobs."""
LONGEST = 300
"""Seconds for one run."""
SIZES = (40, 36, 20, 9)
REPOSITORIES = [f"team/app{number}" for number in range(8)]


@dataclass
class Tally:
    """What a target saw."""

    kills: int = 0
    inside: int = 0
    """Of them, while a blob was on its way."""
    series: int = 0
    carried: int = 0
    unique: int = 0
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        more = (self.carried - self.unique) / max(self.kills, 1)
        said = f"{self.kills} kills ({self.inside} inside blobs) in {self.series} series, "
        said += f"carried x{self.carried / max(self.unique, 1):.3f}, {more / 1e6:.2f} MB more for each kill, "
        return f"{said}{len(self.violations)} violations"


@dataclass(frozen=True)
class Yard:
    """The content, and where copies of it go through the line."""

    kind: str
    folder: Path
    layout: Path
    expected: dict[str, Any]
    size: int
    """Bytes of unique blobs."""
    line: Line

    def command(self, name: str) -> Sequence[str]:
        """Return the copy to a new place of this name."""
        login = ["--password-file", str(self.folder / "password")]
        ends = [f"oci:{self.layout}", f"{self.line.url}/{name}"]
        more = ["--dst-user", "bench", f"--dst{login[0][1:]}", login[1]] if self.kind == "dryport" else []
        if self.kind == "layout":
            ends = [self.line.url, f"oci:{self.folder / name}"]
            more = ["--src-user", "bench", f"--src{login[0][1:]}", login[1]]
        program = [sys.executable, "-c", "from installer.cli.main import main; main()"]
        journal = ["--journal", str(self.journal(name))]
        return [*program, "mirror", "copy", *ends, *more, *journal, "--streams", str(STREAMS), "--json"]

    def journal(self, name: str) -> Path:
        return self.folder / "journals" / name

    @property
    def carried(self) -> int:
        return self.line.down if self.kind == "layout" else self.line.up

    def shown(self, name: str) -> dict[str, Any]:
        """Return what the place shows, under the content's names."""
        if self.kind == "layout":
            return seen(Layout(self.folder / name), {one: one for one in REPOSITORIES})
        login = fixed_login("bench", PASSWORD) if self.kind == "dryport" else fixed_login(None, None)
        with RemoteRegistry.over(Transport(f"http://127.0.0.1:{self.line.target}", Access(login=login))) as remote:
            return seen(remote, {f"{name}/{one}": one for one in REPOSITORIES})


def content(store: Store) -> None:
    """Fill a store with many small images, and a few whose layers are of tens of MB."""
    fill(store, count=16, size=3000)
    shared = noise("large, shared", SIZES[0] * MIB)
    for number, size in enumerate(SIZES[1:]):
        image(store, REPOSITORIES[number], f"large {number}", [shared, noise(f"large {number}", size * MIB)], ["large"])


@contextmanager
def yard(kind: str, folder: Path) -> Iterator[Yard]:
    """Give a place to copy to, and the content."""
    (folder / "password").write_text(PASSWORD + "\n")
    with Store.open(folder / "server/store") as store:
        content(store)
        expected = seen(store, {one: one for one in REPOSITORIES})
        with filled(folder / "content") as layout:
            copy(store, layout, Silent())
    blobs = [path.stat().st_size for path in (folder / "content/blobs/sha256").iterdir()]
    with Line(0) as line:  # each series has its own
        yield Yard(kind, folder, folder / "content", expected, sum(blobs), line)


@contextmanager
def line_to(kind: str, folder: Path, name: str) -> Iterator[Line]:
    """Start the registry that is copied to, empty, or for a layout the one that is copied from; give the line to it."""
    program = str(peer(kind)) if kind == "distribution" else sys.executable
    contender = "distribution" if kind == "distribution" else "dryport"
    place = folder / ("server" if kind == "layout" else f"target-{name}")
    with running(Start(contender, program, place)) as server, Line(server.port, rate=RATE) as line:
        yield line


def series(yard: Yard, name: str, chance: random.Random, most: int, tally: Tally) -> None:
    """Copy, killed at most so often, until the copy ends."""
    before, kills = yard.carried, 0
    while True:
        process = subprocess.Popen(yard.command(name), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            if kills < most and _killed(yard, process, chance, tally):
                kills += 1
                continue
            said = process.communicate(timeout=LONGEST)
        finally:
            process.kill()
            process.communicate()
        break
    tally.kills += kills
    tally.series += 1
    carried = yard.carried - before
    tally.carried, tally.unique = tally.carried + carried, tally.unique + yard.size
    if process.returncode:
        tally.violations.append(
            f"{name}: ended with {process.returncode}: {said[0].decode()} {said[1].decode()[-2000:]}"
        )
        return
    if carried < yard.size:
        tally.violations.append(f"{name}: {carried} bytes carried of {yard.size}: its target had some of it before")
    allowed = yard.size * (1 + WORDS) + kills * STREAMS * RESENT
    if carried > allowed:
        tally.violations.append(f"{name}: {carried} bytes carried after {kills} kills, at most {allowed:.0f} allowed")
    if yard.shown(name) != yard.expected:
        tally.violations.append(f"{name}: shows something else than an unkilled copy")
    if left := [path.name for path in (yard.folder / "journals").iterdir()]:
        tally.violations.append(f"{name}: left {left}")
    if yard.kind == "layout" and (left := [path.name for path in (yard.folder / name).rglob(".part-*")]):
        tally.violations.append(f"{name}: left {left}")


def _killed(yard: Yard, process: subprocess.Popen[bytes], chance: random.Random, tally: Tally) -> bool:
    """Wait until some more was carried, and some time; kill, and say whether it was still running."""
    began, begun_at = time.monotonic(), yard.carried
    more, patience = chance.randrange(STREAMS * 2 * RATE), chance.uniform(0.2, 8)
    while process.poll() is None and yard.carried < begun_at + more and time.monotonic() < began + patience:
        time.sleep(0.002)
    time.sleep(chance.uniform(0, 0.1))
    if process.poll() is not None:
        return False
    process.kill()
    process.wait()
    tally.inside += yard.carried - begun_at > MIB
    return True


def kill(kind: str, kills: int, seed: int, in_one: int = 12) -> Tally:
    """Kill copies to one kind of target so often, and return what was seen."""
    chance, tally = random.Random(seed), Tally()  # noqa: S311 - chance, no secret
    with tempfile.TemporaryDirectory(prefix="kills-") as folder, yard(kind, Path(folder)) as place:
        while tally.kills < kills:
            name, most = f"place{tally.series}", min(in_one, kills - tally.kills)
            # A registry that has the content from another series mounts it, and carries nothing.
            with line_to(kind, place.folder, name) as line:
                series(replace(place, line=line), name, chance, most, tally)
            if tally.violations:
                break
    return tally


def main(kills: int = 100, seed: int = 1, *kinds: str) -> int:
    """Kill at each kind of target; print what was seen, and return the number of violations."""
    violations = 0
    for kind in kinds or ("dryport", "distribution", "layout"):
        begun = time.monotonic()
        tally = kill(kind, kills, seed)
        print(f"{kind}: {tally}, {time.monotonic() - begun:.0f} s", flush=True)
        for one in tally.violations:
            print(f"  {one}")
        violations += len(tally.violations)
    return violations


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:3]]
    sys.exit(main(*numbers, *sys.argv[3:]))
