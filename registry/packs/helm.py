"""Charts rendered by the Helm program, fenced in.

* Helm runs in a folder of its own with an environment of its own: no repositories, plug-ins, kubeconfig or proxies of
  the machine are seen, and DNS look-ups in templates are off, as they are by default. `template` asks no cluster.
* Time, memory, file size and output are bounded; what exceeds a bound is an error of that chart.
* A chart comes as bytes that `charts.py` has judged, values as JSON: no text of a pack reaches a command line but a
  release name and a namespace, each checked first.

>>> with Helm.ready(Path("/usr/bin/helm"), "v3.17.3") as helm:
...     helm.render(Job(chart, {"replicas": 2}, release="web", namespace="web"))
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from registry.errors import SiteError
from registry.packs.scalars import Value
from registry.store import durable

SECONDS = 60
MEMORY_BYTES = 4 << 30
"""Address space: Go reserves far more than it uses; the largest public pack needs 0.2 GiB."""
OUTPUT_BYTES = 64 << 20
_UNSAFE = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_RELEASE = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,51}[a-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_API = re.compile(r"[A-Za-z0-9][A-Za-z0-9./-]{0,200}")
_KUBE = re.compile(r"v?[0-9]{1,4}\.[0-9]{1,4}(?:\.[0-9]{1,6})?(?:[-+][0-9A-Za-z.+-]{1,60})?")


class RenderError(ValueError):
    """Helm refuses a chart; the words are Helm's, without paths of this machine."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be rendered: a chart's archive, or templates that make one up."""

    chart: bytes | Mapping[str, str]
    values: Value
    release: str
    namespace: str
    kube_version: str = ""
    api_versions: Sequence[str] = ()


class Helm:
    """A Helm program and the folder in which it runs. Safe for several threads."""

    def __init__(self, program: Path, version: str, folder: Path) -> None:
        self.program, self.version = program, version
        self._folder = folder
        home = folder / "home"
        home.mkdir()
        self._environment = {
            "HOME": str(home),
            "PATH": "/nonexistent",
            "LC_ALL": "C.UTF-8",
            "KUBECONFIG": str(home / "none"),
            "HELM_NO_PLUGINS": "1",
            "GOMAXPROCS": "2",
            "GOMEMLIMIT": f"{MEMORY_BYTES // 4}",
            **{
                f"HELM_{name}": str(home / name.lower())
                for name in [
                    "CACHE_HOME",
                    "CONFIG_HOME",
                    "DATA_HOME",
                    "PLUGINS",
                    "REGISTRY_CONFIG",
                    "REPOSITORY_CACHE",
                    "REPOSITORY_CONFIG",
                ]
            },
        }

    @classmethod
    @contextmanager
    def ready(cls, program: Path) -> Iterator[Helm]:
        """Give the program, after it told its version. Raises SiteError if it does not run."""
        with tempfile.TemporaryDirectory(prefix="dryport-helm-") as folder:
            helm = cls(program.absolute(), "", Path(folder))
            try:
                said = helm._run(["version", "--short"], Path(folder))
            except (RenderError, OSError) as error:
                raise SiteError(
                    "helm-unusable",
                    f"the Helm program does not run: {error}",
                    where=str(program),
                    hint="put another helm on the path, or take it off: then the static check is used",
                ) from error
            helm.version = said.strip().partition("+")[0]
            yield helm

    def render(self, job: Job) -> str:
        """Return the manifests of a chart, custom resource definitions included, tests left out. Raises RenderError."""
        if not _RELEASE.fullmatch(job.release) or not _NAMESPACE.fullmatch(job.namespace):
            raise RenderError(f"release {job.release[:60]!r} in namespace {job.namespace[:60]!r} cannot be")
        if job.kube_version and not _KUBE.fullmatch(job.kube_version):
            raise RenderError(f"Kubernetes {job.kube_version[:60]!r} is no version")
        if wrong := [api for api in job.api_versions if not _API.fullmatch(api)]:
            raise RenderError(f"{wrong[0][:60]!r} is no API")
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            folder = Path(name)
            chart = _lay(job.chart, folder)
            values = folder / "values.json"
            durable.scratch(values, as_json(job.values).encode())
            words = [
                "template",
                "--include-crds",
                "--skip-tests",
                "--namespace",
                job.namespace,
                "--values",
                str(values),
            ]
            words += ["--kube-version", job.kube_version] if job.kube_version else []
            words += [word for api in job.api_versions for word in ("--api-versions", api)]
            try:
                return self._run([*words, "--", job.release, str(chart)], folder)
            except RenderError as error:
                names = list(job.chart) if not isinstance(job.chart, bytes) else []
                raise RenderError(
                    re.sub(r"m/templates/([0-9]{1,5})\.yaml", lambda found: names[int(found[1])], str(error))
                    if names
                    else str(error)
                ) from error

    def _run(self, words: Sequence[str], folder: Path) -> str:
        command = [str(self.program), *words]
        out, err = bytearray(), bytearray()
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment,
            cwd=folder,
            start_new_session=True,
        ) as process:
            for limit, amount in ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_FSIZE, OUTPUT_BYTES)):
                with suppress(ProcessLookupError, PermissionError):
                    resource.prlimit(process.pid, limit, (amount, amount))
            assert process.stdout is not None  # noqa: S101 - pipes were asked for
            assert process.stderr is not None  # noqa: S101
            readers = [
                threading.Thread(target=_read, args=(stream.fileno(), whole, process))
                for stream, whole in ((process.stdout, out), (process.stderr, err))
            ]
            for reader in readers:
                reader.start()
            try:
                code = process.wait(SECONDS)
            except subprocess.TimeoutExpired as error:
                raise RenderError(f"not rendered within {SECONDS} s") from error
            finally:
                process.kill()
                for reader in readers:
                    reader.join()
        if len(out) > OUTPUT_BYTES or len(err) > OUTPUT_BYTES:
            raise RenderError(f"more than {OUTPUT_BYTES >> 20} MiB of output")
        if code:
            raise RenderError(_reason(err.decode("utf-8", "replace"), folder) or f"Helm ended with {code}")
        try:
            return out.decode()
        except UnicodeDecodeError as error:
            raise RenderError("the output is not UTF-8") from error


def as_json(value: Value) -> str:
    """Return a value as JSON that Helm's YAML reader takes for the same value."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _lay(chart: bytes | Mapping[str, str], folder: Path) -> Path:
    """Put a chart where Helm reads it; templates get a chart around them."""
    if isinstance(chart, bytes):
        durable.scratch(folder / "chart.tgz", chart)
        return folder / "chart.tgz"
    place = folder / "manifests"
    (place / "templates").mkdir(parents=True)
    durable.scratch(
        place / "Chart.yaml", yaml.safe_dump({"apiVersion": "v2", "name": "m", "version": "0.0.0"}).encode()
    )
    for number, text in enumerate(chart.values()):  # names are the pack's: they become numbers here
        durable.scratch(place / "templates" / f"{number}.yaml", text.encode())
    return place


def _read(handle: int, whole: bytearray, process: subprocess.Popen[bytes]) -> None:
    while block := os.read(handle, 1 << 16):
        whole += block
        if len(whole) > OUTPUT_BYTES:
            process.kill()
            return


def _reason(said: str, folder: Path) -> str:
    """Return what Helm said last, in one line, without this machine's paths."""
    lines = [line for line in said.strip().splitlines() if line and not line.startswith(("WARNING", "walk.go"))]
    start = next((number for number, line in enumerate(lines) if line.startswith("Error:")), 0)
    text = " ".join(line.strip() for line in lines[start:] if not line.startswith("Use --debug"))
    return text.removeprefix("Error: ").replace(f"{folder}/", "").replace(str(folder), "")[:1000]
