"""A private apt root: packages are chosen as a fresh host of the target release would, whatever this machine runs.

Own lists, own cache, own (empty) dpkg status, no preferences, no recommended packages, none of the machine's update
hooks; of the machine only the servers, their trust and the proxy are taken. Nothing here needs root. Indexes must be
signed (or their entry marked Trusted by the machine's owner), and only SHA256 counts as a hash.

>>> apt = PrivateApt.open(entries, PackageSet(("bookworm",), ("main",), "amd64"), scratch)
>>> [choice.name for choice in apt.choose(["openssl"])]
['libc6', 'libssl3', 'openssl']
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import unquote

from bundles.sources.apt import stanza
from bundles.sources.apt.entries import Entry, PackageSet
from bundles.sources.apt.location import public
from bundles.sources.apt.program import complaints, run
from registry.errors import DefinitionError, RemoteError
from registry.oci import strictjson
from registry.oci.digest import Digest
from registry.store import durable

_LINE = re.compile(
    r"'(?P<uri>[^']+)' (?P<file>[^ ]+)_(?P<version>[^ _]+)_(?P<arch>[a-z0-9]+)\.deb [0-9]+ (?P<hash>\S*)"
)
# `#clear` empties lists that the machine's own files filled; later lines then start afresh.
_CONFIGURATION = """\
#clear APT::Architectures;
#clear APT::Default-Release;
#clear APT::NeverAutoRemove;
#clear APT::Update;
#clear DPkg;
#clear Acquire::IndexTargets;
Acquire::IndexTargets::deb::Packages {{
  MetaKey "$(COMPONENT)/binary-$(ARCHITECTURE)/Packages";
  ShortDescription "Packages";
  Description "$(RELEASE)/$(COMPONENT) $(ARCHITECTURE) Packages";
  Optional "false";
}};
Acquire::ForceHash "SHA256";
Acquire::Languages "none";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Get::AllowUnauthenticated "false";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Dir::State "{root}/state";
Dir::State::lists "{root}/lists";
Dir::State::status "{root}/status";
Dir::Cache "{root}/cache";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{root}/sources";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
"""


@dataclass(frozen=True, slots=True, order=True)
class Choice:
    """A package that apt chose, and where it lies."""

    name: str
    version: str
    architecture: str
    uri: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class PrivateApt:
    """One private root, its lists up to date."""

    folder: Path
    entries: tuple[Entry, ...]
    wanted: PackageSet

    @classmethod
    def open(cls, entries: tuple[Entry, ...], wanted: PackageSet, scratch: Path) -> PrivateApt:
        """Make a root below `scratch` for `wanted`, or take the one made before, and bring its lists up to date.

        Raises RemoteError if a server does not give a trusted list.
        """
        texts = [entry.render(wanted.architecture) for entry in entries]
        label = Digest.of(strictjson.canonical([wanted.architecture, *texts])).hex[:16]
        apt = cls(scratch / f"apt-{label}", entries, wanted)
        for name in ("state", "lists/partial", "cache", "sources"):
            durable.make_folder(apt.folder / name)
        apt._write("sources/machine.sources", "".join(texts))
        apt._write("apt.conf", _CONFIGURATION.format(root=apt.folder.resolve(), architecture=wanted.architecture))
        done = run("apt-get", *apt._options, "-q", "update")
        if done.returncode:
            raise RemoteError(
                "apt-update-failed",
                "the package lists could not be fetched or are not signed as this machine's apt demands",
                where=", ".join(sorted({public(entry.uri) for entry in entries})),
                seen=complaints(done),
                hint="see whether this works: apt-get update",
            )
        return apt

    def of_first_suite(self, scratch: Path) -> PrivateApt:
        """Return a root that knows the first suite alone: the release as it came out, without later updates."""
        first = self.wanted.suites[:1]
        entries = tuple(replace(entry, suites=first) for entry in self.entries if first[0] in entry.suites)
        return PrivateApt.open(entries, replace(self.wanted, suites=first), scratch)

    def choose(self, packages: Sequence[str], *, status: str = "") -> tuple[Choice, ...]:
        """Return what `packages` need on a host with this dpkg status, sorted by name. Raises DefinitionError."""
        self._write("status", status)
        done = run("apt-get", *self._options, "-q", "-y", "--print-uris", "install", "--", *packages)
        if done.returncode:
            raise DefinitionError(
                "apt-unresolvable",
                f"apt finds no way to install {' '.join(packages)}",
                where=f"{' '.join(self.wanted.suites)} ({self.wanted.architecture})",
                seen=complaints(done),
                hint="mend the packages, suites or components of the definition's apt entry",
            )
        return tuple(sorted(_choice(line) for line in done.stdout.splitlines() if line.startswith("'")))

    def stanzas(self, choices: Sequence[Choice]) -> tuple[stanza.Stanza, ...]:
        """Return the package list's stanza for each choice, in the same order."""
        names = [f"{choice.name}={choice.version}" for choice in choices]
        done = run("apt-cache", *self._options, "show", "--", *names) if names else None
        found = {
            (fields.get("Package"), fields.get("Version"), fields.get("SHA256")): fields
            for fields in stanza.parse(done.stdout if done else "")
        }
        keys = [(choice.name, choice.version, choice.digest.hex) for choice in choices]
        if lost := [f"{name} {version}" for name, version, hexed in keys if (name, version, hexed) not in found]:
            raise DefinitionError(
                "apt-hash-weak",
                "packages that their list does not name by SHA256 are not carried",
                where=", ".join(lost),
                hint="take them from a repository whose lists hold SHA256",
            )
        return tuple(found[key] for key in keys)

    def newest_date(self) -> datetime:
        """Return the newest date that the servers' signed release files state."""
        dates = [
            parsedate_to_datetime(found[1])
            for path in sorted((self.folder / "lists").iterdir())
            if path.name.endswith(("_InRelease", "_Release"))
            and (found := re.search(r"^Date:\s*(.+)$", path.read_text(encoding="utf-8"), re.MULTILINE))
        ]
        if not dates:
            raise RemoteError(
                "apt-release-undated",
                "no release file states its date",
                where=str(self.folder / "lists"),
                hint="ask whoever runs the package server for a dated Release file",
            )
        return max(dates)

    @property
    def _options(self) -> tuple[str, str]:
        return "-c", str(self.folder / "apt.conf")

    def _write(self, name: str, text: str) -> None:
        path, data = self.folder / name, text.encode()
        if not path.exists() or path.read_bytes() != data:
            durable.replace(path, data)


def _choice(line: str) -> Choice:
    found = _LINE.fullmatch(line)
    if not found:
        raise RemoteError(
            "apt-answer-unknown",
            "apt answered in words dryport does not know",
            seen=line.rpartition("@")[2],
            hint="report it with the version of apt: apt-get --version",
        )
    algorithm, _, hexed = found["hash"].partition(":")
    name, version = unquote(found["file"]), unquote(found["version"])
    if algorithm != "SHA256":
        raise DefinitionError(
            "apt-hash-weak",
            "a package that its list does not name by SHA256 is not carried",
            where=f"{name} {version}",
            expected="SHA256",
            seen=algorithm or "no hash",
            hint="take it from a repository whose lists hold SHA256",
        )
    return Choice(name, version, found["arch"], found["uri"], Digest("sha256", hexed))
