"""The machine's own package sources, read where its apt reads them: which server is asked is never in a definition.

Both forms are read (`*.sources` and one-line `*.list`), switched-off entries are left out, and what makes an entry
trusted (Signed-By and its kin) stays with it. Which folders they lie in is asked from `apt-config`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bundles.sources.apt import stanza
from bundles.sources.apt.program import setting
from registry.errors import DefinitionError, SiteError

_ONE_LINE = re.compile(r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>[^#]+)")
_KEPT = {
    name.lower(): name
    for name in (
        "Signed-By",
        "Trusted",
        "By-Hash",
        "Check-Date",
        "Check-Valid-Until",
        "Date-Max-Future",
        "Valid-Until-Max",
        "Valid-Until-Min",
    )
}


@dataclass(frozen=True, slots=True)
class PackageSet:
    """The packages a closure is chosen from, as a definition and a lock name them: no server."""

    suites: tuple[str, ...]
    components: tuple[str, ...]
    architecture: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One server's packages: where, which suites and components, and how they are trusted."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    architectures: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)

    def render(self, architecture: str) -> str:
        """Return the entry as a deb822 stanza."""
        fields = {
            "Types": "deb",
            "URIs": self.uri,
            "Suites": " ".join(self.suites),
            "Components": " ".join(self.components),
            "Architectures": architecture,
            **self.options,
        }
        return stanza.render(fields)


def machine_entries() -> tuple[Entry, ...]:
    """Return what this machine's apt is configured to ask, in apt's order. Raises SiteError."""
    return tuple(entry for path in _files() for entry in _read(path))


def narrowed(entries: Iterable[Entry], wanted: PackageSet) -> tuple[Entry, ...]:
    """Return the entries cut down to `wanted`. Raises DefinitionError if nobody offers a suite or component of it."""
    known = tuple(entries)
    kept = []
    for entry in known:
        suites = tuple(suite for suite in wanted.suites if suite in entry.suites)
        components = tuple(name for name in wanted.components if name in entry.components)
        if suites and components and wanted.architecture in (entry.architectures or (wanted.architecture,)):
            uri = entry.uri.replace("$(ARCH)", wanted.architecture)
            kept.append(replace(entry, uri=uri, suites=suites, components=components))
    for what, names, offered in (
        ("suite", wanted.suites, {suite for entry in kept for suite in entry.suites}),
        ("component", wanted.components, {name for entry in kept for name in entry.components}),
    ):
        if missing := [name for name in names if name not in offered]:
            raise DefinitionError(
                f"apt-{what}-unknown",
                f"this machine's apt has no source for {what} {', '.join(missing)} ({wanted.architecture})",
                expected=f"an entry in /etc/apt/sources.list.d with {what} {', '.join(missing)}",
                seen=", ".join(sorted({suite for entry in known for suite in entry.suites})) or "no entry at all",
                hint="add the entry (dryport reads it, apt itself need not use it otherwise), or mend the definition",
            )
    return tuple(kept)


def _files() -> Iterator[Path]:
    single, parts = setting("Dir::Etc::sourcelist/f"), setting("Dir::Etc::sourceparts/d")
    if single and Path(single).is_file():
        yield Path(single)
    if parts and Path(parts).is_dir():
        # apt's own rule: other endings (.save, .disabled) are not read; names in byte order.
        yield from sorted(path for path in Path(parts).iterdir() if path.suffix in {".list", ".sources"})


def _read(path: Path) -> Iterator[Entry]:
    try:
        text = path.read_text(encoding="utf-8")
        yield from _stanzas(text) if path.suffix == ".sources" else _lines(text)
    except (OSError, ValueError) as error:
        raise SiteError(
            "apt-sources-unreadable", str(error), where=str(path), hint="mend it; then: apt-get update"
        ) from (error)


def _stanzas(text: str) -> Iterator[Entry]:
    for fields in stanza.parse(text):
        lower = {name.lower(): value for name, value in fields.items()}
        if "deb" not in lower.get("types", "").split() or lower.get("enabled", "yes").lower() in {"no", "false", "0"}:
            continue
        options = {_KEPT[name]: value for name, value in lower.items() if name in _KEPT}
        suites, components, architectures = (
            tuple(lower.get(name, "").split()) for name in ("suites", "components", "architectures")
        )
        for uri in lower.get("uris", "").split():
            yield Entry(uri, suites, components, architectures, options)


def _lines(text: str) -> Iterator[Entry]:
    for line in text.splitlines():
        if found := _ONE_LINE.match(line.strip()):
            pairs = [option.partition("=") for option in (found["options"] or "").split()]
            options = {_KEPT[name.lower()]: value for name, _, value in pairs if name.lower() in _KEPT}
            architectures = next((value for name, _, value in pairs if name.lower() == "arch"), "")
            yield Entry(
                found["uri"],
                (found["suite"],),
                tuple(found["components"].split()),
                tuple(architectures.split(",")) if architectures else (),
                options,
            )
