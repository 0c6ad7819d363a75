"""dryport's registry beside others, in one run on one machine: what a request or a gigabyte costs their CPU.

    python -m tests.bench.registry [--full] [--workers N] [--group G]... [--only WORD]... [--json FILE]

Others: distribution and olareg, built from the Go module proxy (tests/lab/peers.py); zot, where DRYPORT_ZOT names its
program. Ours asks for a password and makes everything durable before it answers; zot does so by `commit`, distribution
syncs the file and not its folder, olareg nothing. Everything is on loopback, one registry after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.authority import Authority
from tests.bench.registries import cases
from tests.bench.registries import starts as starts_module
from tests.bench.registries.cases import REPOSITORY, Figure
from tests.bench.registries.client import Blob
from tests.bench.registries.contenders import Contender, Start, available, running

MIB = 1 << 20
Cases = Iterator[tuple[str, Callable[[], Figure]]]


@dataclass(frozen=True)
class Scale:
    """How much is done."""

    seconds: float = 1.5
    bytes: int = 384 * MIB
    blob: int = 32 * MIB
    tags: int = 1000
    referrers: int = 100
    blobs: int = 5000
    gibibytes: int = 50
    times: int = 1
    """How often each case is measured; the median counts, since what a disk's writeback costs varies by half."""

    @classmethod
    def full(cls) -> Scale:
        return cls(3.0, 1024 * MIB, 64 * MIB, 10_000, 1000, 1_000_000, times=3)


@dataclass
class Results:
    """Figures by case and contender."""

    found: dict[str, dict[str, Figure]] = field(default_factory=dict)

    def add(self, case: str, contender: str, figure: Figure) -> None:
        self.found.setdefault(case, {})[contender] = figure
        sys.stdout.write(f"{contender:13} {case:42} {figure.value:10.2f} {figure.unit}\n")
        sys.stdout.flush()

    def show(self) -> None:
        """Print ours beside each other's: how many times better (more than 1) or worse we are."""
        sys.stdout.write("\n")
        for case, figures in self.found.items():
            ours = figures.get("dryport")
            line = f"{case:42}" + (f"{ours.value:10.2f} {ours.unit:9}" if ours else f"{'':20}")
            for name, other in figures.items():
                if ours and name != "dryport":
                    better = ours.value / other.value if ours.higher else other.value / max(ours.value, 1e-9)
                    line += f"  {name} {other.value:.2f} (x{better:.2f})"
            sys.stdout.write(line + "\n")


def small(contender: Contender, scale: Scale) -> Cases:
    """Requests for little: manifests, tags, referrers."""
    digest = cases.prepare(contender)
    at = f"/v2/{REPOSITORY}"
    for method, reference, word in (("GET", "latest", "tag"), ("HEAD", "latest", "tag"), ("GET", digest, "digest")):
        path = f"{at}/manifests/{reference}"
        yield f"manifest {method} by {word}", lambda m=method, p=path: cases.requests(contender, m, p, scale.seconds)  # type: ignore[misc]
    cases.push_tags(contender, digest, scale.tags)
    yield (
        f"tags, first 100 of {scale.tags}",
        lambda: cases.requests(contender, "GET", f"{at}/tags/list?n=100", scale.seconds),
    )
    if contender.name != "distribution":  # has no referrers API
        cases.push_referrers(contender, digest, scale.referrers)
        path = f"{at}/referrers/{digest}"
        yield f"referrers, {scale.referrers}", lambda: cases.requests(contender, "GET", path, scale.seconds)


def bodies(contender: Contender, scale: Scale, word: str) -> Cases:
    """Blobs in and out."""
    blob = Blob(scale.blob)
    with contender.client() as client:
        client.push_blob(REPOSITORY, blob)
    for streams in (1, 8, 64):
        yield (
            f"download, {streams} streams{word}",
            lambda n=streams: cases.download(contender, blob, n, max(scale.bytes, n * blob.size)),  # type: ignore[misc]
        )
    for streams in (1, 8, 64):
        size = min(scale.blob, scale.bytes // streams)
        yield (
            f"upload, {streams} streams{word}",
            lambda n=streams, s=size: cases.upload(contender, s, n, scale.bytes),  # type: ignore[misc]
        )
    yield (
        f"upload as docker, 8 streams{word}",
        lambda: cases.upload(contender, scale.blob, 8, scale.bytes, chunked=True),
    )


def memory(contender: Contender, _: Scale) -> Cases:
    """What many clients at once hold."""
    yield f"memory at {cases.PARALLEL_UPLOADS} uploads", lambda: cases.parallel_memory(contender, MIB)


GROUPS: Mapping[str, Callable[[Contender, Scale], Cases]] = {
    "small": small,
    "plain": lambda contender, scale: bodies(contender, scale, ""),
    "memory": memory,
    "tls": lambda contender, scale: bodies(contender, scale, ", TLS"),
}


def measure(scale: Scale, groups: Sequence[str], only: Sequence[str], workers: int) -> Results:
    """Measure the cases of some groups that hold one of the words."""
    results = Results()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=".") as name:
        base = Path(name).resolve()
        if "starts" in groups:
            starts(results, scale, base)
        authority = Authority(base)
        identity = authority.issue()
        for contender_name, program in available().items():
            for group in [one for one in groups if one in GROUPS]:
                tls = (identity, authority.ca) if group == "tls" else (None, None)
                start = Start(contender_name, program, base / contender_name / group, *tls, workers)
                with running(start) as contender:
                    for case, measured in GROUPS[group](contender, scale):
                        if not only or any(word in case for word in only):
                            figures = sorted((measured() for _ in range(scale.times)), key=lambda one: one.value)
                            results.add(case, contender_name, figures[len(figures) // 2])
                shutil.rmtree(start.folder)  # what it was given would fill the disk beside the others'
    return results


def starts(results: Results, scale: Scale, base: Path) -> None:
    """How long until they serve."""
    for name, program in available().items():
        if name in starts_module.FILLS:
            figure = starts_module.over_many_blobs(name, program, base / "starts" / name, scale.blobs)
            results.add(f"start over {scale.blobs} blobs, to the first", name, figure)
    work, whole = starts_module.from_bundle(base / "mounted", scale.gibibytes)
    results.add(f"mount {scale.gibibytes} GiB, to the first pull", "dryport", work)
    results.add("the same, with the program's start", "dryport", whole)


def as_container_runtimes_do() -> None:
    """Begin again as a client that asks for AES-128 first, as all clients written in Go do; servers follow or not."""
    if "OPENSSL_CONF" in os.environ:
        return
    with tempfile.NamedTemporaryFile("w", suffix=".cnf", delete=False) as file:
        file.write("openssl_conf = start\n[start]\nssl_conf = ssl\n[ssl]\nsystem_default = all\n[all]\n")
        file.write("Ciphersuites = TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256\n")
    command = [sys.executable, "-m", "tests.bench.registry", *sys.argv[1:]]
    done = subprocess.run(command, env={**os.environ, "OPENSSL_CONF": file.name}, check=False)
    Path(file.name).unlink()
    sys.exit(done.returncode)


def main() -> None:
    as_container_runtimes_do()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--group", action="append", choices=[*GROUPS, "starts"], default=[])
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--json", type=Path)
    wanted = parser.parse_args()
    began = time.monotonic()
    results = measure(
        Scale.full() if wanted.full else Scale(), wanted.group or ["starts", *GROUPS], wanted.only, wanted.workers
    )
    results.show()
    sys.stdout.write(f"\n{time.monotonic() - began:.0f} s\n")
    if wanted.json:
        found = {case: {name: asdict(one) for name, one in figures.items()} for case, figures in results.found.items()}
        wanted.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
