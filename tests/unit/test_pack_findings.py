"""The names of findings: one table, one page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from registry.packs.findings import PACK_RULES, RULES, Finding, worst_first

PAGE = (Path(__file__).parents[2] / "docs/packs.md").read_text()


def test_page_and_table_name_the_same_findings_with_the_same_severities() -> None:
    told = dict(re.findall(r"^\| `([a-z0-9-]+)` \| (error|warning|note) \|", PAGE, re.MULTILINE))
    assert told == {name: rule.severity for name, rule in PACK_RULES.items()}


@pytest.mark.parametrize("name", RULES)
def test_a_finding_says_what_to_do_in_one_line(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert RULES[name].act
    assert "\n" not in RULES[name].act


def test_findings_come_once_and_worst_first() -> None:
    latest, empty = Finding("image-latest", "b", "values.yaml", 3), Finding("image-entry-empty", "a", "values.yaml", 9)
    assert worst_first([latest, empty, latest]) == [empty, latest]


def test_a_finding_without_a_rule_cannot_be() -> None:
    with pytest.raises(ValueError, match="no rule"):
        Finding("made-up", "x")
