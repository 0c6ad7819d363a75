"""What a page of a list costs where the whole list is huge: the catalogue of very many repositories, and referrers.

    python -m tests.bench.lists [--repositories N] [--referrers N]

Each figure is the median of some requests, none of which is answered from memory; the last line is the most memory
that the server's process ever held.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import re
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from registry.oci.digest import Digest
from registry.oci.manifest import OCI_MANIFEST
from registry.server.users import user_line
from registry.store.store import Store
from tests.bench.registries.client import Client
from tests.bench.registries.contenders import Contender, Start, running
from tests.oci_samples import image

ROUNDS = 5
GRANTS = {"all": "pull:*", "few": "pull:zz/*", "scattered": "pull:*/public"}
RARE = "application/vnd.example.rare"
FEW = 1000
_numbers = itertools.count()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repositories", type=int, default=1_000_000)
    parser.add_argument("--referrers", type=int, default=100_000)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-", dir=".") as name:
        folder = Path(name).resolve()
        began = time.monotonic()
        many, few = fill(folder / "store", wanted.repositories, wanted.referrers)
        say("filling the store", time.monotonic() - began, "s")
        with running(Start("dryport", sys.executable, folder)) as contender:
            lines = (user_line(user, "pw", [grant], iterations=100_000) for user, grant in GRANTS.items())
            (folder / "users").write_text("".join(f"{line}\n" for line in lines))
            for case, user, path in cases(wanted.repositories, many, few):
                say(case, *ask(contender, user, path))
            peak = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{contender.process.pid}/status").read_text())
            say("most memory of the server", int(peak[1]) / 1024 if peak else 0, "MiB")


def cases(repositories: int, many: str, few: str) -> Iterator[tuple[str, str, str]]:
    middle = _repository(repositories // 2)
    yield "catalogue, first 100", "all", "/v2/_catalog?n=100"
    yield "catalogue, 100 from the middle", "all", f"/v2/_catalog?n=100&last={middle}"
    yield "catalogue, for who may see ten", "few", "/v2/_catalog?n=100"
    yield "catalogue, for who may see every 1000th", "scattered", "/v2/_catalog?n=100"
    at = "/v2/aa/app/referrers"
    yield "referrers of the much described, first 100", "all", f"{at}/{many}?n=100"
    yield "the same, from the middle", "all", f"{at}/{many}?n=100&last=sha256:8"
    yield "the same, of a rare type", "all", f"{at}/{many}?n=100&artifactType={RARE}"
    yield "the same, as many as fit a page", "all", f"{at}/{many}?"
    yield f"referrers, {FEW}", "all", f"{at}/{few}?"


def ask(contender: Contender, user: str, path: str) -> tuple[float, str]:
    """Return the median time of an answer in milliseconds, and what came."""
    took, size, count = [], 0, 0
    with Client(contender.port, headers=Client.basic(user, "pw")) as client:
        client.ask("GET", "/v2/")  # the password is hashed once
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            answer = client.ask("GET", f"{path}&round={next(_numbers)}")
            took.append(time.perf_counter() - begun)
            if answer.status != 200:
                raise SystemExit(f"{path} was answered {answer.status} {answer.body[:300]!r}")
            size = int(answer.headers["content-length"])
            value = json.loads(answer.body or b"{}")
            count = len(value.get("repositories", value.get("manifests", ())))
    return statistics.median(took) * 1000, f"ms  ({count or 'very many'} entries, {size} bytes)"


def say(case: str, value: float, unit: str) -> None:
    sys.stdout.write(f"{case:45} {value:10.2f} {unit}\n")
    sys.stdout.flush()


def _repository(number: int) -> str:
    return f"t{number // 1000:05}/{'public' if number % 1000 == 0 else f'app{number % 1000:03}'}"


def fill(folder: Path, repositories: int, referrers: int) -> tuple[str, str]:
    """Write the rows of a store that many pushes would have made; return a subject of many, and one of few."""
    with Store.open(folder) as store:
        sample = image()
        for digest, data in sample.blobs.items():
            store.put_blob("aa/app", digest, [data])
        store.put_manifest("aa/app", sample.manifest, OCI_MANIFEST, ["1"])
    blob = str(Digest.of(sample.config))
    many, few = (str(Digest.of(word)) for word in (b"many", b"few"))
    names = [*map(_repository, range(repositories)), *(f"zz/{number}" for number in range(10))]
    with sqlite3.connect(folder / "index.sqlite") as connection:
        connection.executemany("INSERT INTO repositories (name) VALUES (?)", ((name,) for name in names))
        connection.execute(
            "INSERT INTO holdings (repository, digest) SELECT id, ? FROM repositories WHERE name != 'aa/app'", (blob,)
        )
        rows = [
            (f"sha256:{hashlib.sha256(b'%d' % number).hexdigest()}", many if number < referrers else few, number)
            for number in range(referrers + FEW)
        ]
        connection.executemany("INSERT INTO contents (digest, size) VALUES (?, 700)", ((one,) for one, *_ in rows))
        connection.executemany(
            "INSERT INTO manifests (repository, digest, media_type, size, subject, artifact_type, annotations) "
            "VALUES (1, ?, ?, 700, ?, ?, ?)",
            (
                (digest, OCI_MANIFEST, subject, RARE if number % 1000 == 7 else "example/usual", f'{{"n": "{number}"}}')
                for digest, subject, number in rows
            ),
        )
    connection.close()
    return many, few


if __name__ == "__main__":
    main()
