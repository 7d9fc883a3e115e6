"""URLs of a session whose image has a web server: login, files, wake, and what the page of the docs says."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http import HTTPStatus
from urllib.parse import urlsplit

import pytest

from tests.e2e.documents.printed import run_printed, words_of
from tests.e2e.kills.faulty import until
from tests.e2e.system import System, docker, new_system, unique
from tests.project.doc_pages import run_lines

pytestmark = [pytest.mark.e2e, pytest.mark.docker]


BLOCKS = 16_384 if os.environ.get("NETVPS_FULL") else 200
"""Of 64 KiB: NETVPS_FULL=1 passes 1 GiB each way."""


class Web:
    """A system, an API key, and a session dev1 that serves files on port 8080, and what echoes on 3001."""

    def __init__(self, system: System, image: str) -> None:
        self.system, self.image = system, image
        self.key = system.netvps("user", "api-key", "create").stdout.decode().strip()

    def ask(
        self,
        target: str,
        host: str = "dev1.localhost",
        method: str = "GET",
        body: bytes | None = None,
        **headers: str,
    ) -> tuple[int, bytes]:
        """Status and body of a request."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.system.ports["apps"], timeout=90)) as connection:
            sent = {"Host": host} | {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, target, body, headers=sent)
            answer = connection.getresponse()
            self.last = dict(answer.getheaders())
            return answer.status, answer.read()

    def is_closed(self, target: str, host: str = "dev1.localhost", cookie: str = "") -> bool:
        """Whether a request is refused; one that was let in a moment before the change is broken."""
        try:
            return self.ask(target, host, Cookie=cookie)[0] == HTTPStatus.UNAUTHORIZED
        except ConnectionResetError:
            return False

    def generation(self) -> int:
        """How often what is wanted of the session has changed."""
        return int(json.loads(self.system.netvps("show", "dev1", "-o", "json").stdout)["generation"])

    def get(
        self, target: str, host: str = "dev1.localhost", method: str = "GET", body: bytes | None = None
    ) -> tuple[int, bytes]:
        """The same with the API key."""
        return self.ask(target, host, method, body, Netvps_Authorization=f"Bearer {self.key}")


@pytest.fixture(scope="module")
def web(busybox: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    image = unique("nve-web")
    serve = f"mkdir -p /www/cgi-bin && dd if=/dev/urandom of=/www/file bs=64k count={BLOCKS}"
    sums = 'printf "Content-Type: text/plain\\r\\n\\r\\n"; head -c "$CONTENT_LENGTH" | sha256sum'
    cgi = f"printf '#!/bin/sh\\n{sums}\\n' >/www/cgi-bin/sum && chmod +x /www/cgi-bin/sum"
    switch = "HTTP/1.1 101 S\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n\\r\\n"
    echo = f"printf '#!/bin/sh\\nprintf \"{switch}\"\\ncat\\n' >/echo && chmod +x /echo"
    command = "CMD nc -ll -p 3001 -e /echo & exec httpd -f -p 127.0.0.1:8080 -h /www"
    folder = tmp_path_factory.mktemp("image")
    (folder / "Dockerfile").write_text(f"FROM {busybox}\nRUN {serve}\nRUN {cgi}\nRUN {echo}\n{command}\n")
    docker("build", "-t", image, str(folder))
    system = new_system()
    try:
        system.up("--default-image", busybox)
        system.netvps("create", "dev1", "--image", image, "--entrypoint", "--wake", "always")
        yield Web(system, image)
    finally:
        system.destroy()
        docker("rmi", "-f", image, check=False)


def test_a_file_arrives_whole_in_both_directions(web: Web) -> None:
    status, body = web.get("/file")
    expected = web.system.netvps("ssh", "dev1", "--", "sha256sum", "/www/file").stdout.decode().split()[0]
    assert (status, hashlib.sha256(body).hexdigest()) == (200, expected)
    status, answer = web.get("/cgi-bin/sum", method="POST", body=body)
    assert (status, answer.split()[0].decode()) == (200, expected)


def test_a_browser_logs_in_by_a_url_once(web: Web) -> None:
    url = urlsplit(web.system.netvps("url", "dev1", "--login").stdout.decode().strip())
    assert url.netloc == f"dev1.localhost:{web.system.ports['apps']}"
    assert web.ask("/file", Sec_Fetch_Mode="navigate")[0] == 303
    assert web.last["Location"].startswith(f"http://login.localhost:{web.system.ports['apps']}/?host=dev1.localhost")
    assert web.ask(f"{url.path}?{url.query}")[0] == 303
    cookie = web.last["Set-Cookie"].partition(";")[0]
    assert web.ask("/file", Cookie=cookie)[0] == 200
    web.ask(f"{url.path}?{url.query}")
    assert "Set-Cookie" not in web.last


def test_who_may_not_and_what_does_not_exist(web: Web) -> None:
    assert web.ask("/file")[0] == 401
    assert web.ask("/file", Netvps_Authorization="Bearer nv_000000000000_" + 64 * "0")[0] == 401
    assert web.get("/", "dev9.localhost")[0] == 404
    status, body = web.get("/", "9999--dev1.localhost")
    assert status == 502
    assert b"nothing listens on port 9999" in body


def test_what_is_added_opens_a_port_until_it_is_removed(web: Web) -> None:
    web.system.netvps("url", "add", "dev1", "3001", "--public", "--until", "1h")
    web.system.netvps("url", "add", "dev1", "--name", "shop.example", "--public")
    assert web.ask("/file", "shop.example")[0] == 200
    assert b"shop.example:" in web.system.netvps("show", "dev1").stdout
    with socket.create_connection(("127.0.0.1", web.system.ports["apps"]), 30) as client:
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: 3001--dev1.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        assert client.recv(999).startswith(b"HTTP/1.1 101 ")
        client.sendall(b"!")
        received = b""  # the head, too, is echoed
        while not received.endswith(b"!"):
            received += client.recv(999)
        web.system.netvps("url", "rm", "dev1", "3001")
        with pytest.raises(ConnectionResetError):
            client.recv(9)
    web.system.netvps("url", "rm", "dev1", "shop.example")
    until("the name is closed", lambda: web.is_closed("/file", "shop.example"))


def test_a_link_opens_a_port_without_an_account(web: Web) -> None:
    url = urlsplit(web.system.netvps("url", "dev1", "--link", "--until", "1h").stdout.decode().strip())
    for _ in range(2):
        assert web.ask(f"{url.path}?{url.query}")[0] == 303
    assert (web.last["Location"], web.last["Referrer-Policy"]) == ("/", "no-referrer")
    cookie = web.last["Set-Cookie"].partition(";")[0]
    assert web.ask("/file", Cookie=cookie)[0] == 200
    listed = json.loads(web.system.netvps("url", "ls", "dev1", "-o", "json").stdout)
    (link,) = (url for url in listed if url["audience"] == "URL_AUDIENCE_LINK")
    web.system.netvps("url", "rm", "dev1", link["name"].rpartition("/")[2])
    until("the link is closed", lambda: web.is_closed("/file", cookie=cookie))


def test_many_requests_at_once_start_a_stopped_session_once(web: Web) -> None:
    web.system.netvps("stop", "dev1", timeout=300)
    stopped = web.generation()
    assert web.get("/file", method="HEAD")[0] == 503
    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(lambda _: web.get("/file")[0], range(20)))
    assert statuses == [200] * 20
    assert web.generation() == stopped + 1


def test_the_page(web: Web, busybox: str) -> None:
    for line in run_lines("docs/http.md"):
        run_printed(web.system, words_of(line, web.system, busybox))


DEPLOYMENT = """\
deployment: shop
services:
  web:
    image: {image}
    command: [sh, -c, 'echo "$WORD" > /www/word; exec httpd -f -p 8080 -h /www']
    environment: {{WORD_FILE: word}}
    port: 8080
    route: {{public: true}}
    health: {{path: {path}, timeout: 20s}}
"""


def test_a_deployment_stays_online_while_it_changes(web: Web, busybox: str) -> None:
    """As its page says: apply, change, a change that is never healthy, restart, remove."""
    system, home, lines = web.system, web.system.home, run_lines("docs/deployments.md")
    (home / "deployment.yaml").write_text(DEPLOYMENT.format(image=web.image, path="/word"))
    (home / "word").write_text("one")

    def run_page(end: str) -> bytes:
        printed = b""
        while lines:
            line = lines.pop(0)
            printed += run_printed(system, words_of(line, system, busybox)).stdout
            if line == end:
                break
        return printed

    def word() -> tuple[int, bytes]:
        return web.ask("/word", "shop-web.localhost")

    assert b"+ web" in run_page("netvps deploy status shop")
    assert word() == (200, b"one\n")
    (home / "word").write_text("two")
    planned = system.netvps("deploy", "plan", "-o", "json", cwd=home).stdout
    done, answers = threading.Event(), []

    def keep_asking() -> None:
        while not done.is_set():
            answers.append(word())

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(keep_asking)
        try:
            system.netvps("deploy", "apply", "--at", json.loads(planned)["revision"], cwd=home)
        finally:
            done.set()
        asking.result()
    assert {*answers} <= {(200, b"one\n"), (200, b"two\n")}
    until("the new word", lambda: word() == (200, b"two\n"))
    (home / "deployment.yaml").write_text(DEPLOYMENT.format(image=web.image, path="/none").replace("20s", "1s"))
    (home / "word").write_text("three")
    failed = system.netvps("deploy", "apply", "--yes", cwd=home, check=False).stderr
    assert b"GET /none: 404" in failed
    assert b"the old container stays" in failed
    assert word() == (200, b"two\n")
    assert b"three" not in planned + failed
    assert b"shop" in run_page("netvps deploy restart shop")
    assert word() == (200, b"two\n")
    run_page("")
    assert b"shop" not in system.netvps("ls").stdout
