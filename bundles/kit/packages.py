"""Python packages for another machine than this: pinned, hash-checked, prebuilt, free of this machine's traces.

* What is installed is what the lock names: pip checks every hash, resolves nothing, builds nothing but dryport itself.
* Which wheels fit is said by the target (CPython 3.11, glibc 2.28 or newer), not taken from the builder.
* Where packages come from is the business of this machine's own pip configuration; nothing of it reaches the result.
* Bytecode is compiled ahead and never checked against its source, so that a read-only kit starts quickly.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from importlib.util import find_spec
from pathlib import Path

from bundles.kit.launcher import PYTHON
from registry.errors import SiteError, UsageError
from registry.store import durable

MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
GLIBC = (28, 5)
"""Newest and oldest glibc 2.x that a wheel may ask for: RHEL 8 has 2.28, Debian 12 has 2.36."""
EPOCH = 315532800
"""1980-01-01, the earliest time that a wheel can hold."""
MINUTES = 30


def check_builder(platform: str) -> None:
    """Raise UsageError for a platform nobody has a kit for, SiteError if this Python environment cannot build one."""
    if platform not in MACHINES:
        raise UsageError(
            "kit-platform",
            f"no kit for {platform}",
            expected=" or ".join(MACHINES),
            hint="dryport kit build --platform linux/amd64",
        )
    if sys.version_info[:2] != PYTHON:
        raise SiteError(
            "kit-python",
            "a kit's bytecode is compiled by the Python that will run it",
            expected="Python {}.{}".format(*PYTHON),
            seen="Python {}.{} at {}".format(*sys.version_info[:2], sys.executable),
            hint="run dryport from an environment of that Python: make setup",
        )
    missing = [name for name in ("pip", "hatchling") if find_spec(name) is None]
    if missing:
        raise SiteError(
            "kit-builder-missing",
            f"building a kit needs {' and '.join(missing)} in this Python environment",
            where=sys.prefix,
            hint="make setup",
        )


def build_wheel(project: Path, folder: Path) -> Path:
    """Build dryport's own wheel from a checkout; the same sources give the same bytes."""
    _python(
        ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, project],
        "kit-wheel-failed",
        "dryport's own wheel could not be built",
    )
    return next(folder.glob("dryport-*.whl"))


def install(lock: Path, wheel: Path, scratch: Path, platform: str) -> Path:
    """Install the locked packages and `wheel` into a new folder, for `platform`."""
    lib, own = scratch / "lib", scratch / "own.txt"
    name, version = wheel.name.split("-")[:2]
    # By name and hash, not by path: pip writes a path given to it into the installed package.
    durable.create(own, f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n".encode())
    machine = MACHINES[platform]
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC[0], GLIBC[1] - 1, -1)]
    tags += [f"{alias}_{machine}" for alias in ("manylinux2014", "manylinux2010", "manylinux1")]
    python = ["--implementation", "cp", "--python-version", "{}.{}".format(*PYTHON)]
    python += [part for abi in ("cp{}{}".format(*PYTHON), "abi3", "none") for part in ("--abi", abi)]
    python += [part for tag in tags for part in ("--platform", tag)]
    checks = ["--no-deps", "--require-hashes", "--only-binary", ":all:"]
    places: list[str | Path] = [
        "--find-links",
        wheel.parent,
        "--target",
        lib,
        "--requirement",
        lock,
        "--requirement",
        own,
    ]
    _python(
        ["-m", "pip", "install", "--quiet", "--no-compile", *checks, *python, *places],
        "kit-install-failed",
        "a package of the lock could not be installed",
    )
    return lib


def compile_ahead(lib: Path) -> None:
    """Write the bytecode of every module beside it. One process, sorted: more would make the bytes depend on luck."""
    _python(
        ["-m", "compileall", "-q", "-j", "1", "-s", lib, "-p", "lib", "--invalidation-mode", "unchecked-hash", lib],
        "kit-compile-failed",
        "a module could not be compiled",
    )


def files(lib: Path) -> Iterator[tuple[str, bytes | Path]]:
    """Yield what belongs in the kit's `lib/` by name."""
    for path in sorted(lib.rglob("*")):
        name = path.relative_to(lib)
        # The programs that pip made name the builder's Python; the kit has launchers of its own.
        if path.is_dir() or name.parts[0] == "bin":
            continue
        is_record = path.name == "RECORD" and path.parent.name.endswith(".dist-info")
        yield name.as_posix(), _record(path, lib) if is_record else path


def _record(path: Path, lib: Path) -> bytes:
    # The left-out programs were listed with digests that depend on the builder's path.
    rows = [row for row in csv.reader(path.read_text("utf-8").splitlines()) if (lib / row[0]).is_file()]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(sorted(rows))
    return text.getvalue().encode()


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package and its licence; `texts` are the licence files' names in `lib/`."""

    name: str
    version: str
    license: str
    texts: tuple[str, ...]


def packages(lib: Path) -> list[Package]:
    """Return what is installed, by name."""
    found = [Package(one.name, one.version, _license(one), _texts(one)) for one in distributions(path=[str(lib)])]
    return sorted(found, key=lambda package: package.name.lower())


def _license(package: Distribution) -> str:
    head = package.metadata
    for key in ("License-Expression", "License"):
        text = str((head.get_all(key) or [""])[0]).strip()
        if text not in ("", "UNKNOWN") and "\n" not in text:
            return text
    marks = [mark.rsplit("::", 1)[1].strip() for mark in head.get_all("Classifier", []) if mark.startswith("License")]
    return ", ".join(marks)


def _texts(package: Distribution) -> tuple[str, ...]:
    pattern = re.compile(r"(LICEN[CS]E|COPYING|NOTICE)", re.IGNORECASE)
    listed = [path for path in package.files or () if path.parts[0].endswith(".dist-info")]
    return tuple(sorted(str(path) for path in listed if pattern.match(path.name)))


def _python(arguments: Sequence[str | Path], reference: str, message: str) -> None:
    # env(1) sets and unsets single variables; the rest (a proxy, pip's configuration) is the machine's own affair.
    head = ["env", "-u", "PYTHONPATH", "-u", "PYTHONHOME", f"SOURCE_DATE_EPOCH={EPOCH}", "PYTHONHASHSEED=0"]
    head += ["PYTHONDONTWRITEBYTECODE=", "PIP_DISABLE_PIP_VERSION_CHECK=1", sys.executable, "-P"]
    command = [*head, *map(str, arguments)]
    try:
        done = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=MINUTES * 60
        )
    except subprocess.TimeoutExpired as error:
        raise SiteError(reference, message, seen=f"nothing for {MINUTES} minutes", hint="try again") from error
    if done.returncode:
        lines = (done.stderr + done.stdout).strip().splitlines()
        raise SiteError(
            reference,
            message,
            where=f"python {arguments[0]} {arguments[1]} {arguments[2]}",
            seen="\n            ".join(lines[-12:]),
            hint="check the machine's pip configuration and network, and that requirements/runtime.lock is current",
        )
