"""A support bundle: what helps somebody who cannot log in here, collected offline, without a secret in it.

* Hosts are asked side by side; one that does not answer leaves a word of why, and all the rest is there.
* What the site knows as a secret is blotted out wherever it stands, and so is what looks like one.
* `CONTENTS.json` lists every file with its size, its digest and whether it was cut; `MISSING.txt` what is not there.

>>> collect(declared, home, Path("support.tar.gz"), ask=ask, now=datetime.now(UTC)).files
57
"""

from __future__ import annotations

import gzip
import io
import re
import secrets as entropy
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from shlex import quote

from installer.hosts.ssh import Answer
from installer.site.config import Declared
from installer.site.home import Home
from installer.site.redaction import Redaction
from installer.targets.baremetal import BareMetal
from installer.targets.base import Host
from registry.errors import HostError
from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.store import durable

COLLECT = (Path(__file__).parent.parent / "hosts" / "collect.sh").read_text()
PART_BYTES = 1 << 20
LOG_BYTES = 4 << 20
_NAME = re.compile(r"[a-z]+/[a-z-]+")
Ask = Callable[[Host, str], Answer]
"""Runs a script on a host, as root."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What went into a support bundle."""

    path: Path
    size: int
    files: int
    missing: tuple[str, ...]
    """What could not be had, a line each."""


def collect(
    declared: Declared, home: Home, out: Path, *, ask: Ask, now: datetime, since: str = "7 days ago"
) -> Collected:
    """Write a support bundle to `out`, which comes to be whole or not at all. Raises SiteError."""
    redaction = Redaction.of(home)
    found: dict[str, bytes] = {}
    missing: list[str] = []
    for name, data in _own(declared, home):
        found[f"site/{name}"] = data
    hosts = BareMetal(declared).hosts()

    def of(host: Host) -> Mapping[str, str] | HostError:
        try:
            return parts_of(host, ask, since)
        except HostError as error:
            return error

    with ThreadPoolExecutor(max_workers=max(1, min(16, len(hosts)))) as pool:
        for host, told in zip(hosts, pool.map(of, hosts), strict=True):
            if isinstance(told, HostError):
                missing.append(f"host {host.name}: {told.message}")
                continue
            if "end" not in told:
                missing.append(f"host {host.name}: broken off, what came before is here")
            empty = sorted(name for name, text in told.items() if not text.strip() and name != "end")
            missing += [f"host {host.name}: nothing came of {name}" for name in empty]
            for name in sorted(told.keys() - {"end", *empty}):
                found[f"hosts/{host.name}/{name}.txt"] = told[name].encode()
    clean = {name: redaction.of_bytes(data) for name, data in sorted(found.items())}
    data = _archive(declared.site.name, clean, [redaction.of_text(line) for line in missing], now)
    durable.replace(out, data, 0o600)
    return Collected(out, len(data), len(clean), tuple(missing))


def parts_of(host: Host, ask: Ask, since: str) -> Mapping[str, str]:
    """Return what a host said, by part; `end` is among the names if all of it came. Raises HostError."""
    mark = f"@@{entropy.token_hex(16)}"
    answer = ask(host, f"MARK={quote(mark)}\nSINCE={quote(since)}\n{COLLECT}")
    parts: dict[str, list[str]] = {}
    name = ""
    for line in answer.output.splitlines(keepends=True):
        if line.startswith(f"{mark} "):
            name = line.removeprefix(f"{mark} ").strip()
            if name == "end" or _NAME.fullmatch(name):
                parts[name] = []
                continue
        if name in parts:
            parts[name].append(line)
    return {one: "".join(lines).removesuffix("\n") for one, lines in parts.items()}


def _own(declared: Declared, home: Home) -> Iterator[tuple[str, bytes]]:
    """Yield what the home and the declaration hold and may be shown: public halves, states, records."""
    yield "site.yaml", declared.path.read_bytes()
    shown: Sequence[Path] = [
        home.path / "site.json",
        home.state,
        home.trust,
        home.journal,
        home.known_hosts,
        home.apt_certificate,
        *sorted(home.pki.glob("*.pem")),
        *sorted(path for path in home.logs.rglob("*") if path.is_file()),
    ]
    for path in shown:
        if path.is_file():
            with path.open("rb") as stream:
                size = path.stat().st_size
                stream.seek(max(0, size - LOG_BYTES))  # of a long record its end tells more
                yield str(path.relative_to(home.path)), stream.read(LOG_BYTES)


def _archive(site: str, found: Mapping[str, bytes], missing: Sequence[str], now: datetime) -> bytes:
    listed = [
        {"name": name, "size": len(data), "digest": str(Digest.of(data)), "isCut": len(data) >= PART_BYTES}
        for name, data in found.items()
    ]
    contents = {"apiVersion": "dryport/v1", "kind": "SupportBundle", "site": site, "files": listed}
    told = "".join(f"{line}\n" for line in missing) or "nothing\n"
    members = {"CONTENTS.json": strictjson.canonical(contents), "MISSING.txt": told.encode(), **found}
    raw = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=raw, mode="wb", mtime=int(now.timestamp()), filename="") as packed,
        tarfile.TarFile(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, data in members.items():
            member = tarfile.TarInfo(f"support-{site}/{name}")
            member.size, member.mode, member.mtime = len(data), 0o600, int(now.timestamp())
            tar.addfile(member, io.BytesIO(data))
    return raw.getvalue()
