"""From a site's inventory to a signed delta in its store, by the commands that people type."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner

from bundles.archive.reader import read_head
from bundles.archive.writer import sign_in_place
from bundles.trust.keys import generate, read_public
from bundles.trust.roles import Statement, sign_release
from bundles.trust.signers import open_signer
from bundles.trust.verify import fingerprint
from installer.cli.main import main
from installer.site import memory as site_memory
from registry.store import durable
from tests.attacks.publisher import Publisher
from tests.delta_samples import NEW_LAYERS, OLD_LAYERS
from tests.sample_bundles import Sample
from tests.site_samples import Sample as SiteSample
from tests.site_samples import sample

BEST_BEFORE = datetime(2040, 1, 31, 23, 59, 59, tzinfo=UTC)


class Gap:
    """A publisher's desk on one side, a site with its store on the other."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self.site: SiteSample = sample(folder)
        self.publisher = Publisher(product="sample")
        generate("release", folder)
        signer = open_signer(str(folder / "release.pem"))
        assert isinstance(signer, CryptoSigner)
        self.publisher.rotate(release=[signer])
        durable.make_folder(folder / "roots")
        for number, root in enumerate(self.publisher.roots, start=1):
            durable.create(folder / f"roots/{number}.root.json", root)
        first = self.publisher.roots[0]
        site_memory.begin(self.site.home, first, fingerprint(first))
        self.trust = ["--root", f"{folder}/roots/1.root.json", "--fingerprint", str(fingerprint(first))]

    def types(self, *words: object) -> tuple[int, dict[str, Any]]:
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*map(str, words), "--json"])
        out = self._capsys.readouterr().out
        return int(ended.value.code or 0), json.loads(out) if out else {}

    def publish(self, layers: dict[str, bytes], sequence: int) -> Path:
        path, version = self.folder / f"{sequence}.tar", f"1.{sequence}.0"
        Sample.of(layers, version=version).build(path)
        with read_head(path) as head:
            index = head.index
        issued = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
        said = Statement("sample", version, sequence, ("linux/amd64",), issued, BEST_BEFORE)
        sign_in_place(path, sign_release(index, said, self.publisher.roots, self.publisher.release))
        return path

    def take(self, path: Path) -> tuple[int, dict[str, Any]]:
        store, home = self.folder / "store", self.site.home.path
        return self.types("registry", "import", "--from", path, "--store", store, "--home", home)

    def inventory(self) -> tuple[int, dict[str, Any]]:
        out = self.folder / "alpha.inventory"
        return self.types("site", "inventory", self.site.declared.path, "--store", self.folder / "store", "--out", out)

    def delta(self, full: Path, *against: object, out: str = "delta.tar") -> tuple[int, dict[str, Any]]:
        words = ("bundle", "delta", full, "--out", self.folder / out, *self.trust)
        return self.types(*words, "--against", *against)

    def sign(self, sequence: int) -> tuple[int, dict[str, Any]]:
        words = ("bundle", "sign", self.folder / "delta.tar", "--root", self.folder / "roots")
        key = self.folder / "release.pem"
        return self.types(*words, "--key", key, "--sequence", sequence, "--best-before", "2040-01-31")


@pytest.fixture
def gap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Gap:
    return Gap(tmp_path, capsys)


def test_what_a_site_has_decides_what_crosses_the_gap(gap: Gap) -> None:
    old, new = gap.publish(OLD_LAYERS, 1), gap.publish(NEW_LAYERS, 2)
    assert gap.take(old)[0] == 0
    code, said = gap.inventory()
    assert (code, said["kind"], said["site"]) == (0, "SiteInventory", "alpha")
    assert [(one["product"], one["sequence"]) for one in said["releases"]] == [("sample", 1)]
    code, made = gap.delta(new, said["path"], "--site-key", said["key"])
    assert (code, made["kind"], made["base"]["kind"]) == (0, "BundleDelta", "Inventory")
    assert "sample sequence 1" in made["base"]["name"]
    assert made["leftOut"] == sum(map(len, OLD_LAYERS.values())) - len(OLD_LAYERS["app"]) + len(b"carried\n")
    delta = gap.folder / "delta.tar"
    assert gap.take(delta)[1]["reference"] == "bundle-unsigned"
    assert gap.sign(2)[0] == 0
    code, seen = gap.types("bundle", "verify", delta, *gap.trust)
    assert (code, seen["sequence"], seen["index"]) == (0, 2, made["index"])
    code, seen = gap.types("bundle", "inspect", delta, *gap.trust)
    assert (code, seen["verified"], seen["delta"]["leftOut"]) == (0, True, made["leftOutBlobs"])
    assert gap.types("bundle", "diff", old, delta)[1]["newBytes"] > 0
    code, taken = gap.take(delta)
    assert (code, taken["kind"]) == (0, "RegistryImported")
    assert gap.take(new)[0] == 0, "the full bundle is the same release"
    assert gap.inventory()[1]["releases"][0]["sequence"] == 2


def test_a_release_that_the_site_has_can_be_named_instead(gap: Gap) -> None:
    old, new = gap.publish(OLD_LAYERS, 1), gap.publish(NEW_LAYERS, 2)
    code, made = gap.delta(new, old)
    assert (code, made["base"]["name"]) == (0, "sample 1.1.0, sequence 1")
    assert gap.sign(2)[0] == 0
    code, error = gap.take(gap.folder / "delta.tar")
    assert (code, error["reference"]) == (4, "delta-base-missing")
    assert error["expected"].startswith("sample 1.1.0, sequence 1")
    trust = gap.site.home.trust.read_bytes()
    assert b'"sample"' not in trust, "a release that was not taken in is not remembered"
    assert gap.take(old)[0] == 0
    assert gap.take(gap.folder / "delta.tar")[0] == 0


def test_an_inventory_needs_the_key_of_the_site_that_signed_it(gap: Gap) -> None:
    old, new = gap.publish(OLD_LAYERS, 1), gap.publish(NEW_LAYERS, 2)
    gap.take(old)
    said = gap.inventory()[1]
    assert gap.delta(new, said["path"])[1]["reference"] == "site-key-missing"
    generate("stranger", gap.folder)
    assert read_public(gap.folder / "stranger.pub")
    code, error = gap.delta(new, said["path"], "--site-key", gap.folder / "stranger.pub")
    assert (code, error["reference"]) == (5, "inventory-signature-invalid")
    assert not (gap.folder / "delta.tar").exists()


def test_the_site_keeps_its_key_to_itself(gap: Gap) -> None:
    gap.take(gap.publish(OLD_LAYERS, 1))
    key = Path(gap.inventory()[1]["key"])
    assert key.with_suffix(".pem").stat().st_mode & 0o777 == 0o600
    before = key.read_bytes()
    gap.inventory()
    assert key.read_bytes() == before


def test_a_delta_needs_somebody_to_be_trusted(gap: Gap) -> None:
    new = gap.publish(NEW_LAYERS, 2)
    words = ("bundle", "delta", new, "--against", new, "--out", gap.folder / "d.tar")
    assert gap.types(*words)[1]["reference"] == "trust-missing"
    assert gap.types(*words, *gap.trust, "--site-key", gap.folder / "none.pub")[0] == 0
    assert gap.delta(new, gap.folder / "nothing", out="e.tar")[1]["reference"] == "file-unreadable"
