"""dryport's bundles beside others' archives, in one run on one machine: made, verified, listed, pushed.

    python -m tests.bench.bundles [--rounds N] [--folder DIR] [--json FILE]

The others: imgpkg and crane, built from the Go module proxy (tests/lab/peers.py). Source and target are distribution; 8
images, 380 MB, which share a layer of 60 MB. `written` is what the system was made to write to disk, `sent` what a line
to the target counted, both per byte of the set. Ours is signed and verified on the way, theirs is neither.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bundles.trust.metadata import fingerprint
from tests.bench.mirrors import content
from tests.bench.mirrors.clients import Client, Commands, Dryport, available
from tests.bench.mirrors.figures import Figures
from tests.bench.mirrors.run import Cost, run
from tests.bench.registries.contenders import Start, running
from tests.lab.peers import peer
from tests.line import Line

CREATE, VOLUMES, VERIFY, LIST, DIFF, PUSH = "create", "create in volumes", "verify", "list", "diff", "push"
WHOLE = "registry to bundle to registry"
PEERS = ("imgpkg", "crane")
VOLUME = "64MiB"


@dataclass(frozen=True)
class Ours:
    """Keys of a test, and dryport's commands with them."""

    folder: Path

    def prepare(self) -> None:
        """Hold the ceremony, once."""
        at = self.folder
        init = ("--root", at / "root.pub", "--threshold", "1", "--release", at / "release.pub", "--expires", "36500")
        steps = (
            ("key", "new", "root", "--out", at),
            ("key", "new", "release", "--out", at),
            ("key", "init", *init, "--out", at / "1.root.json"),
            ("key", "sign-root", at / "1.root.json", "--key", at / "root.pem"),
        )
        run([self._command(*words) for words in steps], at / "home")

    def create(self, source: int, bundle: Path, *more: str) -> Commands:
        return [
            self._command(
                *("mirror", "copy", f"http://127.0.0.1:{source}/{content.BASE}", f"bundle:{bundle}"),
                *("--product", "bench", "--version", "1.0.0", *more),
            ),
            self._command(
                *("bundle", "sign", bundle, "--root", self.folder / "1.root.json"),
                *("--key", self.folder / "release.pem", "--sequence", "1", "--best-before", "2099-01-01"),
            ),
        ]

    def verify(self, bundle: Path) -> Commands:
        return [self._command("bundle", "verify", bundle, *self._trust())]

    def list(self, bundle: Path) -> Commands:
        return [self._command("bundle", "inspect", bundle, *self._trust())]

    def diff(self, bundle: Path) -> Commands:
        return [self._command("bundle", "diff", bundle, bundle, *self._trust())]

    def push(self, bundle: Path, target: int) -> Commands:
        return [self._command("mirror", "copy", f"bundle:{bundle}", f"http://127.0.0.1:{target}", *self._trust())]

    def _trust(self) -> Sequence[object]:
        root = self.folder / "1.root.json"
        return ("--root", root, "--fingerprint", fingerprint(root.read_bytes()))

    def _command(self, *words: object) -> Sequence[str]:
        return [sys.executable, "-c", "from installer.cli.main import main; main()", *map(str, words)]


@dataclass(frozen=True)
class Yard:
    """Where everything lies, and the source that runs."""

    folder: Path
    images: content.Images
    source: int
    peers: Mapping[str, Client]
    ours: Ours
    figures: Figures

    def one_round(self, number: int) -> None:
        """Let each have its turn."""
        folder = self.folder / f"round{number}"
        folder.mkdir()
        bundle = folder / "bench.tar"
        made = self._add(CREATE, "dryport", self.ours.create(self.source, bundle))
        self._add(VOLUMES, "dryport", self.ours.create(self.source, folder / "cut.tar", "--volume-size", VOLUME))
        for case, commands in (
            (VERIFY, self.ours.verify(bundle)),
            (LIST, self.ours.list(bundle)),
            (DIFF, self.ours.diff(bundle)),
        ):
            self._add(case, "dryport", commands)
        self.figures.add(
            WHOLE, "dryport", made.then(self._pushed("dryport", lambda port: self.ours.push(bundle, port)))
        )
        for name, client in self.peers.items():
            place = folder / name
            place.mkdir()
            made = self._add(CREATE, name, client.fetch(self.images, self.source, place))
            pushed = self._pushed(name, lambda port, one=client, at=place: one.send(self.images, at, port))  # type: ignore[misc]
            self.figures.add(WHOLE, name, made.then(pushed))

    def _add(self, case: str, name: str, commands: Commands) -> Cost:
        cost = run(commands, self.folder / "home" / name)
        self.figures.add(case, name, cost)
        return cost

    def _pushed(self, name: str, commands: object) -> Cost:
        """Push to a new registry, whose line counts; time is measured without it, into another one."""
        home = self.folder / "home" / name
        costs = []
        for counts in (False, True):
            with tempfile.TemporaryDirectory(dir=self.folder) as place:
                start = Start("distribution", str(peer("distribution")), Path(place), workers=2)
                with running(start) as started, Line(started.port) as line:
                    port = line.port if counts else started.port
                    if name == "dryport":  # what a registry can do is found out once a month, and told by itself
                        run([[*one, "--dry-run"] for one in commands(port)], home)  # type: ignore[operator]
                    before = line.up
                    costs.append(run(commands(port), home))  # type: ignore[operator]
                    sent = line.up - before
        cost = replace(costs[0], sent=sent)
        self.figures.add(PUSH, name, cost)
        return cost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(), help="where everything lies")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    peers = {name: one for name, one in available().items() if name in PEERS}
    with tempfile.TemporaryDirectory(prefix="bench-", dir=asked.folder) as place:
        folder = Path(place).resolve()
        images = content.write(folder / "layout")
        ours = Ours(folder / "keys")
        ours.folder.mkdir()
        ours.prepare()
        start = Start("distribution", str(peer("distribution")), folder / "source", workers=2)
        with running(start) as source:
            run(Dryport(sys.executable).send(images, folder, source.port), folder / "home/filling")
            yard = Yard(folder, images, source.port, peers, ours, Figures(images.size))
            for number in range(asked.rounds):
                yard.one_round(number)
    yard.figures.show()
    if asked.json:
        yard.figures.write(asked.json)


if __name__ == "__main__":
    main()
