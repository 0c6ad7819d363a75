"""The final manifests of a profile, the same bytes each time.

Packs follow each other in the order of their installation; each begins with its namespaces, and then comes what Helm
makes of its charts and manifests. Everything is rendered twice: a chart that makes passwords or certificates by chance
shows, and what differs is named. Such a value is never passed off as final: it is refused, or marked.

>>> made = rendered(composed, steps, helm)
>>> sys.stdout.write(made.text)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from registry.packs import manifests
from registry.packs.content import DEFAULT_NAMESPACE
from registry.packs.findings import Finding
from registry.packs.helm import Helm, Job, RenderError
from registry.packs.lint.values import pairs
from registry.packs.references import Image
from registry.packs.rendering import KUBE_VERSION, THREADS, jobs
from registry.packs.scalars import Value, dumped
from registry.packs.tree import Tree
from registry.profiles.composing import Composed, Part, place
from registry.profiles.order import Step

MARK = "(generated)"
"""What stands for a value that a chart makes by chance."""
_SYSTEM = frozenset({DEFAULT_NAMESPACE, "kube-system", "kube-public", "kube-node-lease"})


@dataclass
class Rendered:
    """Manifests, the images they start, and what is wrong with them."""

    text: str = ""
    images: Sequence[str] = ()
    findings: list[Finding] = field(default_factory=list)
    generated: list[str] = field(default_factory=list)
    """`pack: Kind/name: path` of what a chart makes by chance."""


def rendered(composed: Composed, steps: Sequence[Step], helm: Helm, *, mark: bool = False) -> Rendered:
    """Return the manifests of a profile; with `mark`, what is made by chance is replaced by a mark."""
    made = Rendered()
    kube = composed.kubernetes or KUBE_VERSION
    images: set[str] = set()
    with ThreadPoolExecutor(THREADS) as pool:
        for step in steps:
            part = step.part
            work = list(jobs(part.content, part.values, kube, composed.profile.cluster.apis))
            both = list(pool.map(lambda one: _twice(helm, one[2]), work))
            blocks = [_head(part), *_namespaces(step)]
            for (file, _, _), outcome in zip(work, both, strict=True):
                if isinstance(outcome, str):
                    text = f"{part.entry.pack}: {file}: {outcome}"
                    made.findings.append(Finding("render-failed", text, place(part.number)))
                    continue
                blocks.append(_stable(part, file, *outcome, made, mark=mark))
                images |= set(_images(outcome[0]))
            made.text += "".join(blocks)
    made.images = sorted(images)
    return made


def _twice(helm: Helm, job: Job) -> tuple[str, str] | str:
    """Return two renderings of the same, or why there is none."""
    try:
        return helm.render(job), helm.render(job)
    except RenderError as error:
        return str(error)


def _head(part: Part) -> str:
    return f"# pack {part.title}\n"


def _namespaces(step: Step) -> Iterator[str]:
    """Yield the namespaces that the pack brings, with their labels and annotations."""
    section = step.part.values.get("pack")
    section = section if isinstance(section, dict) else {}
    for name in dict.fromkeys((step.namespace, *step.namespaces)):
        labels = _pairs(section.get("namespaceLabels"), name)
        annotations = _pairs(section.get("namespaceAnnotations"), name)
        if name in _SYSTEM and not labels and not annotations:
            continue
        metadata: dict[str, Any] = {"name": name}
        metadata |= {key: value for key, value in (("labels", labels), ("annotations", annotations)) if value}
        yield f"---\n{dumped({'apiVersion': 'v1', 'kind': 'Namespace', 'metadata': metadata})}"


def _pairs(value: Value, namespace: str) -> dict[str, str]:
    text = value.get(namespace) if isinstance(value, dict) else None
    return {key: word for key, _, word in pairs(text)} if isinstance(text, str) else {}


def _stable(part: Part, file: str, first: str, second: str, made: Rendered, *, mark: bool) -> str:
    """Return a rendering whose two runs agree; name, and on demand mark, what does not."""
    if first == second:
        return _closed(first)
    ones, others = (manifests.documents(text) for text in (first, second))
    where = f"{part.entry.pack}: {file}"
    if len(ones) != len(others):
        made.generated.append(f"{where}: another number of objects each time")
        made.findings.append(Finding("render-failed", made.generated[-1], place(part.number)))
        return _closed(first)
    blocks: list[str] = []
    names: list[str] = []
    for one, other in zip(ones, others, strict=True):
        left, right = (Tree.parse(text.encode()).value() for text in (one, other)) if one != other else ({}, {})
        paths = list(_differences(left, right, ()))
        title = f"{left.get('kind', '')}/{(left.get('metadata') or {}).get('name', '')}"
        names += [f"{title}: {'.'.join(path)}" for path in paths]
        blocks.append(f"---\n{dumped(_marked(left, paths)) if paths and mark else one}")
    made.generated += [f"{where}: {name}" for name in names]
    shown = "; ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")  # noqa: PLR2004
    made.findings.append(Finding("render-unstable", f"{where}: {shown}", place(part.number)))
    return _closed("".join(blocks))


def _differences(left: Value, right: Value, above: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(left, dict) and isinstance(right, dict):
        for key in dict.fromkeys((*left, *right)):
            if key not in left or key not in right:
                yield (*above, key)
            else:
                yield from _differences(left[key], right[key], (*above, key))
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for number, (one, other) in enumerate(zip(left, right, strict=True)):
            yield from _differences(one, other, (*above, str(number)))
    elif left != right or type(left) is not type(right):
        yield above


def _marked(value: Value, paths: Sequence[tuple[str, ...]]) -> Value:
    """Return a value in which the places of `paths` hold the mark."""
    if () in paths:
        return MARK
    below: dict[str, list[tuple[str, ...]]] = {}
    for path in paths:
        below.setdefault(path[0], []).append(path[1:])
    if isinstance(value, dict):
        kept = {key: _marked(item, below[key]) if key in below else item for key, item in value.items()}
        return {**kept, **{key: MARK for key in below if key not in value}}
    if isinstance(value, list):
        return [_marked(item, below.get(str(number), [])) for number, item in enumerate(value)]
    return value


def _images(text: str) -> Iterator[str]:
    try:
        documents = manifests.parse(text)
    except ValueError:
        return
    for named in manifests.found(documents):
        if named.is_used:
            try:
                yield Image.parse(named.text).spelled
            except ValueError:
                continue


def _closed(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"
