"""The kit's parts by themselves: tar, launcher, signature. The whole kit is in tests/interop/test_kit.py."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from securesystemslib.signer import CryptoSigner

from bundles.kit import build_kit, packages, sign_kit
from bundles.kit.launcher import PYTHON, launcher
from bundles.kit.tree import SUMS, Tree
from registry.errors import SiteError, UsageError
from registry.progress import Silent

ROOT = Path(__file__).parents[2]


def small_tree(folder: Path) -> bytes:
    folder.mkdir()
    (folder / "module.py").write_text("x = 1\n")
    tree = Tree("kit-1")
    tree.add("lib/module.py", folder / "module.py")
    tree.add("bin/run", b"#!/bin/sh\n", executable=True)
    tree.add("LICENSES", b"")
    return b"".join(tree.tar())


def test_a_tree_gives_the_same_bytes_under_any_umask_and_age(tmp_path: Path) -> None:
    first = small_tree(tmp_path / "one")
    before = os.umask(0o077)
    try:
        second = small_tree(tmp_path / "another folder")
    finally:
        os.umask(before)
    os.utime(tmp_path / "another folder" / "module.py", (0, 0))
    assert first == second


def test_a_tree_is_sorted_and_says_nothing_of_the_machine(tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(small_tree(tmp_path / "one"))) as tar:
        members = tar.getmembers()
    assert [member.name for member in members] == sorted(member.name for member in members)
    assert {(member.mtime, member.uid, member.gid, member.uname, member.gname) for member in members} == {
        (0, 0, 0, "", "")
    }
    modes = {member.name: member.mode for member in members}
    assert modes["kit-1/bin/run"] == modes["kit-1/lib"] == 0o755
    assert modes["kit-1/lib/module.py"] == modes[f"kit-1/{SUMS}"] == 0o644


def test_a_tree_names_the_checksum_of_every_other_file(tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(small_tree(tmp_path / "one"))) as tar:
        files = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]
    sums = files.pop(f"kit-1/{SUMS}").decode()
    assert sums == "".join(
        f"{hashlib.sha256(data).hexdigest()}  {name.removeprefix('kit-1/')}\n" for name, data in sorted(files.items())
    )


def test_two_files_of_one_name_are_a_mistake_of_ours() -> None:
    tree = Tree("kit-1")
    tree.add("a", b"")
    with pytest.raises(ValueError, match="two files"):
        tree.add("a", b"")


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    """A kit of one program, in a folder with spaces, that tells how it was started."""
    kit = tmp_path / "a kit"
    (kit / "bin").mkdir(parents=True)
    (kit / "lib" / "probe").mkdir(parents=True)
    (kit / "bin" / "probe").write_bytes(launcher("probe", "probe"))
    (kit / "bin" / "probe").chmod(0o755)
    (kit / "lib" / "probe" / "__init__.py").write_text(
        "import os, sys\n"
        "def main():\n"
        "    print(sys.argv, sys.path[0], os.environ['PATH'].split(':')[0], 'site' in sys.modules, sep='\\n')\n"
        "    return 4\n"
    )
    return kit


def path_with(folder: Path, python: str) -> str:
    """A PATH of the base tools and one `python3`."""
    folder.mkdir()
    (folder / "python3").write_text(python)
    (folder / "python3").chmod(0o755)
    for name in ("sh", "dirname", "readlink"):
        (folder / name).symlink_to(f"/usr/bin/{name}")
    return str(folder)


def started(program: Path, *arguments: str, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments], env={"PATH": path, "PYTHONPATH": "/nowhere"}, capture_output=True, text=True, check=False
    )


@pytest.fixture
def this_python(tmp_path: Path) -> Iterator[str]:
    if sys.version_info[:2] != PYTHON:
        pytest.skip("the launcher of a kit wants Python 3.11; these tests run on another one")
    return path_with(tmp_path / "base", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')


def test_a_launcher_finds_its_kit_through_links_and_spaces(kit: Path, tmp_path: Path, this_python: str) -> None:
    (tmp_path / "current").symlink_to(kit)
    (tmp_path / "probe").symlink_to("current/bin/probe")
    done = started(tmp_path / "probe", "an argument", "*", path=this_python)
    argv, first, path, *_ = done.stdout.splitlines()
    assert argv == str([str(kit / "bin/probe"), "an argument", "*"])
    assert (first, path) == (str(kit / "lib"), str(kit / "bin"))
    assert done.returncode == 4


def test_a_launcher_lets_nothing_in_that_the_machine_has_installed(kit: Path, this_python: str) -> None:
    assert started(kit / "bin/probe", path=this_python).stdout.splitlines()[-1] == "False"


def test_a_launcher_refuses_another_python_in_words(kit: Path, tmp_path: Path) -> None:
    # A Python that says it is 3.9: the launcher's own check runs, on whatever Python is here.
    claim = 'code="import sys; sys.version_info = (3, 9, 2)\n$4"'
    older = f'#!/bin/sh\n{claim}\nshift 4\nexec "{sys.executable}" -I -S -c "$code" "$@"\n'
    done = started(kit / "bin/probe", path=path_with(tmp_path / "base", older))
    assert done.returncode == SiteError.exit_code
    assert "this kit needs Python 3.11" in done.stderr
    assert "is 3.9" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_launcher_without_any_python_says_what_to_install(kit: Path, tmp_path: Path) -> None:
    path = path_with(tmp_path / "base", "")
    (tmp_path / "base" / "python3").unlink()
    done = started(kit / "bin/probe", path=path)
    assert done.returncode == SiteError.exit_code
    assert done.stderr == "probe: this kit needs Python 3.11 and there is no python3 on PATH; install python3.11\n"


def signer() -> tuple[ec.EllipticCurvePublicKey, CryptoSigner]:
    private = ec.generate_private_key(ec.SECP256R1())
    return private.public_key(), CryptoSigner(private)


def test_a_signature_vouches_for_every_byte_of_the_kit(tmp_path: Path) -> None:
    public, key = signer()
    kit = tmp_path / "k.tar"
    kit.write_bytes(b"kit" * 100_000)
    signature = sign_kit(kit, key)
    assert signature == tmp_path / "k.tar.sig"
    public.verify(signature.read_bytes(), kit.read_bytes(), ec.ECDSA(SHA256()))
    with pytest.raises(InvalidSignature):
        public.verify(signature.read_bytes(), kit.read_bytes()[:-1] + b"x", ec.ECDSA(SHA256()))


def test_signing_again_replaces_the_signature(tmp_path: Path) -> None:
    (tmp_path / "k.tar").write_bytes(b"kit")
    sign_kit(tmp_path / "k.tar", signer()[1])
    public, key = signer()
    signature = sign_kit(tmp_path / "k.tar", key)
    public.verify(signature.read_bytes(), b"kit", ec.ECDSA(SHA256()))


def test_a_kit_that_is_not_there_cannot_be_signed(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        sign_kit(tmp_path / "k.tar", signer()[1])
    assert caught.value.reference == "kit-unreadable"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("pyproject", "seen"),
    [(None, "No such file"), ('[project]\nname = "other"\nversion = "1"\n', "a project named other"), ("[", "(at")],
)
def test_a_folder_that_is_no_checkout_builds_nothing(pyproject: str | None, seen: str, tmp_path: Path) -> None:
    if pyproject is not None:
        (tmp_path / "pyproject.toml").write_text(pyproject)
    with pytest.raises(UsageError) as caught:
        build_kit(tmp_path, tmp_path / "out", Silent())
    assert caught.value.reference == "kit-project"
    assert seen in caught.value.seen
    assert not (tmp_path / "out").exists()


def test_an_unknown_platform_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        build_kit(ROOT, tmp_path / "out", Silent(), platform="linux/riscv64")
    assert caught.value.reference == "kit-platform"
    assert list(tmp_path.iterdir()) == []


def test_installed_files_keep_their_record_but_for_the_builders_programs(tmp_path: Path) -> None:
    info = tmp_path / "lib" / "thing-1.dist-info"
    info.mkdir(parents=True)
    (tmp_path / "lib" / "thing.py").write_text("")
    (tmp_path / "lib" / "bin").mkdir()
    (tmp_path / "lib" / "bin" / "thing").write_text(f"#!{sys.executable}\n")
    (info / "RECORD").write_text("thing.py,sha256=1,0\n../../bin/thing,sha256=2,9\nthing-1.dist-info/RECORD,,\n")
    found = dict(packages.files(tmp_path / "lib"))
    assert found == {
        "thing.py": tmp_path / "lib/thing.py",
        "thing-1.dist-info/RECORD": b"thing-1.dist-info/RECORD,,\nthing.py,sha256=1,0\n",
    }


def test_a_package_without_a_plain_licence_field_is_known_by_its_classifier(tmp_path: Path) -> None:
    info = tmp_path / "thing-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: thing\nVersion: 1\nLicense: UNKNOWN\n"
        "Classifier: License :: OSI Approved :: MIT License\n"
    )
    (info / "COPYING").write_text("")
    (info / "RECORD").write_text("thing-1.dist-info/COPYING,,\nthing-1.dist-info/METADATA,,\n")
    assert packages.packages(tmp_path) == [
        packages.Package("thing", "1", "MIT License", ("thing-1.dist-info/COPYING",))
    ]


def test_launchers_are_programs_that_any_posix_shell_reads() -> None:
    for name in ("dash", "bash"):
        done = subprocess.run(
            [name, "-n"], input=launcher("dryport", "installer.cli.main"), check=False, capture_output=True
        )
        assert (done.returncode, done.stderr) == (0, b"")
