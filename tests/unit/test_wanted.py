"""Which images a proof is about: a list, or what a mirror holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from installer.flows import wanted
from registry.client.remote import RemoteRegistry
from registry.errors import RemoteError, UsageError
from registry.mirror import declared
from registry.oci.digest import Digest
from registry.oci.manifest import OCI_MANIFEST
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.server.users import user_line
from registry.store.store import Store
from tests.authority import Authority
from tests.oci_samples import image


def test_a_list_may_have_comments_and_says_which_line_is_wrong(tmp_path: Path) -> None:
    digest = f"sha256:{'a' * 64}"
    mapping = declared.of(("one.example",), ("docker.io",))
    (tmp_path / "list").write_text(f"# all\n\nnginx:1@{digest}  # the web\nnginx@{digest}\n")
    found = wanted.distinct(wanted.listed(tmp_path / "list", mapping, ()))
    assert [str(one) for one in found] == [f"docker.io/library/nginx@{digest}"]
    (tmp_path / "list").write_text(f"nginx@{digest}\nnginx\n")
    with pytest.raises(UsageError) as caught:
        wanted.distinct(wanted.listed(tmp_path / "list", mapping, ()))
    assert caught.value.where.endswith("line 2")


def test_an_empty_list_proves_nothing(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("# none\n")
    with pytest.raises(UsageError) as caught:
        wanted.distinct(wanted.listed(tmp_path / "list", declared.of(("one.example",), ("docker.io",)), ()))
    assert caught.value.reference == "nothing-to-prove"


def test_a_mirror_says_what_a_tag_means_and_what_it_holds(tmp_path: Path) -> None:
    sample = image()
    server = Authority(tmp_path)
    identity = server.issue("127.0.0.1")
    (tmp_path / "users").write_text(user_line("pull", "pw", ["pull:*"], iterations=100_000) + "\n")
    settings = Settings(certificate=identity.certificate, key=identity.key, users=tmp_path / "users")
    with Store.open(tmp_path / "store") as store, Running(settings, store) as running:
        for name in ("hub/docker.io/library/x", "hub/quay.io/team/y", "hub/team/own", "docker.io/library/outside"):
            for digest, data in sample.blobs.items():
                store.put_blob(name, digest, [data])
            store.put_manifest(name, sample.manifest, OCI_MANIFEST, ["1"])
        mapping = declared.of((f"127.0.0.1:{running.port}/hub",), ("docker.io",))
        with RemoteRegistry(f"https://127.0.0.1:{running.port}", ca=server.ca, user="pull", password="pw") as remote:
            expected = [f"docker.io/library/x:1@{Digest.of(sample.manifest)}"]
            assert [str(one) for one in wanted.held(mapping, mapping.mirrors[0], remote)] == expected
            (tmp_path / "list").write_text("x:1\n")
            mirrors = [(mapping.mirrors[0], remote)]
            assert [str(one) for one in wanted.listed(tmp_path / "list", mapping, mirrors)] == expected
            (tmp_path / "list").write_text("x:2\n")
            with pytest.raises(RemoteError) as caught:
                list(wanted.listed(tmp_path / "list", mapping, mirrors))
    assert caught.value.reference == "image-not-mirrored"
    assert "/hub/docker.io/library/x:2" in caught.value.seen
