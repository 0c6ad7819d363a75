"""The real packs in one table: how much is found in each, and what they declare against what they start.

    python -m tests.lab.packs_table

`used` and `undeclared` count images; `possible` are named by text, and neither used nor declared.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from registry.packs.findings import SEVERITIES
from registry.packs.lint.report import Report, lint
from registry.packs.reading import read_files
from tests.corpus import real_packs
from tests.pack_samples import ready

HEAD = ("pack", *(f"{severity}s" for severity in SEVERITIES), "declared", "used", "undeclared", "possible")


def counts(report: Report) -> Sequence[int]:
    """Return a row's numbers: findings by severity, and images."""
    images = report.inventory.images if report.inventory else []
    undeclared = {"image-undeclared", "image-host-differs"}
    return (
        *(report.count(severity) for severity in SEVERITIES),
        sum(one.declared for one in images),
        sum(one.used for one in images),
        sum(one.reference in undeclared for one in report.findings),
        sum(one.reference == "image-possible" for one in report.findings),
    )


def main() -> None:
    with ready() as helm:
        rows = [(pack.name, counts(lint(read_files(pack), helm))) for pack in real_packs()]
    total = [sum(column) for column in zip(*(numbers for _, numbers in rows), strict=True)]
    lines = [HEAD, *((name, *map(str, numbers)) for name, numbers in rows), (f"{len(rows)} packs", *map(str, total))]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for name, *numbers in lines:
        cells = (text.rjust(width) for text, width in zip(numbers, widths[1:], strict=True))
        sys.stdout.write(f"{name.ljust(widths[0])}  {'  '.join(cells)}\n")


if __name__ == "__main__":
    main()
