"""`netvps web` in headless Chromium: logins, the terminal UI, a session's terminal, and a server that comes back.

It comes before test_terminal_ui, whose last test ends the system that they share.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from netvps.client import Client, Endpoint
from tests.e2e.system import NETVPS, System, free_ports
from tests.support import browser
from tests.support.browser import Browser, Tab
from tests.support.patience import PATIENCE

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]


@dataclass
class Web:
    """The program, and a browser."""

    system: System
    url: str
    first_link: str
    browser: Browser

    async def link(self) -> str:
        """Another one."""
        listen = self.url.removeprefix("http://").rstrip("/")
        answer = await asyncio.to_thread(self.system.netvps, "web", "--open", "--listen", listen)
        return str(answer.stdout.decode().strip())

    async def logged_in(self) -> Tab:
        """A page with the sessions."""
        tab = await self.browser.tab(await self.link())
        await tab.until_text("dev1", "RUNNING")
        return tab


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def web(ui_system: System, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Web]:
    if browser.program() is None:
        pytest.skip("no Chromium")
    address = f"127.0.0.1:{free_ports()['http']}"
    process = await asyncio.create_subprocess_exec(
        *NETVPS, "web", "--open", "--listen", address,
        env=ui_system.full_environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            link = (await process.stdout.readline()).decode().strip()
        async with Browser(tmp_path_factory.mktemp("profile")) as chromium:
            yield Web(ui_system, f"http://{address}/", link, chromium)
    finally:
        process.terminate()
        async with asyncio.timeout(PATIENCE):
            code = await process.wait()
    assert code == 0
    with Client(Endpoint(f"unix:{ui_system.runtime}/api.sock")) as client:
        assert "netvps web" not in [key.title for key in client.list_api_keys()], "keys of links end with the program"


async def test_a_wrong_key_fails_with_words_and_a_good_one_shows_the_sessions(web: Web, tmp_path: Path) -> None:
    key = (await asyncio.to_thread(web.system.netvps, "user", "api-key", "root")).stdout.decode().strip()
    tab = await web.browser.tab(web.url)
    await tab.until("document.activeElement.id === 'key'")
    await tab.type(f"{key[:-1]}{'0' if key[-1] != '0' else '1'}")
    await tab.press("Enter")
    await tab.until("document.getElementById('login-error').textContent.includes('unknown, expired or revoked')")
    await tab.picture(tmp_path / "login.png")
    await tab.until("!document.querySelector('#key-form button').disabled")
    await tab.type(key)
    await tab.press("Enter")
    await tab.until_text("dev1", "RUNNING")
    await tab.picture(tmp_path / "sessions.png")
    assert await tab.ask("document.cookie") == "", "scripts do not get the cookie"
    await tab.type("?")
    await tab.until_text("Keys", "copy the command line")
    await tab.press("Escape")
    await tab.until("!document.querySelector('.xterm-rows').innerText.includes('copy the command line')")
    place = "document.querySelector('.xterm-rows').innerText.split('\\n')[0].indexOf('root@')"
    before = int(await tab.ask(place))
    await tab.call("Emulation.setDeviceMetricsOverride", width=700, height=400, deviceScaleFactor=1, mobile=False)
    await tab.until(f"{place} > 0 && {place} < {before - 30}")
    await tab.until_text("dev1")
    await tab.type("q")
    await tab.until("document.getElementById('notice-text').textContent === 'you left the terminal UI'")
    await tab.ask("document.getElementById('logout').click()")
    await tab.until("document.activeElement.id === 'key'")
    forbidden = [text for text in tab.complaints if "403" not in text]
    assert forbidden == [], "the page's own policy forbids nothing that it does"
    await tab.close()


async def test_a_link_logs_in_once_and_is_not_left_in_the_address(web: Web) -> None:
    tab = await web.browser.tab(web.first_link)
    await tab.until_text("dev1")
    assert await tab.ask("location.href") == web.url
    assert await tab.ask("history.length") <= 2
    again = await web.link()
    await tab.ask(f"location.hash = {again.partition('#')[2]!r}")  # a link that is opened in the same tab
    await tab.until("location.hash === ''")
    await tab.until_text("dev1", "RUNNING")
    assert await tab.ask("document.getElementById('login').hidden")
    other = await web.browser.tab("about:blank")
    await other.go(web.first_link)
    await other.until("document.getElementById('login-error').textContent.includes('this link was used already')")
    for each in (tab, other):
        await each.close()


async def test_a_session_gets_the_page_and_what_it_writes_steers_nothing(web: Web, tmp_path: Path) -> None:
    tab = await web.logged_in()
    await web.browser.grant(web.url.rstrip("/"), "clipboardReadWrite", "clipboardSanitizedWrite")
    title = await tab.ask("document.title")
    await tab.type("s")
    await tab.until_text("connecting to dev1.", "#")
    await tab.type("echo $((6*7)) $TERM; stty size")
    await tab.press("Enter")
    text = await tab.until_text("42 xterm-256color")
    await tab.picture(tmp_path / "session.png")
    assert "dev1." in text
    # Octal, as the shell of every image has it: a title, an answer to be typed, the clipboard, and a request for it.
    await tab.type(r"printf '\033]0;evil\007\033[21t\033]52;c;Y29waWVk\007\033]52;c;?\007\033[31mred\033[m\n'")
    await tab.press("Enter")
    await tab.until_text("red")
    assert await tab.ask("document.title") == title
    await tab.until("navigator.clipboard.readText().then((text) => window.copied = text) && window.copied === 'copied'")
    await tab.call("Input.insertText", text="echo pasted-$((1+1))")
    await tab.press("Enter")
    text = await tab.until_text("pasted-2")
    assert "Y29waWVk\x07" not in text
    assert not [
        line for line in text.splitlines() if line.startswith("~ # ") and "]52" in line and "printf" not in line
    ]
    await tab.type("exit")
    await tab.press("Enter")
    await tab.until_text("Sessions", "dev1", "RUNNING")
    assert tab.complaints == []
    await tab.close()


async def test_a_server_that_goes_and_comes_back_is_shown_and_the_page_goes_on(web: Web) -> None:
    tab = await web.logged_in()
    (server,) = [pid for pid, line in web.system.processes().items() if "netvps.programs.server" in line]
    os.kill(server, signal.SIGKILL)  # `netvps up` starts it again
    await tab.until_text("dev1", "! what you see is")
    await tab.until("!document.querySelector('.xterm-rows').innerText.includes('what you see is')")
    await tab.type("?")
    await tab.until_text("Keys")
    await tab.close()
