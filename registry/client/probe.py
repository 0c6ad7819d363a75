"""What a registry can do, found out by doing it on a scratch repository, before anything is sent in earnest.

Every step is harmless, small, and cleaned up; where the registry deletes nothing, the evidence says what is left. The
content is random, so that no step finds what another probe left behind.

>>> probe(transport, "team/dryport-probe", now).can("sparse-indexes")
False
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from registry.client import probe_content, probe_uploads
from registry.client.answer import Again
from registry.client.capabilities import NAMES, Capabilities
from registry.client.transport import Transport
from registry.client.trial import Trial, is_good, words
from registry.errors import DryportError, RemoteError
from registry.oci.reference import repository_name

STEPS: tuple[Callable[[Trial], None], ...] = (
    probe_uploads.uploads_begin,
    probe_uploads.whole_blobs,
    probe_uploads.chunks,
    probe_uploads.broken_requests,
    probe_uploads.mounts,
    probe_content.parts,
    probe_content.other_digests,
    probe_content.images,
    probe_content.indexes,
    probe_content.docker_types,
    probe_content.artifacts,
    probe_content.tags,
    probe_content.deletes,
)


def probe(transport: Transport, repository: str, now: datetime) -> Capabilities:
    """Return what the registry can do for repositories like this one.

    Raises RemoteError if it does not answer or lets nobody in; that it refuses a single thing is a finding.
    """
    repository_name(f"{repository}-source")
    trial = Trial(transport, repository)
    _run(trial)
    date = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    found = {name: trial.found[name] for name in NAMES if name in trial.found}
    return Capabilities(transport.origin, repository, date, found)


def _run(trial: Trial) -> None:
    reply = trial.ask("GET", "/v2/")
    if not is_good(reply):
        denied = reply.status in {401, 403}
        raise RemoteError(
            "registry-denied" if denied else "not-a-registry",
            "the registry lets nobody in" if denied else "this is no registry",
            where=reply.url,
            expected="200",
            seen=words(reply),
            hint="check user and password" if denied else "check the address, which may need a port",
        )
    for step in STEPS:
        _attempted(trial, step)
        if trial.found["writable"].value is not True:
            break
    kind, by_post = trial.transport.login_seen
    trial.note("login", kind, "as its answers asked")
    if by_post is not None:
        trial.note("token-by-post", by_post, f"its token realm {'answered' if by_post else 'knew nothing of'} POST")


def _attempted(trial: Trial, step: Callable[[Trial], None]) -> None:
    """Do one step; what breaks off in it leaves the rest of it unknown."""
    try:
        step(trial)
    except (Again, DryportError) as error:
        if "writable" not in trial.found:
            seen = error.why if isinstance(error, Again) else f"{error.message}: {error.seen}"
            trial.note("writable", False, seen)
