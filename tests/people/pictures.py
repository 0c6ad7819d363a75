"""Makes the pictures of the pages in docs/: `python -m tests.people.pictures docs/pages`, from what the tests serve.

Pictures are as small as their content allows; they are made again when the pages change, not by every test run.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from registry.server.serve import Running
from registry.store.store import Store
from tests import people_samples
from tests.browser import ENTER, Browser
from tests.people.conftest import Place, Visitor, write_users

IMAGE = f"/ui/repositories/{people_samples.GATEWAY}"
PACK = "/ui/packs/spectro-packs/archive/ingress-gateway"
PICTURES = {
    "packs": ("/ui/packs", 800, 420, False),
    "pack": (PACK, 800, 860, False),
    "image": (f"{IMAGE}:2.1", 800, 640, True),
    "bundles": ("/ui/bundles", 800, 500, False),
    "storage": ("/ui/storage", 800, 520, True),
    "audit": ("/ui/audit", 800, 400, False),
    "phone": (IMAGE, 390, 700, False),
}


def main(target: Path) -> None:
    """Write every picture into a folder."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, Store.open(Path(name) / "store") as store:
        place = Place(Path(name), store)
        write_users(place.users)
        (store.folder / "policy.yaml").write_text('rules: [{repositories: ["*/archive/*"], quota_bytes: 24000}]')
        people_samples.fill(store, place.folder / "packs")
        with Running(place.settings, store, [people_samples.mount(place.folder)]) as running, Browser() as browser:
            visitor = Visitor(running.url, "admin")
            assert visitor.ask("/v2/team/api/manifests/1.0", "DELETE").status == 202
            assert visitor.by("reader").ask("/v2/team/api/manifests/1.1", "DELETE").status == 403
            browser.open(f"{running.url}/ui/login")
            browser.type("#name", "admin")
            browser.type("#password", f"guess{ENTER}")
            browser.type("#name", "admin")
            browser.type("#password", f"pw-admin{ENTER}")
            browser.wait(lambda: browser.address.endswith("/ui/"))
            for picture, (path, width, height, dark) in PICTURES.items():
                browser.device(width, height, dark=dark)
                browser.open(running.url + path)
                (target / f"{picture}.png").write_bytes(browser.picture())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
