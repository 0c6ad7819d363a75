"""dryport's mirror beside others, in one run on one machine: images between registries, and from an archive to one.

    python -m tests.bench.mirror [--full] [--rounds N] [--client NAME]... [--case WORD]... [--folder DIR] [--json FILE]

The others: skopeo (Debian's), and crane, oras and imgpkg, built from the Go module proxy (tests/lab/peers.py). Both
registries are distribution, the target a new one for each cold run. 8 images, 380 MB, which share a layer of 60 MB.
Clients take turns; the least of their rounds counts. `sent` is what a line to the target counted, per byte of the set.
The far registry lies behind one of 50 ms and 20 MB/s for each connection (tests/line.py). dryport has looked at a
registry before (once a month); what that takes stands by itself. With --full, a layer of 4 GB too.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tests.bench.mirrors import content
from tests.bench.mirrors.clients import Client, Commands, Dryport, available
from tests.bench.mirrors.figures import Figures
from tests.bench.mirrors.run import Cost, run
from tests.bench.registries.contenders import Start, running
from tests.lab.peers import peer
from tests.line import Line

DELAY, RATE = 0.05, 20e6
SPARSE = 4 << 30
COPY = "registry to registry"
SEND = "archive to registry"
FAR = "registry to far registry"
AGAIN = ", all there"
HUGE = ", a layer of 4 GB"
LOOK = "a look at a registry"


@dataclass(frozen=True)
class Yard:
    """Where everything lies, and the source that runs."""

    folder: Path
    images: content.Images
    source: int
    clients: Mapping[str, Client]
    figures: Figures

    @contextmanager
    def empty(self, **line: float) -> Iterator[Line]:
        """Start an empty registry, and give the line to it."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            start = Start("distribution", str(peer("distribution")), Path(name), workers=2)
            with running(start) as started, Line(started.port, **line) as between:
                yield between

    def archive(self, name: str) -> Path:
        """Return a client's own archive of the images, made at first use."""
        folder = self.folder / "archives" / name
        if not folder.exists():
            folder.mkdir(parents=True)
            self.run(name, self.clients[name].fetch(self.images, self.source, folder))
        return folder

    def run(self, name: str, commands: Commands) -> Cost:
        return run(commands, self.folder / "home" / name)

    def look(self, name: str, case: str, commands: Commands) -> None:
        """Let ours find out about a registry what later copies to the same place know; it is told by itself."""
        if isinstance(self.clients[name], Dryport):
            self.figures.add(f"{LOOK}{case}", name, self.run(name, [[*one, "--dry-run"] for one in commands]))


def near(yard: Yard, name: str, case: str, commands: Callable[[int], Commands]) -> None:
    """Fill an empty registry on loopback, then once more."""
    with yard.empty() as line:
        yard.look(name, "", commands(line.target))
        for again in ("", AGAIN):
            yard.figures.add(case + again, name, yard.run(name, commands(line.target)))


def counted(yard: Yard, name: str, case: str, commands: Callable[[int], Commands], **line: float) -> None:
    """Fill an empty registry through a line that counts; where it does no more than that, time is not its matter."""
    with yard.empty(**line) as between:
        yard.look(name, " through a line", commands(between.port))
        before = between.up
        cost = replace(yard.run(name, commands(between.port)), sent=between.up - before)
    known = yard.figures.found.get(case, {}).get(name)
    yard.figures.add(case, name, cost if line or not known else replace(known, sent=cost.sent))


def one_round(yard: Yard, wanted: Callable[[str], bool], *, is_first: bool) -> None:
    """Let each client have its turn at each case."""
    for case in filter(wanted, (COPY, SEND, FAR)):
        for name, client in yard.clients.items():
            if case == SEND:
                commands = partial(client.send, yard.images, yard.archive(name))
            else:
                commands = partial(client.copy, yard.images, yard.source)
            if case == FAR:
                counted(yard, name, case, commands, delay=DELAY, rate=RATE)
                continue
            near(yard, name, case, commands)
            if is_first:
                counted(yard, name, case, commands)


def huge(yard: Yard) -> None:
    """One layer of 4 GB, by dryport: what it holds in memory."""
    images = content.write_sparse(yard.folder / "huge/layout", SPARSE)
    ours = yard.clients["dryport"]
    with yard.empty() as first, yard.empty() as second:
        sent = yard.run("dryport", ours.send(images, images.layout.parent, first.target))
        yard.figures.add(SEND + HUGE, "dryport", sent)
        yard.figures.add(COPY + HUGE, "dryport", yard.run("dryport", ours.copy(images, first.target, second.target)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--client", action="append", default=[])
    parser.add_argument("--case", action="append", default=[])
    parser.add_argument("--folder", type=Path, default=Path(), help="where everything lies")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    clients = {name: one for name, one in available().items() if not asked.client or name in asked.client}

    def wanted(case: str) -> bool:
        return not asked.case or any(word in case for word in asked.case)

    with tempfile.TemporaryDirectory(prefix="bench-", dir=asked.folder) as place:
        folder = Path(place).resolve()
        images = content.write(folder / "layout")
        start = Start("distribution", str(peer("distribution")), folder / "source", workers=2)
        with running(start) as source:
            figures = Figures(images.size)
            yard = Yard(folder, images, source.port, clients, figures)
            run(Dryport(sys.executable).send(images, folder, source.port), folder / "home/filling")
            for number in range(asked.rounds):
                one_round(yard, wanted, is_first=number == 0)
            if asked.full:
                huge(yard)
    figures.show()
    if asked.json:
        figures.write(asked.json)


if __name__ == "__main__":
    main()
