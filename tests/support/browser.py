"""A headless Chromium, driven with the DevTools protocol: what a page says on the console, what it shows, and keys.

For example::

    with Browser() as browser:
        with browser.open("file:///report.html", width=390, dark=True) as page:
            page.press("Tab")
            assert page.ask("document.activeElement.textContent") == "return"
            assert page.complaints() == []
"""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from websockets.sync.client import ClientConnection, connect

__all__ = ["Browser", "Page", "chromium"]

_SECONDS = 60.0
_KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowRight": 39}


def chromium() -> str | None:
    """Return the path of Chromium, or None if it is not installed."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    """A Chromium process with a profile of its own and without a network."""

    def __enter__(self) -> Self:
        program = chromium()
        assert program is not None
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        options += ["--disable-background-networking", "--proxy-server=127.0.0.1:9", "--hide-scrollbars"]
        folder = f"--user-data-dir={self._profile.name}"
        self._process = subprocess.Popen(
            [program, *options, folder, "--remote-debugging-port=0", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._profile.cleanup()

    @contextlib.contextmanager
    def open(self, url: str, *, width: int = 1200, height: int = 900, dark: bool = False) -> Iterator[Page]:
        """Open a page in a new tab of this size and theme, and wait until it is loaded."""
        with connect(self._address(), max_size=None, proxy=None) as socket:
            page = Page(socket)
            size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
            page.call("Emulation.setDeviceMetricsOverride", **size)
            theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            page.call("Emulation.setEmulatedMedia", features=[theme])
            page.call("Page.navigate", url=url)
            page.wait_for("Page.loadEventFired")
            yield page

    def _address(self) -> str:
        file = Path(self._profile.name) / "DevToolsActivePort"
        end = time.monotonic() + _SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(OSError, ValueError):
                port, path = file.read_text("utf-8").splitlines()
                return f"ws://127.0.0.1:{port}{path}"
            assert self._process.poll() is None, "Chromium ended"
            time.sleep(0.05)
        raise TimeoutError("Chromium did not say where it listens")


class Page:
    """One tab."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._last, self._session = 0, ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Return the answer to a command of the protocol."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        self._socket.send(json.dumps(message | ({"sessionId": self._session} if self._session else {})))
        while True:
            answer = self._receive()
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                return answer["result"]

    def wait_for(self, event: str) -> None:
        """Wait until an event has happened."""
        while not any(one["method"] == event for one in self.events):
            self._receive()

    def _receive(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._socket.recv(_SECONDS))
        if "method" in answer:
            self.events.append(answer)
        return answer

    def ask(self, expression: str) -> Any:
        """Return the value of an expression of JavaScript."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str, times: int = 1) -> None:
        """Press a key."""
        text = {"text": "\r"} if key == "Enter" else {}
        for _ in range(times):
            for kind in ("keyDown", "keyUp"):
                more = text if kind == "keyDown" else {}
                code = _KEYS[key]
                self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **more)

    def complaints(self) -> list[str]:
        """Return what the page wrote to the console, all exceptions, and all that it asked the network for."""
        self.ask("new Promise(done => setTimeout(done, 50))")  # events that are on their way
        found = []
        for event in self.events:
            what, of = event["method"], event["params"]
            if what in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
                found.append(json.dumps(of))
            elif what == "Network.requestWillBeSent" and not of["request"]["url"].startswith(("file:", "data:")):
                found.append(of["request"]["url"])
        return found

    def screenshot(self, path: Path, *, whole: bool = True) -> bytes:
        """Write what the page looks like, as a PNG, and return it."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        data = base64.b64decode(shot["data"])
        path.write_bytes(data)
        return data
