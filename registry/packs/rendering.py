"""Everything that a pack would put on a cluster, rendered: with its values, and with each preset alone.

Macros get placeholders that can be recognised in an image's name: `macro-0.invalid`.

>>> with Helm.ready(program) as helm:
...     for made in rendered(content, helm, Placeholders(), Offered(("1.33.4",))):
...         print(made.file, made.preset, len(made.text))
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from registry.packs.content import PackContent
from registry.packs.helm import Helm, Job, RenderError
from registry.packs.macros import Context, MacroError
from registry.packs.scalars import Value, plain
from registry.packs.tree import Unquoted

THREADS = 2
MOST_RENDERINGS = 2_000
KUBE_VERSION = "1.33.0"
"""The Kubernetes for which charts are rendered when none is named."""
_PLACEHOLDER = re.compile(r"macro-([0-9]{1,6})\.invalid")


@dataclass(frozen=True, slots=True)
class Offered:
    """What clusters offer: charts ask for it, and start other images on others."""

    kube_versions: tuple[str, ...] = ()
    apis: tuple[str, ...] = ()
    """As `monitoring.coreos.com/v1` or `monitoring.coreos.com/v1/ServiceMonitor`."""

    @property
    def versions(self) -> tuple[str, ...]:
        """The Kubernetes versions to render for, at least one."""
        return self.kube_versions or (KUBE_VERSION,)


@dataclass(frozen=True, slots=True)
class Made:
    """What became of one chart or manifest: its manifests, or why there are none."""

    file: str
    name: str
    preset: str = ""
    """`Group:name`; empty for the pack's own values."""
    kube_version: str = ""
    text: str = ""
    fault: str = ""


@dataclass
class Placeholders:
    """Texts that stand for macros while nobody has given their values, and can be found again."""

    names: list[str] = field(default_factory=list)

    def stand_in(self, name: str) -> str:
        """Return the text that stands for a macro."""
        if name not in self.names:
            self.names.append(name)
        return f"macro-{self.names.index(name)}.invalid"

    def told(self, text: str) -> str:
        """Return a text with the macros themselves in the place of what stands for them."""

        def name(found: re.Match[str]) -> str:
            number = int(found[1])
            return f"{{{{.{self.names[number]}}}}}" if number < len(self.names) else found[0]

        return _PLACEHOLDER.sub(name, text)

    def behind(self, text: str) -> Sequence[str]:
        """Return the macros whose placeholders are in a text."""
        numbers = dict.fromkeys(int(found[1]) for found in _PLACEHOLDER.finditer(text))
        return [self.names[number] for number in numbers if number < len(self.names)]


def with_macros(value: Value, context: Context) -> Value:
    """Return values with all macros resolved; what an unquoted scalar is shows afterwards. Raises MacroError."""
    if isinstance(value, dict):
        return {key: with_macros(item, context) for key, item in value.items()}
    if isinstance(value, list):
        return [with_macros(item, context) for item in value]
    if not isinstance(value, str) or "{{" not in value:
        return value
    resolved = context.resolve(value)
    try:
        return plain(resolved) if isinstance(value, Unquoted) and resolved != value else resolved
    except ValueError as error:
        raise MacroError(str(error)) from error


def jobs(
    content: PackContent, values: Value, kube_version: str, apis: Sequence[str] = ()
) -> Iterator[tuple[str, str, Job]]:
    """Yield file, name and job of each chart and manifest, for values whose macros are resolved."""
    namespace = content.namespace_in(values)
    for chart in content.charts:
        if chart.chart is not None:
            release = content.release_in(values, chart)
            yield (
                chart.path,
                chart.name,
                Job(chart.data, chart.values_in(values), release, namespace, kube_version, apis),
            )
    for one in content.manifests:
        yield (
            one.path,
            one.key,
            Job({one.path: one.text}, one.values_in(values), "manifests", namespace, kube_version, apis),
        )


def rendered(content: PackContent, helm: Helm, placeholders: Placeholders, offered: Offered) -> list[Made]:
    """Return what every chart and manifest becomes, for each preset and Kubernetes version, in this order."""
    work: list[tuple[str, str, str, Job]] = []
    made: list[Made] = []
    for kube in offered.versions:
        context = Context({"spectro.system.kubernetes.version": kube}.get, placeholders.stand_in)
        for title, values in variants(content):
            try:
                resolved = with_macros(values, context)
            except MacroError as error:
                made.append(Made("values.yaml", "", title, kube, fault=str(error)))
                continue
            work += [(file, name, title, job) for file, name, job in jobs(content, resolved, kube, offered.apis)]
    if len(work) > MOST_RENDERINGS:
        text = f"{len(work)} renderings of charts, presets and versions; at most {MOST_RENDERINGS} are made"
        made.append(Made("pack.json", "", fault=text))
        del work[MOST_RENDERINGS:]
    with ThreadPoolExecutor(THREADS) as pool:
        return [*made, *pool.map(lambda one: _made(helm, *one), work)]


def variants(content: PackContent) -> Iterator[tuple[str, Value]]:
    """Yield the pack's values, then those with each preset applied, each with its title."""
    yield "", content.values
    for preset in content.presets:
        yield preset.title, preset.apply(content.values)


def _made(helm: Helm, file: str, name: str, title: str, job: Job) -> Made:
    try:
        return Made(file, name, title, job.kube_version, helm.render(job))
    except RenderError as error:
        return Made(file, name, title, job.kube_version, fault=str(error))
