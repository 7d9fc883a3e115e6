"""Headless Chromium through its DevTools protocol: pages, keys, pictures, and what a page complained about."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp

from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

_FLAGS: Final = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-extensions", "--disable-background-networking", "--disable-component-update", "--mute-audio"),
    *("--force-color-profile=srgb", "--hide-scrollbars", "--remote-debugging-port=0"),
)
_KEYS: Final = {"Enter": ("\r", 13), "Escape": ("", 27), "ArrowDown": ("", 40), "ArrowUp": ("", 38)}
_TERMINAL_TEXT: Final = "[...document.querySelectorAll('.xterm-rows > div')].map((row) => row.innerText).join('\\n')"


def program() -> str | None:
    """Its path, if it is installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """A browser with a profile of its own; an async context manager."""

    def __init__(self, folder: Path) -> None:
        """`folder` is for its profile."""
        self._folder = folder
        self._number = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.pages: dict[str, Tab] = {}

    async def __aenter__(self) -> Self:
        chromium = program()
        assert chromium is not None
        self._process = await asyncio.create_subprocess_exec(
            chromium, *_FLAGS, f"--user-data-dir={self._folder}", "about:blank",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            while (found := re.search(rb"listening on (ws://\S+)", await self._process.stderr.readline())) is None:
                assert self._process.returncode is None
        self._drain = asyncio.create_task(self._process.stderr.read())
        self._http = aiohttp.ClientSession()
        self._socket = await self._http.ws_connect(found[1].decode(), max_msg_size=0)
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reading.cancel()
        await self._socket.close()
        await self._http.close()
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._drain

    async def tab(self, url: str, *, width: int = 1100, height: int = 640) -> Tab:
        """Opens a page."""
        target = (
            await self.call("Target.createTarget", url="about:blank", width=width, height=height, newWindow=True)
        )["targetId"]
        session = (await self.call("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        tab = self.pages[session] = Tab(self, session, target)
        for domain in ("Page", "Runtime", "Log"):
            await tab.call(f"{domain}.enable")
        await tab.go(url)
        return tab

    async def grant(self, origin: str, *permissions: str) -> None:
        """Allows pages of an origin what a person would be asked for."""
        await self.call("Browser.grantPermissions", origin=origin, permissions=list(permissions))

    async def call(self, method: str, *, session: str = "", **parameters: Any) -> dict[str, Any]:
        """Calls a method of the protocol."""
        self._number += 1
        answer = self._answers[self._number] = asyncio.get_running_loop().create_future()
        message = {"id": self._number, "method": method, "params": parameters}
        await self._socket.send_json(message | ({"sessionId": session} if session else {}))
        async with asyncio.timeout(PATIENCE):
            found = await answer
        assert "error" not in found, f"{method}: {found['error']}"
        result: dict[str, Any] = found["result"]
        return result

    async def _read(self) -> None:
        async for message in self._socket:
            found = json.loads(message.data)
            if (answer := self._answers.pop(found.get("id", 0), None)) is not None:
                answer.set_result(found)
            elif (tab := self.pages.get(found.get("sessionId", ""))) is not None:
                tab.heard(found["method"], found["params"])


class Tab:
    """A page."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser, self._session, self._target = browser, session, target
        self.complaints: list[str] = []
        """Exceptions, and what the browser logged: violations of the page's policy, for example."""

    async def go(self, url: str) -> None:
        """Goes to an address."""
        await self.call("Page.navigate", url=url)

    async def close(self) -> None:
        """Closes it."""
        await self._browser.call("Target.closeTarget", targetId=self._target)

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method for this page."""
        return await self._browser.call(method, session=self._session, **parameters)

    async def ask(self, script: str) -> Any:
        """The value of a script."""
        found = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    async def until(self, script: str, seconds: float = 60) -> Any:
        """Waits until a script's value is true, and returns it."""
        try:
            async with asyncio.timeout(seconds):
                while not (
                    found := await self.ask(f"(() => {{ try {{ return {script} }} catch {{ return null }} }})()")
                ):
                    await asyncio.sleep(0.05)
                return found
        except TimeoutError:
            text = await self.ask("document.body?.innerText")
            raise AssertionError(f"{script} did not come true on the page {text!r}; {self.complaints}") from None

    async def until_text(self, *texts: str, seconds: float = 60) -> str:
        """Waits until the terminal of the page shows texts, and returns all that it shows."""
        conditions = " && ".join(f"text.includes({json.dumps(text)})" for text in texts)
        script = f"((text) => ({conditions}) ? text : '')({_TERMINAL_TEXT}.replaceAll('\\u00a0', ' '))"
        return str(await self.until(script, seconds))

    async def type(self, text: str) -> None:
        """Types letters."""
        for letter in text:
            code = ord(letter.upper()) if letter.isalnum() else 0  # those of signs are of other keys
            await self.call(
                "Input.dispatchKeyEvent", type="keyDown", text=letter, key=letter, windowsVirtualKeyCode=code
            )
            await self.call("Input.dispatchKeyEvent", type="keyUp", key=letter, windowsVirtualKeyCode=code)

    async def press(self, key: str) -> None:
        """Presses a key with a name."""
        text, code = _KEYS[key]
        more = {"text": text} if text else {}
        await self.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, windowsVirtualKeyCode=code, **more)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key, windowsVirtualKeyCode=code)

    async def picture(self, file: Path) -> None:
        """Writes what it looks like, as PNG."""
        found = await self.call("Page.captureScreenshot", format="png")
        await asyncio.to_thread(file.write_bytes, base64.b64decode(found["data"]))

    def heard(self, method: str, parameters: dict[str, Any]) -> None:
        """Notes what the browser says about it."""
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(parameters["exceptionDetails"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in {"error", "warning"}:
            self.complaints.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
