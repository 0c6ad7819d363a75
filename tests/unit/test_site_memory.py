"""What a site remembers of roots and releases, with real bundles."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bundles.archive.reader import read_head
from bundles.archive.writer import sign_in_place
from bundles.trust import memory
from bundles.trust.roles import Statement, sign_release
from bundles.trust.verify import fingerprint
from installer.cli.main import main
from installer.flows.contents import Contents
from installer.site import memory as site_memory
from installer.site.journal import Journal
from registry.errors import MediaError, TrustError
from registry.oci.descriptor import Descriptor
from registry.oci.digest import Digest
from registry.oci.manifest import EMPTY_BYTES, OCI_MANIFEST, TITLE, artifact
from registry.store.store import Store
from tests.attacks.publisher import NOW, Publisher
from tests.sample_bundles import Sample, noise
from tests.site_samples import sample


def test_a_newer_root_is_remembered_even_if_the_release_is_refused(tmp_path: Path) -> None:
    home, publisher = sample(tmp_path).home, Publisher()
    site_memory.begin(home, publisher.roots[0], fingerprint(publisher.roots[0]))
    publisher.rotate()
    Sample.small().publish(tmp_path / "b.tar", publisher, sequence=3)
    with pytest.raises(TrustError) as caught:
        site_memory.verified(home, tmp_path / "b.tar", now=NOW, at_least=4)
    assert caught.value.reference == "release-below-demanded"
    remembered = memory.load(home.trust)
    assert remembered
    assert (remembered.roots, dict(remembered.accepted)) == (tuple(publisher.roots), {})
    assert [entry.event for entry in Journal.open(home.journal).entries][-1] == "roots-learned"


def types(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def long_lived(path: Path, publisher: Publisher, sequence: int) -> None:
    """A signed bundle that a command, which looks at the machine's clock, may take in."""
    sample_ = Sample.of({"base": noise(f"{sequence}", 5000)})
    sample_.build(path)
    with read_head(path) as head:
        index = head.index
    now = datetime.now(UTC)
    said = Statement("sample", "1.0.0", sequence, ("linux/amd64",), now - timedelta(days=1), now + timedelta(days=9))
    sign_in_place(path, sign_release(index, said, publisher.roots, publisher.release))


def test_an_import_is_remembered_and_an_older_bundle_is_not_imported_after_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, publisher = sample(tmp_path).home, Publisher()
    site_memory.begin(home, publisher.roots[0], fingerprint(publisher.roots[0]))
    for sequence in (4, 5):
        long_lived(tmp_path / f"{sequence}.tar", publisher, sequence)
    words = ("registry", "import", "--store", tmp_path / "store", "--home", home.path, "--from")
    assert types(*words, tmp_path / "5.tar") == 0
    assert Journal.open(home.journal).entries[-1].details["sequence"] == 5
    before = home.journal.read_bytes()
    assert types(*words, tmp_path / "5.tar") == 0
    assert home.journal.read_bytes() == before
    assert types(*words, tmp_path / "4.tar") == 5
    assert "release-rolled-back" in capsys.readouterr().err


def test_a_home_that_lost_its_memory_is_no_fresh_start_for_any_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, publisher = sample(tmp_path).home, Publisher()
    site_memory.begin(home, publisher.roots[0], fingerprint(publisher.roots[0]))
    home.trust.unlink()
    for words in (("bundle", "verify", "b.tar"), ("registry", "import", "--store", tmp_path / "s", "--from", "b.tar")):
        assert types(*words, "--home", home.path) == 5
        assert "trust-memory-lost" in capsys.readouterr().err


def test_looking_at_a_bundle_accepts_nothing(tmp_path: Path) -> None:
    home, publisher = sample(tmp_path).home, Publisher()
    site_memory.begin(home, publisher.roots[0], fingerprint(publisher.roots[0]))
    Sample.small().publish(tmp_path / "b.tar", publisher)
    before = home.trust.read_bytes(), home.journal.read_bytes()
    site_memory.verified(home, tmp_path / "b.tar", now=NOW).close()
    assert (home.trust.read_bytes(), home.journal.read_bytes()) == before


def test_a_bundle_without_what_a_site_needs_is_refused_and_the_lack_is_named(tmp_path: Path) -> None:
    home, publisher = sample(tmp_path).home, Publisher()
    site_memory.begin(home, publisher.roots[0], fingerprint(publisher.roots[0]))
    Sample.small().publish(tmp_path / "b.tar", publisher)
    verified = site_memory.verified(home, tmp_path / "b.tar", now=NOW)
    with pytest.raises(MediaError) as caught:
        Contents.of(verified.content(), "sample", "1.0.0")
    assert (caught.value.reference, caught.value.where) == ("bundle-not-installable", "dryport/kit")
    verified.close()


def put(store: Store, repository: str, tag: str, layers: dict[str, bytes], notes: dict[str, str] | None = None) -> None:
    listed = []
    for title, data in layers.items():
        store.put_blob(repository, Digest.of(data), [data])
        listed.append(Descriptor("application/x", Digest.of(data), len(data), {TITLE: title}))
    store.put_blob(repository, Digest.of(EMPTY_BYTES), [EMPTY_BYTES])
    store.put_manifest(repository, artifact("application/x", listed, notes), OCI_MANIFEST, [tag])


def test_contents_tell_what_playbooks_must_know(tmp_path: Path) -> None:
    notes = {"dev.dryport.apt.suite": "dryport", "dev.dryport.apt.packages": "python3 openssl"}
    with Store.open(tmp_path / "store") as store:
        put(store, "dryport/kit", "0.3.0-linux-amd64", {"kit.tar": b"kit"})
        put(store, "dryport/playbooks/quickstart", "1.0.0", {"playbooks.tar.gz": b"p"})
        put(store, "dryport/apt/host", "1.0.0", {"a": b"12345", "b": b"123"}, notes)
        put(store, "spectro-packs/archive/web", "2.0.0", {"web": b"w"})
        found = Contents.of(store, "quickstart", "1.0.0")
        assert (found.kit.version, found.kit.title, found.kit.layer.digest) == (
            "0.3.0",
            "kit.tar",
            Digest.of(b"kit"),
        )
        assert found.packs == ("web:2.0.0",)
        assert found.apt[0].packages == ("python3", "openssl")
        assert found.apt[0].size == 8 + len(EMPTY_BYTES)
        put(store, "dryport/kit", "0.4.0-linux-amd64", {"kit.tar": b"other"})
        with pytest.raises(MediaError, match="one kit"):
            Contents.of(store, "quickstart", "1.0.0")
