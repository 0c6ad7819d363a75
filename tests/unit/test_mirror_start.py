"""What a copy waits for before its first request: not for what it does not need."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from registry.mirror.layout import LayoutTarget

NEEDLESS = {"sqlalchemy", "pydantic", "yaml", "asyncio", "fastapi", "rich"}
SCRIPT = """
import json, sys
from installer.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


def test_a_copy_without_a_store_loads_no_database_and_no_schema(tmp_path: Path) -> None:
    layout = LayoutTarget(tmp_path / "from")
    layout.finish()
    layout.close()
    ends = [f"oci:{tmp_path / 'from'}", f"oci:{tmp_path / 'to'}"]
    command = [sys.executable, "-c", SCRIPT, "mirror", "copy", *ends, "--journal", str(tmp_path / "journal")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not NEEDLESS & set(json.loads(done.stderr.splitlines()[-1]))
