"""Building a kit from a checkout: the same sources and lock give the same bytes, in any folder, on any day.

    dryport-kit-VERSION/
        bin/dryport, bin/ansible-playbook     sh that finds lib/ beside itself
        lib/                                  every locked package and dryport, with bytecode
        kit.json                              version, platform, Python; who compiled the bytecode; the packages
        LICENSES                              each package's licence and where its text is
        SHA256SUMS                            of every other file

The one thing that is not in the lock and shows in the bytes is the patch release of the Python that compiled them
(3.11.2 and 3.11.7 differ in the line tables of a few modules), so kit.json names it.
"""

from __future__ import annotations

import hashlib
import platform as machine
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bundles.kit.launcher import PYTHON, launchers
from bundles.kit.packages import Package, build_wheel, check_builder, compile_ahead, files, install, packages
from bundles.kit.tree import Tree
from registry.errors import UsageError
from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.progress import Progress
from registry.store import durable

_LICENSES = """\
Licences of what this kit holds
===============================

dryport is under the Apache License 2.0. The packages below are other people's work under their own terms.
ansible-core is under the GNU General Public License, version 3 or later: dryport runs it as a program of its own and
does not import it. Its complete source is what lies in lib/ansible: Python, as its authors write it.
"""


@dataclass(frozen=True, slots=True)
class Kit:
    """A kit that was built."""

    path: Path
    version: str
    platform: str
    size: int
    digest: Digest


def build_kit(project: Path, out: Path, progress: Progress, *, platform: str = "linux/amd64") -> Kit:
    """Build the kit of a checkout into the folder `out`; a kit of the same name there is replaced."""
    version, lock = _project(project)
    check_builder(platform)
    top = f"dryport-kit-{version}"
    final = out / f"{top}-{platform.replace('/', '-')}.tar"
    with (
        tempfile.TemporaryDirectory(prefix="dryport-kit-") as folder,
        progress.meter("building the kit", 4, "steps") as m,
    ):
        scratch = Path(folder)
        m.advance(0, "wheel")
        wheel = build_wheel(project, scratch)
        m.advance(1, "packages")
        lib = install(lock, wheel, scratch, platform)
        m.advance(1, "bytecode")
        compile_ahead(lib)
        m.advance(1, "tar")
        durable.make_folder(out)
        digest = hashlib.sha256()
        durable.replace(final, _hashed(_tree(top, version, platform, lib).tar(), digest))
        m.advance(1)
    return Kit(final, version, platform, final.stat().st_size, Digest.parse(f"sha256:{digest.hexdigest()}"))


def _project(folder: Path) -> tuple[str, Path]:
    lock = folder / "requirements" / "runtime.lock"
    try:
        project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
        name, version = project["name"], project["version"]
    except (OSError, ValueError, KeyError) as error:
        name, version = "", ""
        seen = str(error)
    else:
        seen = f"a project named {name}"
    if name != "dryport" or not lock.is_file():
        raise UsageError(
            "kit-project",
            "a kit is built from a checkout of dryport",
            where=str(folder.absolute()),
            expected="pyproject.toml of dryport, and requirements/runtime.lock beside it",
            seen=seen if name != "dryport" else "no requirements/runtime.lock",
            hint="name the checkout: dryport kit build --project DIR --out DIR",
        )
    return version, lock


def _tree(top: str, version: str, platform: str, lib: Path) -> Tree:
    tree = Tree(top)
    for name, program in launchers().items():
        tree.add(f"bin/{name}", program, executable=True)
    for name, source in files(lib):
        tree.add(f"lib/{name}", source)
    installed = packages(lib)
    tree.add("LICENSES", _licenses(installed))
    about = {
        "apiVersion": "dryport/v1",
        "kind": "Kit",
        "version": version,
        "platform": platform,
        "python": ".".join(map(str, PYTHON)),
        "compiledBy": machine.python_version(),
        "packages": [{"name": one.name, "version": one.version, "license": one.license} for one in installed],
    }
    tree.add("kit.json", strictjson.canonical(about))
    return tree


def _licenses(installed: list[Package]) -> bytes:
    lines = [_LICENSES]
    for one in installed:
        lines.append(f"{one.name} {one.version}: {one.license or 'see its source'}")
        lines.extend(f"    lib/{text}" for text in one.texts)
    return ("\n".join(lines) + "\n").encode()


def _hashed(blocks: Iterator[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for block in blocks:
        digest.update(block)
        yield block
