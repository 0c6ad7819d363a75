"""The house rules that a machine can hold: arrows, cycles, one door to the disk, one reader of the environment."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "registry": {"registry"},
    "bundles": {"bundles", "registry"},
    "installer": {"installer", "bundles", "registry"},
}
FILES = sorted(path for package in ALLOWED for path in (ROOT / package).rglob("*.py"))
DURABLE = ROOT / "registry/store/durable.py"
WRITES = re.compile(
    r"""os\.(replace|rename|link|truncate)\(|\.rename\(|\.write_(text|bytes)\(|shutil\.(move|copy)"""
    r"""|open\([^)\n]*["'](w|a|x|r\+|rb\+|wb|ab|xb)["']"""
)
HARD_CODED_TRUST = re.compile(
    r"verify\s*=\s*False|CERT_NONE|check_hostname\s*=\s*False|AutoAddPolicy|WarningPolicy"
    r"|StrictHostKeyChecking=(no|accept-new)|insecure_skip|validate_certs:\s*(no|false)|host_key_checking\s*=\s*False"
)


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, *, at_import_time: bool = False) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    nodes = top_level(tree) if at_import_time else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def top_level(tree: ast.Module) -> Iterator[ast.AST]:
    for node in tree.body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_follow_the_arrows(package: str) -> None:
    ours = set(ALLOWED) | {"tests"}
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in FILES
        if path.is_relative_to(ROOT / package)
        for module in imports(path)
        if module.split(".")[0] in ours - ALLOWED[package]
    ]
    assert wrong == []


def test_no_module_imports_itself_through_others() -> None:
    modules = {name_of(path): path for path in FILES}
    graph = {
        name: {module for module in imports(path, at_import_time=True) if module in modules and module != name}
        for name, path in modules.items()
    }
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"import cycle: {' -> '.join((*way[way.index(name) :], name))}"
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*way, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


def test_only_the_durable_writer_writes_to_disk() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in FILES
        if path != DURABLE
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if WRITES.search(line)
    ]
    assert wrong == []


def test_only_the_command_line_reads_the_environment() -> None:
    wrong = [
        str(path.relative_to(ROOT))
        for path in FILES
        if not path.is_relative_to(ROOT / "installer/cli") and re.search(r"\bos\.(environ|getenv)\b", path.read_text())
    ]
    assert wrong == []


def test_nothing_switches_verification_off() -> None:
    content = [*FILES, *(path for path in (ROOT / "playbooks").rglob("*") if path.is_file())]
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in content
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if HARD_CODED_TRUST.search(line)
    ]
    assert wrong == []


def test_no_file_outgrows_a_readers_head() -> None:
    limit = 400
    sizes = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in FILES}
    assert {str(path): lines for path, lines in sizes.items() if lines > limit} == {}


def test_no_catch_all_names() -> None:
    vague = {"utils", "helpers", "common", "manager", "misc", "util"}
    assert [str(path.relative_to(ROOT)) for path in FILES if path.stem in vague or path.parent.name in vague] == []
