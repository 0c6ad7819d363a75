"""A real Chromium, driven over the WebDriver protocol: pages as people get them, with and without JavaScript.

>>> with Browser() as browser:
...     browser.open(f"{url}/ui/")
...     browser.type("#q", "gateway")
"""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import Any, Self

import urllib3

FLAGS = (
    "--headless",
    "--no-sandbox",  # the tests run as root in a container, and open only what they serve themselves
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
ENTER, TAB = "\ue007", "\ue004"
START_SECONDS = 60


class Browser:
    """One browser window, and what its driver is asked."""

    def __init__(self, *, scripts: bool = True) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True)
        self._driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._pool = urllib3.PoolManager(retries=False, timeout=START_SECONDS)
        self._base = f"http://127.0.0.1:{self._port()}"
        options: dict[str, Any] = {"args": [*FLAGS, f"--user-data-dir={self._folder.name}"]}
        if not scripts:
            options["prefs"] = {"profile.managed_default_content_settings.javascript": 2}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self._session = ""
        made = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{made['sessionId']}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(urllib3.exceptions.HTTPError, AssertionError):
            self._ask("DELETE", "")
        self._driver.terminate()
        self._driver.wait(30)
        self._folder.cleanup()

    def open(self, address: str) -> None:
        self._ask("POST", "/url", {"url": address})

    @property
    def address(self) -> str:
        return str(self._ask("GET", "/url"))

    @property
    def title(self) -> str:
        return str(self._ask("GET", "/title"))

    @property
    def text(self) -> str:
        return str(self._ask("GET", f"/element/{self.find('body')}/text"))

    def find(self, selector: str) -> str:
        return str(self._ask("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT])

    def count(self, selector: str) -> int:
        return len(self._ask("POST", "/elements", {"using": "css selector", "value": selector}))

    def shown(self, selector: str) -> int:
        """Count the elements that a person sees."""
        found = self._ask("POST", "/elements", {"using": "css selector", "value": selector})
        return sum(bool(self._ask("GET", f"/element/{one[ELEMENT]}/displayed")) for one in found)

    def type(self, selector: str, text: str) -> None:
        self._ask("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def press(self, keys: str) -> None:
        """Press keys wherever the focus is."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._ask("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def click(self, selector: str) -> None:
        self._ask("POST", f"/element/{self.find(selector)}/click", {})

    def run(self, script: str) -> Any:  # noqa: ANN401 - any value of the page's
        return self._ask("POST", "/execute/sync", {"script": script, "args": []})

    def cookies(self) -> list[dict[str, Any]]:
        return list(self._ask("GET", "/cookie"))

    def complaints(self) -> list[str]:
        """Return what the browser's console says: blocked styles, missing files, script errors."""
        return [str(one["message"]) for one in self._ask("POST", "/se/log", {"type": "browser"})]

    def device(self, width: int, height: int, *, dark: bool = False) -> None:
        """Be a screen of this size, light or dark."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._command("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._command("Emulation.setEmulatedMedia", {"features": [scheme]})

    def picture(self) -> bytes:
        """Return the window as PNG."""
        return base64.b64decode(self._ask("GET", "/screenshot"))

    def wait(self, claim: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait until the claim is true; fail if it never is."""
        end = time.monotonic() + seconds
        while not claim():
            assert time.monotonic() < end, f"not true after {seconds} s at {self.address}"
            time.sleep(0.05)

    def _command(self, name: str, parameters: dict[str, Any]) -> None:
        self._ask("POST", "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def _port(self) -> int:
        assert self._driver.stdout is not None
        for line in self._driver.stdout:
            if "started successfully on port" in line:
                return int(line.rstrip(".\n").rpartition(" ")[2])
        raise AssertionError("chromedriver did not start")

    def _ask(self, method: str, path: str, value: object = None) -> Any:  # noqa: ANN401 - whatever the driver answers
        body = None if value is None else json.dumps(value).encode()
        answer = self._pool.request(method, self._base + self._session + path, body=body)
        found = json.loads(answer.data)["value"]
        assert answer.status == 200, found
        return found
