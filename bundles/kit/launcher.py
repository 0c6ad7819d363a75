"""The programs in a kit's `bin/`: sh that finds its own kit and starts Python on it.

* The kit may lie anywhere, on a read-only medium, behind links, in folders with spaces: nothing is unpacked or written.
* Only the kit's packages and Python's own library are importable (`-I -S`): what the machine has installed for Python
  cannot change what runs, and neither can the environment.
* The kit's `bin/` comes first in PATH, so that what dryport runs (ansible-playbook) is the kit's own.
* A wrong Python is refused in words, with the exit code of a site error (6).
"""

from __future__ import annotations

PYTHON = (3, 11)

_LAUNCHER = """\
#!/bin/sh
# Starts {name} from the kit this file lies in. It needs Python {version} and nothing else.
kit=$(dirname "$(dirname "$(readlink -f "$0")")")
python=$(command -v python{version} || command -v python3) || {{
    echo "{name}: this kit needs Python {version} and there is no python3 on PATH; install python{version}" >&2
    exit 6
}}
PATH=$kit/bin:$PATH; export PATH
exec "$python" -I -S -c 'import sys
if sys.version_info[:2] != {python}:
    sys.stderr.write("{name}: this kit needs Python {version}; %s is %d.%d. Install python{version} beside it\\n"
                     % (sys.executable, sys.version_info[0], sys.version_info[1]))
    sys.exit(6)
sys.path.insert(0, sys.argv[1])
sys.argv[:3] = [sys.argv[2]]
from {module} import main
sys.exit(main())' "$kit/lib" "$kit/bin/{name}" "$@"
"""


def launcher(name: str, module: str) -> bytes:
    """Return the program `name`, which calls `main()` of `module`."""
    version = ".".join(map(str, PYTHON))
    return _LAUNCHER.format(name=name, module=module, version=version, python=PYTHON).encode()


def launchers() -> dict[str, bytes]:
    """Return every program of the kit by its name."""
    # ansible-core is GPLv3: it is run as a program of its own, never imported by dryport.
    programs = {"ansible-playbook": "ansible.cli.playbook", "dryport": "installer.cli.main"}
    return {name: launcher(name, module) for name, module in programs.items()}
