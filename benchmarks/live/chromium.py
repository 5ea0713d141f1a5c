"""Headless Chromium, driven through its own debugging protocol: for tests and figures of the live page."""

from __future__ import annotations

import base64
import itertools
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

INSTALL = "apt-get install chromium"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def program() -> str | None:
    """The browser's program; None where there is none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Tab:
    """One page of a browser.

    Args:
        socket: Its debugging connection.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.console: list[str] = []
        """Errors and warnings that the page wrote to its console, and what it threw."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol, and its answer.

        Raises:
            RuntimeError: the browser refuses it.
        """
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=30))
            self._note(message)
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return dict(message["result"])

    def open(self, address: str) -> None:
        """Go to a page, and wait until it is loaded.

        Raises:
            RuntimeError: nobody answers there.
        """
        went = self.ask("Page.navigate", url=address)
        if "errorText" in went:
            raise RuntimeError(f"{address}: {went['errorText']}")
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def value(self, expression: str) -> Any:
        """What JavaScript gives; promises are waited for.

        Raises:
            RuntimeError: it throws.
        """
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def until(self, expression: str, timeout_s: float = 20.0) -> Any:
        """The first true value of an expression.

        Raises:
            TimeoutError: it stays false.
        """
        limit = time.monotonic() + timeout_s
        while not (value := self.value(expression)):
            if time.monotonic() > limit:
                raise TimeoutError(f"{expression} stays false; the console says {self.console}")
            time.sleep(0.03)
        return value

    def size(
        self, width: int, height: int, *, scale: float = 1, phone: bool = False, dark: bool = True
    ) -> None:
        """Look through a window of so many CSS pixels."""
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale,
            mobile=phone,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path) -> None:
        """Write what is seen as PNG."""
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))

    def _note(self, message: dict[str, Any]) -> None:
        method, found = message.get("method"), message.get("params", {})
        if method == "Runtime.consoleAPICalled" and found["type"] in ("error", "warning", "assert"):
            self.console.append(str([one.get("value", one.get("description")) for one in found["args"]]))
        elif method == "Runtime.exceptionThrown":
            self.console.append(str(found["exceptionDetails"].get("exception", {}).get("description")))
        elif method == "Log.entryAdded" and found["entry"]["level"] in ("error", "warning"):
            self.console.append(f"{found['entry']['text']} {found['entry'].get('url', '')}")


@contextmanager
def browser(folder: Path) -> Iterator[Callable[[], Tab]]:
    """A browser with a fresh profile in ``folder``; what it gives opens a tab.

    Raises:
        FileNotFoundError: there is no Chromium.
    """
    name = program()
    if name is None:
        raise FileNotFoundError(f"no Chromium: {INSTALL}")
    options = (
        "--headless=new", "--no-sandbox", "--remote-debugging-port=0", f"--user-data-dir={folder}",
        "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
        "--disable-background-networking", "--disable-component-update", "--mute-audio",
    )  # fmt: skip
    log = folder / "chromium.log"
    with log.open("w") as told, subprocess.Popen([name, *options, "about:blank"], stderr=told) as process:
        stack, root = ExitStack(), ""
        try:
            root = _address(log, process)

            def tab() -> Tab:
                with connect(root, max_size=None, close_timeout=0.2) as control:
                    control.send(
                        json.dumps(
                            {"id": 1, "method": "Target.createTarget", "params": {"url": "about:blank"}}
                        )
                    )
                    while (answer := json.loads(control.recv(timeout=30))).get("id") != 1:
                        pass
                place = re.sub("/devtools/.*", f"/devtools/page/{answer['result']['targetId']}", root)
                return Tab(stack.enter_context(connect(place, max_size=None, close_timeout=0.2)))

            yield tab
        finally:
            stack.close()
            with suppress(Exception), connect(root, close_timeout=0.2) as control:
                control.send(json.dumps({"id": 1, "method": "Browser.close"}))
                process.wait(5)
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    """Where the browser listens for commands."""
    limit = time.monotonic() + 30
    while time.monotonic() < limit and process.poll() is None:
        found = re.search(r"DevTools listening on (ws://\S+)", log.read_text(errors="replace"))
        if found:
            return found[1]
        time.sleep(0.05)
    raise RuntimeError(f"Chromium does not start: {log.read_text(errors='replace')[-500:]}")
