"""README and the list of pages are true: every page is listed, every link leads somewhere, every verb is named."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from installer.cli.main import cli

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "bundles").rglob("README.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_is_listed() -> None:
    listed = set(re.findall(r"\]\(([^)/]+)\)", (ROOT / "docs/README.md").read_text()))
    assert {path.name for path in (ROOT / "docs").iterdir() if path.is_file()} - {"README.md"} == listed


def test_readme_names_every_verb_and_no_other() -> None:
    named = set()
    for line in re.findall(r"^\| `dryport ([a-z, -]+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE):
        group, *verbs = line.replace(",", "").split()
        named |= {f"{group} {verb}" for verb in verbs} if group != "plan" else {group, *verbs}
    context = click.Context(cli)
    real = set()
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        real |= (
            {f"{name} {verb}" for verb in command.list_commands(context)}
            if isinstance(command, click.Group)
            else {name}
        )
    assert named == real


def test_readme_shows_what_make_offers() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = (ROOT / "README.md").read_text()
    assert set(re.findall(r"(?:`|    )make ([a-z-]+)", text)) <= targets
