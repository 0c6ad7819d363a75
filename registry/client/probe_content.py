"""What a registry takes, gives and takes away again: parts of blobs, kinds of manifests, referrers, tags."""

from __future__ import annotations

import os

from registry.client import specimens
from registry.client.trial import SMALL, Trial, is_good, words
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest

TAGS = ("probe-1", "probe-2")


def parts(trial: Trial) -> None:
    """Try to read a part of a blob."""
    data = os.urandom(SMALL)
    trial.put(trial.repository, data)
    reply = trial.ask("GET", f"/v2/{trial.repository}/blobs/{Digest.of(data)}", headers={"Range": "bytes=100-199"})
    trial.note("ranges", reply.status == 206 and reply.body == data[100:200], f"{reply.status} to bytes=100-199")  # noqa: PLR2004


def other_digests(trial: Trial) -> None:
    """Try content that is named by sha512."""
    data = os.urandom(SMALL)
    digest = Digest.of(data, "sha512")
    reply = trial.put(trial.repository, data, digest)
    answer = trial.ask("HEAD", f"/v2/{trial.repository}/blobs/{digest}")
    stated = answer.headers.get("Docker-Content-Digest", "")
    trial.note("sha512", answer.status == 200 and stated == str(digest), f"{words(reply)}; named {stated[:80]}")  # noqa: PLR2004


def images(trial: Trial) -> None:
    """Try an OCI image, and whether its manifest stays as it is."""
    image = specimens.image(os.urandom(32))
    for blob in image.blobs:
        trial.put(trial.repository, blob)
    reply = trial.put_manifest(image.data, image.media_type, str(image.digest))
    trial.note("oci-images", is_good(reply), reply)
    if not is_good(reply):
        return
    stated = reply.headers.get("Docker-Content-Digest")
    trial.note("states-digests", stated == str(image.digest), f"Docker-Content-Digest: {str(stated)[:80]}")
    path = f"/v2/{trial.repository}/manifests/{image.digest}"
    reply = trial.ask("GET", path)
    trial.note("keeps-bytes", reply.body == image.data, f"{reply.status}, {len(reply.body)} bytes of {image.size}")


def indexes(trial: Trial) -> None:
    """Try an index, and one of which a child is left out."""
    image = specimens.image(os.urandom(32))
    for blob in image.blobs:
        trial.put(trial.repository, blob)
    trial.put_manifest(image.data, image.media_type, str(image.digest))
    absent = specimens.image(os.urandom(32))
    for name, children in (("indexes", [image]), ("sparse-indexes", [image, absent])):
        index = specimens.index(children)
        reply = trial.put_manifest(index.data, index.media_type, str(index.digest))
        trial.note(name, is_good(reply), reply)


def docker_types(trial: Trial) -> None:
    """Try Docker's image manifest and manifest list."""
    image = specimens.docker_image(os.urandom(32))
    for blob in image.blobs:
        trial.put(trial.repository, blob)
    listed = specimens.docker_list([image])
    for one in (image, listed):
        reply = trial.put_manifest(one.data, one.media_type, str(one.digest))
        kept = trial.ask("GET", f"/v2/{trial.repository}/manifests/{one.digest}")
        is_kept = is_good(reply) and kept.body == one.data
        trial.note("docker-types", is_kept, reply)
        if not is_kept:
            return


def artifacts(trial: Trial) -> None:
    """Try artifacts, and one that refers to another."""
    layer = os.urandom(SMALL)
    for blob in (layer, specimens.EMPTY):
        trial.put(trial.repository, blob)
    subject = specimens.artifact([layer])
    reply = trial.put_manifest(subject.data, subject.media_type, str(subject.digest))
    trial.note("oci-artifacts", is_good(reply), reply)
    twice = specimens.artifact([layer, layer])
    reply = trial.put_manifest(twice.data, twice.media_type, str(twice.digest))
    trial.note("repeated-layers", is_good(reply), reply)
    referrer = specimens.artifact([layer], Descriptor(subject.media_type, subject.digest, subject.size))
    reply = trial.put_manifest(referrer.data, referrer.media_type, str(referrer.digest))
    said = reply.headers.get("OCI-Subject")
    listed = trial.ask("GET", f"/v2/{trial.repository}/referrers/{subject.digest}")
    is_listed = listed.status == 200 and str(referrer.digest).encode() in listed.body  # noqa: PLR2004
    evidence = f"OCI-Subject: {str(said)[:80]}; the referrers gave {listed.status}"
    trial.note("referrers", bool(said) and is_listed, evidence)


def tags(trial: Trial) -> None:
    """Try tags, set with a manifest and listed in pages."""
    layer = os.urandom(SMALL)
    for blob in (layer, specimens.EMPTY):
        trial.put(trial.repository, blob)
    one = specimens.artifact([layer])
    query = "&".join(f"tag={tag}" for tag in TAGS)
    reply = trial.put_manifest(one.data, one.media_type, f"{one.digest}?{query}")
    there = [trial.ask("HEAD", f"/v2/{trial.repository}/manifests/{tag}") for tag in TAGS]
    named = [answer.headers.get("Docker-Content-Digest") for answer in there]
    trial.note("tag-parameter", named == [str(one.digest)] * len(TAGS), f"OCI-Tag: {reply.headers.get('OCI-Tag')}")
    for tag in TAGS:
        trial.put_manifest(one.data, one.media_type, tag)
    reply = trial.ask("GET", f"/v2/{trial.repository}/tags/list?n=1")
    is_page = reply.body.count(b"probe-") == 1 and "next" in reply.headers.get("Link", "")
    trial.note("tag-pages", is_page, f"{words(reply)}, Link: {reply.headers.get('Link', 'none')[:100]}")


def deletes(trial: Trial) -> None:
    """Take away what the probe left, which shows what can be taken away."""
    tag = trial.ask("HEAD", f"/v2/{trial.repository}/manifests/{TAGS[0]}").headers.get("Docker-Content-Digest")
    reply = trial.ask("DELETE", f"/v2/{trial.repository}/manifests/{TAGS[0]}")
    still = trial.ask("HEAD", f"/v2/{trial.repository}/manifests/{tag}").status == 200 if tag else False  # noqa: PLR2004
    trial.note("deletes-tags", is_good(reply) and still, reply)
    trial.ask("DELETE", f"/v2/{trial.repository}/manifests/{TAGS[1]}")
    left, said = _deleted(trial, [(trial.repository, f"manifests/{digest}") for digest in reversed(trial.manifests)])
    trial.note("deletes-manifests", not left, said)
    kept, said = _deleted(trial, [(repository, f"blobs/{digest}") for repository, digest in trial.blobs])
    trial.note("deletes-blobs", not kept, said)
    rest = f"{left} manifests and {kept} blobs are left in {trial.repository}"
    trial.note("cleaned-up", not left and not kept, rest if left or kept else "nothing is left")


def _deleted(trial: Trial, contents: list[tuple[str, str]]) -> tuple[int, str]:
    """Delete; return how much is left, and what the registry says of it."""
    refused = []
    said = "nothing to delete"
    for repository, path in contents:
        reply = trial.ask("DELETE", f"/v2/{repository}/{path}", repository=repository)
        is_gone = is_good(reply) or reply.status == 404  # noqa: PLR2004
        refused += [] if is_gone else [words(reply)]
        said = words(reply)
    return len(refused), refused[0] if refused else said
