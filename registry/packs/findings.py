"""What can be odd about a pack or a profile: stable names, how much each matters, and what to do.

The table is the only place where a name is made. `docs/packs.md` and `docs/profiles.md` say when each is reported, and
a test holds page and table together.

>>> Finding("image-latest", "web:latest means another image every day", "values.yaml", 12).severity
'warning'
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from registry.errors import DefinitionError

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Rule:
    """How much a kind of finding matters, and the next thing to do."""

    severity: Severity
    act: str


PACK_RULES: Mapping[str, Rule] = {
    # pack.json
    "pack-json-invalid": Rule("error", "make pack.json one JSON object in UTF-8, each key once"),
    "field-missing": Rule("error", "add the field to pack.json"),
    "field-invalid": Rule("error", "give the field a value that its reader takes"),
    "field-unknown": Rule("note", "remove the key, or spell it as the format does"),
    "annotation-not-text": Rule("warning", "put the annotation's value in quotes"),
    "addon-type-missing": Rule("error", "add addonType, for example 'system app'"),
    "cloud-types-missing": Rule("warning", "add cloudTypes, for example ['all']"),
    "cloud-type-unknown": Rule("warning", "spell the cloud type as the format does"),
    "version-not-semver": Rule("warning", "write the version as major.minor.patch, without v and leading zeros"),
    "eol-invalid": Rule("warning", "write eol as YYYY-MM-DD"),
    "pack-end-of-life": Rule("warning", "plan for a newer version"),
    "pack-deprecated": Rule("warning", "use a newer version"),
    "pack-deleted": Rule("error", "use a version that its author still offers"),
    "pack-disabled": Rule("warning", "ask the author why it is switched off"),
    "airgap-unsupported": Rule("warning", "test the pack without internet before it is shipped"),
    # files
    "folder-name-differs": Rule("note", "rename the folder, or leave it: pack.json counts"),
    "logo-missing": Rule("warning", "add logo.png"),
    "readme-missing": Rule("note", "add README.md"),
    "listed-file-missing": Rule("error", "add the file, or take it off the list in pack.json"),
    "listed-path-unsafe": Rule("error", "list a relative path inside the pack"),
    "listed-twice": Rule("warning", "list the file once"),
    "file-not-listed": Rule("note", "list the file in pack.json, or remove it"),
    "chart-copy-ignored": Rule("note", "remove the unpacked copy: the listed archive counts"),
    "nothing-to-install": Rule("warning", "list charts or kubeManifests"),
    # constraints
    "dependency-incomplete": Rule("error", "give packName and layer"),
    "dependency-without-type": Rule("warning", "say required, optional (as it is read), notSupported or upgrade"),
    "dependency-type-unknown": Rule("error", "say required, optional, notSupported or upgrade"),
    "dependency-on-itself": Rule("error", "remove it, or say upgrade"),
    "upgrade-from-another": Rule("note", "make sure that the other name is this pack's older one"),
    "bound-padded": Rule("note", "write the bound as major.minor.patch"),
    "bound-invalid": Rule("error", "write the bound as major.minor.patch"),
    "bounds-crossed": Rule("error", "make minVersion not greater than maxVersion"),
    "resource-invalid": Rule("error", "say cpu, memory or diskSize, and a minLimit or components"),
    "resource-path-unknown": Rule("warning", "name a path that is in values.yaml"),
    # values.yaml
    "values-missing": Rule("error", "add values.yaml; it may be empty"),
    "values-invalid": Rule("error", "mend the YAML: one document, at most 100 deep, 8 MiB large"),
    "values-key-twice": Rule("error", "keep one of the two: readers take the last, or stop"),
    "namespace-missing": Rule("note", "set pack.namespace; it goes to the namespace default"),
    "namespace-invalid": Rule("error", "name it with lower-case letters, digits and hyphens, at most 63"),
    "namespace-labels-form": Rule("error", "write one text per namespace: 'key=value,key=value'"),
    "namespace-annotations-form": Rule("error", "write one text per namespace: 'key=value,key=value'"),
    "namespace-label-invalid": Rule("error", "write labels as key=value in Kubernetes' grammar"),
    "namespace-labels-elsewhere": Rule("warning", "name the pack's namespace, or add it to additionalNamespaces"),
    "additional-namespaces-form": Rule("error", "write a text with commas, or a map"),
    "release-name-invalid": Rule("error", "name it with lower-case letters, digits and hyphens, at most 53"),
    "release-name-unknown": Rule("warning", "name a chart that the pack holds"),
    "install-priority-invalid": Rule("error", "give a whole number in quotes; lower comes first"),
    "readiness-check-form": Rule("error", "give name, kind, version and keysToCheck"),
    # charts and manifests
    "chart-unreadable": Rule("error", "package the chart again: one .tgz, no links, within the limits"),
    "chart-invalid": Rule("error", "give Chart.yaml a name and a version"),
    "chart-version-differs": Rule("note", "nothing, if the pack counts its own versions"),
    "chart-deprecated": Rule("warning", "look for the chart's successor"),
    "chart-dependency-missing": Rule("error", "put the chart that it depends on into its charts/"),
    "chart-key-unmatched": Rule("warning", "use the name in Chart.yaml as key under charts"),
    "chart-key-by-file": Rule("note", "use the name in Chart.yaml as key under charts"),
    "chart-values-flat": Rule("warning", "put the values below the name in Chart.yaml"),
    "chart-values-missing": Rule("note", "add the chart's values, if its own defaults are not meant"),
    "manifest-key-unmatched": Rule("warning", "use the manifest's file name without extension as key under manifests"),
    "render-failed": Rule("error", "mend chart or values until Helm renders it"),
    # images
    "images-not-declared": Rule("warning", "list every image under pack.content.images"),
    "images-not-pinned": Rule("note", "add digests: name:tag@sha256:..."),
    "image-entry-form": Rule("error", "write the entry as {image: name:tag}"),
    "image-entry-empty": Rule("error", "name an image, or remove the entry"),
    "image-key-misspelt": Rule("error", "write image"),
    "image-invalid": Rule("error", "write host/path:tag"),
    "image-without-tag": Rule("error", "add a tag or a digest"),
    "image-latest": Rule("warning", "name a version"),
    "image-twice": Rule("note", "list it once"),
    "image-host-implicit": Rule("note", "write the host: docker.io/..."),
    "image-undeclared": Rule("error", "list it under pack.content.images"),
    "image-host-differs": Rule("error", "declare the image under the host that is really asked"),
    "image-possible": Rule("warning", "list it under pack.content.images, if it is ever started"),
    "image-annotated": Rule("note", "list it under pack.content.images, if it is ever started"),
    "image-unused": Rule("note", "remove it, unless an operator starts it later"),
    "image-by-macro": Rule("warning", "carry the images that the macro may name: the inventory cannot know them"),
    "image-pull-always": Rule("note", "prefer IfNotPresent: a node then starts it while the registry is away"),
    "images-static": Rule("note", "put helm on the path for a complete inventory"),
    "egress-possible": Rule("note", "make sure that it is not asked, or can be reached, on an isolated site"),
    # schema.yaml
    "schema-invalid": Rule("error", "write schema.yaml as map of path to {schema: '{{ ... }}'}"),
    "schema-path-invalid": Rule("error", "write the path with single dots, and $[] for the items of a list"),
    "schema-template-invalid": Rule("error", 'use required, readonly, format "..." and hints "...", split by |'),
    "schema-type-unknown": Rule("warning", "use string, number, boolean, password, list, ipv4 or version"),
    "schema-pattern-invalid": Rule("error", "write the pattern in RE2's syntax: no look-around, no backreference"),
    "schema-range-invalid": Rule("error", "write number:[low-high]"),
    "schema-path-unknown": Rule("warning", "name a path that is in values.yaml or in a preset"),
    "value-refused": Rule("error", "change the value, or the format in schema.yaml"),
    "value-to-fill": Rule("note", "nothing: whoever uses the pack has to give this value"),
    # presets.yaml
    "presets-invalid": Rule("error", "write a list of {name, displayName, group, remove, add} under presets"),
    "preset-name-twice": Rule("error", "give each preset a name of its own"),
    "preset-group-missing": Rule("warning", "give the preset a group"),
    "preset-add-invalid": Rule("error", "write add as the text of a YAML map"),
    "preset-remove-unknown": Rule("note", "name a path that is in values.yaml or in a preset"),
    "preset-line-invalid": Rule("warning", "write '# spectrocloud.com/enabled-presets: Group:preset,Group:preset'"),
    "preset-enabled-unknown": Rule("warning", "name presets that presets.yaml holds"),
    "preset-group-twice": Rule("error", "enable one preset of a group"),
    "preset-not-applied": Rule("warning", "apply the preset to values.yaml, or do not call it enabled"),
    # macros
    "macro-invalid": Rule("error", "mend the expression between {{ and }}"),
    "macro-function-unknown": Rule("error", "use a function of the list in docs/packs.md"),
    "macro-unknown": Rule("warning", "use a macro of the list in docs/packs.md; an unknown one becomes empty"),
}  # fmt: skip

PROFILE_RULES: Mapping[str, Rule] = {
    # packs and layers
    "pack-not-found": Rule("error", "put the pack into one of the places, or name another version"),
    "pack-unusable": Rule("error", "see what is wrong: dryport pack lint"),
    "pack-digest-differs": Rule("error", "take the pack that was meant, or pin the new one"),
    "pack-twice": Rule("error", "list the pack once"),
    "layer-twice": Rule("error", "keep one pack of this layer"),
    "layer-missing": Rule("error", "add a pack of this layer, or call the profile add-on"),
    "layer-not-allowed": Rule("error", "move the pack to a profile of the other type, or call this one full"),
    "cloud-not-supported": Rule("error", "use a pack for this cloud"),
    "preset-unknown": Rule("error", "name a preset of the pack, as Group:preset"),
    # dependencies
    "dependency-missing": Rule("error", "add the pack, or make the change that is proposed"),
    "dependency-version": Rule("error", "change one of the two versions, or make the change that is proposed"),
    "dependency-refused": Rule("error", "change one of the two versions, or make the change that is proposed"),
    "upgrade-refused": Rule("error", "go over a version between the two"),
    "kubernetes-advisory": Rule("warning", "use another Kubernetes, or test the pack on this one"),
    "version-not-compared": Rule("warning", "compare by hand: the version is no version"),
    "order-before-required": Rule("warning", "give what is required the lower install-priority"),
    # resources
    "resources-short": Rule("error", "make the pools larger, or leave packs out"),
    "resources-unchecked": Rule("note", "describe the pools under cluster"),
    "resources-unreadable": Rule("warning", "give the value as a Kubernetes quantity"),
    # variables, values, macros
    "variable-missing": Rule("error", "give it in the file of --variables, or a default"),
    "variable-refused": Rule("error", "give a value that fits"),
    "variable-unknown": Rule("error", "declare it in the profile, or leave it out"),
    "variable-undeclared": Rule("error", "declare it under variables"),
    "variable-read-only": Rule("error", "leave it out: the profile decides it"),
    "variable-unused": Rule("note", "remove it"),
    "value-missing": Rule("error", "give the value in the profile"),
    "value-read-only": Rule("error", "leave the value as the pack has it"),
    "macro-unresolved": Rule("warning", "give its value under cluster; an unknown one becomes empty"),
    "macro-cycle": Rule("error", "let one of the packs name the value itself"),
    # rendering
    "render-unstable": Rule("warning", "give the values that it makes by chance, or render with --mark-generated"),
}  # fmt: skip

RULES: Mapping[str, Rule] = {**PACK_RULES, **PROFILE_RULES}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found: its name, the words, and where; line 0 says that the whole file is meant."""

    reference: str
    text: str
    file: str = ""
    line: int = 0

    def __post_init__(self) -> None:
        if self.reference not in RULES:
            raise ValueError(f"no rule is named {self.reference!r}")

    @property
    def severity(self) -> Severity:
        """How much it matters."""
        return RULES[self.reference].severity

    @property
    def act(self) -> str:
        """What to do."""
        return RULES[self.reference].act

    @property
    def where(self) -> str:
        """`file:line`, as far as known."""
        return f"{self.file}:{self.line}" if self.line else self.file

    def as_json(self) -> dict[str, Any]:
        """Return the finding as documented for `--json`."""
        place = {"file": self.file, "line": self.line}
        return {
            "reference": self.reference,
            "severity": self.severity,
            "text": self.text,
            **{key: value for key, value in place.items() if value},
            "do": self.act,
        }

    def as_error(self) -> DefinitionError:
        """Return the finding as part of an error."""
        return DefinitionError(self.reference, self.text, where=self.where, hint=self.act)


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings, each once: errors, warnings, notes; then by file, line and name."""
    return sorted(
        set(findings), key=lambda one: (SEVERITIES.index(one.severity), one.file, one.line, one.reference, one.text)
    )
