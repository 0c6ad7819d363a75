"""dryport's registry as the measurements start it: store, port, users, workers, and a certificate with its key.

python -m tests.bench.registries.ours STORE PORT USERS WORKERS [CERTIFICATE KEY]
"""

from __future__ import annotations

import sys
from pathlib import Path

from registry.server.serve import listen, serve
from registry.server.settings import Settings
from registry.server.workers import Worker, share
from registry.store.store import Store


def main() -> None:
    store, port, users, workers = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    certificate, key = (Path(name) for name in sys.argv[5:7]) if len(sys.argv) > 6 else (None, None)
    settings = Settings(port=port, users=users, certificate=certificate, key=key)

    def work(worker: Worker | None) -> None:
        with Store.open(store) as opened:
            serve(settings, opened, listener=listener, worker=worker)

    with listen(settings) as listener:
        share(workers, work)


if __name__ == "__main__":
    main()
