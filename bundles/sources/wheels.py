"""Python wheels: a closure that pip resolves for a stated Python and platform, carried as pip downloaded it.

Pip is run, never imported; nothing is built, so no code of a package runs here. What it downloads is hashed when it is
locked, and has to have the same hash when it is fetched again. The site hands the files to `pip install --no-index
--find-links`.

>>> resolve(WheelsEntry(name="tools", requirements=["requests==2.32.3"]), "1.0.0", inputs)
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from bundles.definition import WheelsEntry
from bundles.lock import LockedArtifact, LockedBlob, Wheel
from bundles.sources.artifact import Layer, made
from bundles.sources.inputs import Inputs
from registry.errors import DefinitionError, RemoteError
from registry.oci.digest import Digest

TYPE = "application/vnd.dryport.wheels.v1"
LAYER = "application/vnd.dryport.wheel.v1+zip"
MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
OLDEST_GLIBC = 5
MINUTES = 30
BLOCK_BYTES = 1 << 20
_WORD = r"[A-Za-z0-9_.]+"
_FILE = re.compile(rf"({_WORD})-([A-Za-z0-9_.!+]+)(-[0-9][A-Za-z0-9_.]*)?-{_WORD}-{_WORD}-{_WORD}\.whl")
"""The name of a wheel: package, version, build, Python, ABI, platform (PyPA, binary distribution format)."""
_NOT_THERE = re.compile(r"No matching distribution|Could not find a version|ResolutionImpossible", re.IGNORECASE)


def resolve(entry: WheelsEntry, version: str, inputs: Inputs) -> LockedArtifact:
    """Return the locked closure. Raises DefinitionError if there is none, RemoteError if no index answers."""
    tags = _tags(entry)
    layers = []
    with tempfile.TemporaryDirectory(dir=inputs.scratch) as name:
        _download(entry.requirements, entry.python, tags, Path(name), where=f"wheels {entry.name}")
        for path in sorted(Path(name).iterdir(), key=lambda path: path.name.lower()):
            found = _FILE.fullmatch(path.name)
            if found is None:
                raise DefinitionError(
                    "wheel-misnamed",
                    "what pip downloaded is no wheel",
                    where=f"wheels {entry.name}",
                    seen=path.name,
                    hint="name another version of that package",
                )
            origin = Wheel(
                package=found[1].replace("_", "-").lower(),
                version=found[2],
                file=path.name,
                python=entry.python,
                platforms=tags,
            )
            with path.open("rb") as stream:
                digest = Digest.of_stream(stream)
            blob = LockedBlob(digest=digest, size=path.stat().st_size, media_type=LAYER, origin=origin)
            layers.append(Layer(path.name, blob))
    return made(
        "wheels",
        TYPE,
        f"dryport/wheels/{entry.name}:{version}",
        layers,
        annotations={"dev.dryport.wheels.python": entry.python, "dev.dryport.wheels.platform": entry.platform},
        title=f"{len(layers)} wheel(s) for Python {entry.python} on {entry.platform}",
    )


def blocks(wheel: Wheel, blob: LockedBlob, start: int, scratch: Path) -> Iterator[bytes]:
    """Yield a wheel's bytes from `start` on. Raises DefinitionError if the index has another one, or none."""
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        folder = Path(name)
        pinned = f"{wheel.package}=={wheel.version} --hash={blob.digest.algorithm}:{blob.digest.hex}\n"
        _download([pinned], wheel.python, wheel.platforms, folder, where=f"wheel {wheel.file}", is_pinned=True)
        with (folder / wheel.file).open("rb") as stream:
            stream.seek(start)
            while block := stream.read(BLOCK_BYTES):
                yield block


def _tags(entry: WheelsEntry) -> list[str]:
    """Return the platform tags that fit, newest first (PEP 600: manylinux_2_N asks for glibc 2.N or newer)."""
    machine = MACHINES.get(entry.platform)
    if machine is None:
        raise DefinitionError(
            "wheels-platform",
            f"no wheels are known for {entry.platform}",
            where=f"wheels {entry.name}",
            expected=" or ".join(MACHINES),
            hint="mend platform in the definition",
        )
    newest = int(entry.glibc.partition(".")[2])
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, OLDEST_GLIBC - 1, -1)]
    return [*tags, *(f"{alias}_{machine}" for alias in ("manylinux2014", "manylinux2010", "manylinux1"))]


def _download(
    requirements: Sequence[str], python: str, tags: Sequence[str], folder: Path, *, where: str, is_pinned: bool = False
) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
        listed.write("".join(f"{one.strip()}\n" for one in requirements))
        listed.flush()
        abis = (f"cp{python.replace('.', '')}", "abi3", "none")
        command = [
            *("env", "-u", "PYTHONPATH", "-u", "PYTHONHOME", "PIP_DISABLE_PIP_VERSION_CHECK=1"),
            *(sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-input", "--only-binary", ":all:"),
            *(
                "--implementation",
                "cp",
                "--python-version",
                python,
                "--dest",
                str(folder),
                "--requirement",
                listed.name,
            ),
            *(word for abi in abis for word in ("--abi", abi)),
            *(word for tag in tags for word in ("--platform", tag)),
            *(("--require-hashes", "--no-deps") if is_pinned else ()),
        ]
        try:
            done = subprocess.run(
                command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=MINUTES * 60
            )
        except subprocess.TimeoutExpired as error:
            raise RemoteError(
                "wheels-timeout", f"pip said nothing for {MINUTES} minutes", where=where, hint="try again"
            ) from error
    if not done.returncode:
        return
    said = "\n            ".join((done.stderr + done.stdout).strip().splitlines()[-8:])
    if is_pinned or _NOT_THERE.search(said):
        raise DefinitionError(
            "source-changed" if is_pinned else "wheels-unresolvable",
            f"{where}: pip finds no wheel that fits",
            where=where,
            expected=", ".join(one.strip() for one in requirements)[:300],
            seen=said,
            hint="lock again, or mend requirements, python, platform or glibc in the definition",
        )
    raise RemoteError(
        "wheels-failed",
        f"{where}: pip failed",
        where=where,
        seen=said,
        hint="see whether this machine's pip works: pip download --no-deps pip",
    )
