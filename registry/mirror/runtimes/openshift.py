"""OpenShift: mirror sets for digests (IDMS) and for tags (ITMS), which its nodes' CRI-O is configured from.

`NeverContactSource` makes the operator block the origin itself, so that the mirrors alone are asked.
"""

from __future__ import annotations

from registry.mirror.mapping import Mapping
from registry.mirror.runtimes.files import Access, Configuration, NodeFile, address, docker_config, documents

FOLDER = "openshift"
CONFIG_API = "config.openshift.io/v1"
CA_NAME = "dryport-mirror-ca"


def openshift(mapping: Mapping, access: Access) -> Configuration:
    """Return the objects to apply, and what is to be merged into objects that every cluster has."""
    entries = [
        {
            "source": rule.origin,
            "mirrors": [address(mirror, rule.place) for mirror in mapping.mirrors],
            "mirrorSourcePolicy": "NeverContactSource",
        }
        for rule in mapping.rules
    ]
    sets = [
        {"apiVersion": CONFIG_API, "kind": kind, "metadata": {"name": "dryport"}, "spec": {key: entries}}
        for kind, key in (("ImageDigestMirrorSet", "imageDigestMirrors"), ("ImageTagMirrorSet", "imageTagMirrors"))
    ]
    files = [NodeFile(f"{FOLDER}/mirror-sets.yaml", documents(*sets))]
    notes = [f"oc apply -f {FOLDER}/mirror-sets.yaml; the nodes take it over one after the other"]
    if access.ca:
        files += [
            NodeFile(f"{FOLDER}/mirror-ca.yaml", documents(_authority(mapping, access.ca))),
            NodeFile(
                f"{FOLDER}/image-config-patch.yaml", documents({"spec": {"additionalTrustedCA": {"name": CA_NAME}}})
            ),
        ]
        patch_it = (
            f"oc patch image.config.openshift.io/cluster --type merge --patch-file {FOLDER}/image-config-patch.yaml"
        )
        notes += [
            f"oc apply -f {FOLDER}/mirror-ca.yaml",
            patch_it,
            "  a cluster has one ConfigMap of authorities: if yours names one already, add the keys to that instead",
        ]
    if access.login:
        files.append(NodeFile(f"{FOLDER}/mirror-auth.json", docker_config(mapping, access.login), is_secret=True))
        notes += [
            f"add the auths in {FOLDER}/mirror-auth.json to the cluster's pull secret:",
            "  oc extract secret/pull-secret -n openshift-config",
            "  oc set data secret/pull-secret -n openshift-config --from-file=.dockerconfigjson",
        ]
    notes += [
        "registries that are not origins are still asked themselves; mirror sets cannot forbid that:",
        "  registrySources.allowedRegistries of image.config.openshift.io/cluster can, or the lack of a route",
    ]
    return Configuration(files, tuple(notes))


def _authority(mapping: Mapping, ca: str) -> dict[str, object]:
    # A key of a ConfigMap has no colon; OpenShift spells a port with two dots.
    data = {mirror.host.replace(":", ".."): ca for mirror in mapping.mirrors}
    metadata = {"name": CA_NAME, "namespace": "openshift-config"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
