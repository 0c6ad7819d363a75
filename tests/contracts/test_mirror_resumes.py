"""A copy that goes on inside a blob asks a far source for the rest alone."""

from __future__ import annotations

from pathlib import Path

from registry.client.access import NOBODY
from registry.client.remote import RemoteRegistry
from registry.client.transport import Transport
from registry.mirror.copy import copy
from registry.mirror.layout import Layout, filled
from registry.oci.digest import Digest
from registry.progress import Silent
from registry.server.serve import Running
from registry.server.settings import Settings
from registry.store.durable import TEMPORARY
from registry.store.store import Store
from tests.line import Line
from tests.mirror_samples import image, noise, seen

MIB = 1 << 20
NAME = "team/app"


def test_what_is_in_the_layout_of_a_blob_is_not_carried_again(tmp_path: Path) -> None:
    layer = noise("layer", 24 * MIB)
    digest = Digest.of(layer)
    begun = tmp_path / "layout/blobs/sha256" / f"{TEMPORARY}{digest.hex}"
    begun.parent.mkdir(parents=True)
    begun.write_bytes(layer[: 20 * MIB])
    with Store.open(tmp_path / "store") as store:
        image(store, NAME, "app", [layer], ["1.0"])
        settings = Settings(anonymous_pull=True)
        with (
            Running(settings, store) as server,
            Line(server.port) as line,
            filled(begun.parents[2]) as layout,
            RemoteRegistry.over(Transport(line.url, NOBODY)) as remote,
        ):
            report = copy(remote, layout, Silent())
        assert line.down < 5 * MIB
        assert report.bytes_copied < 5 * MIB
        assert seen(Layout(tmp_path / "layout"), {NAME: NAME}) == seen(store, {NAME: NAME})
