"""Deployment files: what they mean, and each mistake with its line and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from netvps.cli.deploy.file import read_deployment
from netvps.domain.deployment.service import Route, Service
from netvps.domain.http.stored import Audience
from netvps.errors import InvalidInput

FULL = """\
deployment: shop
services:
  web:
    image: nginx:${TAG}
    command: [serve, --port, 8080]
    environment:
      MODE: production
      VERSION: 1.10
      API_KEY_FILE: secrets/api
    memory: 512M
    cpus: 1.5
    port: 8080
    route:
      host: Bücher.example
      share: [bob, ann]
    idle_timeout: 30m
    health:
      path: /healthz
      timeout: 20
  queue:
    image: redis:8
    idle_timeout: never
"""


def written(tmp_path: Path, text: str) -> str:
    (tmp_path / "secrets").mkdir(exist_ok=True)
    (tmp_path / "secrets/api").write_text("s3cret\n")
    (tmp_path / "empty").write_text("")
    file = tmp_path / "deployment.yaml"
    file.write_text(text)
    return str(file)


def test_a_file_says_all_of_a_service(tmp_path: Path) -> None:
    deployment = read_deployment(written(tmp_path, FULL), {"TAG": "1.29"})
    web, queue = deployment.services
    assert deployment.name == "shop"
    assert web == Service(
        "web", "nginx:1.29", ("serve", "--port", "8080"),
        {"MODE": "production", "VERSION": "1.10", "API_KEY": "s3cret"}, 1.5, 512 << 20, 8080,
        Route("xn--bcher-kva.example", Audience.USERS, ("bob", "ann")), 1800.0, "/healthz", 20.0,
    )  # fmt: skip
    assert queue == Service("queue", "redis:8", idle_timeout=0.0)
    spec = deployment.spec_of(web)
    assert (spec.run_entrypoint, spec.sleep.pause_after, spec.sleep.stop_after) == (True, 0.0, 1800.0)
    assert spec.labels == {"netvps/deployment": "shop", "netvps/service": "web", "netvps/port": "8080"}


def test_variables_override_fields_of_services(tmp_path: Path) -> None:
    environ = {"TAG": "1", "NETVPS_SERVICE_WEB_MEMORY": "1G", "NETVPS_SERVICE_QUEUE_IMAGE": "valkey:8"}
    web, queue = read_deployment(written(tmp_path, FULL), environ).services
    assert (web.memory_bytes, queue.image) == (1 << 30, "valkey:8")
    with pytest.raises(
        InvalidInput, match=r"^environment NETVPS_SERVICE_WEB_CPUS: services\.web\.cpus: write a number"
    ):
        read_deployment(written(tmp_path, FULL), {"TAG": "1", "NETVPS_SERVICE_WEB_CPUS": "many"})
    for name in ("NETVPS_SERVICE_WBE_IMAGE", "NETVPS_SERVICE_WEB_ROUTE"):
        with pytest.raises(
            InvalidInput, match=rf"^environment {name}: this overrides nothing of .*NETVPS_SERVICE_WEB_"
        ):
            read_deployment(written(tmp_path, FULL), {"TAG": "1", name: "x"})


def test_no_value_of_a_variable_is_in_an_error(tmp_path: Path) -> None:
    (tmp_path / "big").write_text("hunter2" * 9000)
    text = "deployment: a\nservices:\n  b:\n    image: i\n    environment: {A-B: hunter2, C: ${S}, D_FILE: big}\n"
    with pytest.raises(InvalidInput) as caught:
        read_deployment(written(tmp_path, text), {"S": "hunter2\0"})
    assert len(caught.value.violations) == 3 - 1 + 1 or "hunter2" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


HEAD = "deployment: a\nservices:\n  b:\n    image: i\n"
BAD = [
    ("- a", "1: write keys and values below it"),
    ("deployment: a", "1: services: it is missing: give it"),
    ("deployment: A\nservices: {b: {image: i}}", "1: deployment: a name is of a-z, 0-9 and '-', for example web"),
    ("deployment: a\nservices: {}", "2: services: dictionary should have at least 1 item"),
    ("deployment: a\nservices:\n  B!: {image: i}", "3: services.B!: a name is of a-z, 0-9 and '-', for example web"),
    ("deployment: a\nservices:\n  b: {}", "3: services.b.image: it is missing: give it"),
    ("deployment: a\nservices:\n  b: nginx", "3: services.b: write keys and values below it"),
    ("name: a\n" + HEAD, "1: name: unknown key: known are deployment, services"),
    (HEAD + "    memry: 1G", "5: services.b.memry: unknown key: did you mean memory"),
    (HEAD + "    mem_limit: 1G", "5: services.b.mem_limit: unknown key: it is called memory"),
    (HEAD + "    volumes: []", "5: services.b.volumes: unknown key: a session has none"),
    (HEAD + "    route: {hots: x}", "5: services.b.route.hots: unknown key: did you mean host"),
    (HEAD + "    health: {pth: /}", "5: services.b.health.pth: unknown key: did you mean path"),
    (HEAD + "    memory: lots", "5: services.b.memory: 'lots' is not a size: give a number and K, M, G or T"),
    (HEAD + "    memory: 1M", "5: services.b.memory: 1048576 is less than 6291456 (6 MiB)"),
    (HEAD + "    cpus: many", "5: services.b.cpus: write a number, for example 1.5"),
    (HEAD + "    cpus: 0.001", "5: services.b.cpus: 0.001 is not between"),
    (HEAD + "    port: http", "5: services.b.port: write a whole number"),
    (HEAD + "    port: 70000", "5: services.b.port: input should be less than or equal to 65535"),
    (HEAD + "    command: nginx -g", "5: services.b.command: write a list, for example [serve, --port, '8080']"),
    (HEAD + "    environment:\n      DEBUG: true", "6: services.b.environment.DEBUG: write text, in quotes if"),
    (HEAD + "    environment:\n      A-B: x", "6: services.b.environment.A-B: a name is letters, digits and '_'"),
    (HEAD + "    environment:\n      K_FILE: none", "cannot be read: No such file or directory; K gets the content"),
    (HEAD + "    environment:\n      K_FILE: empty", "is empty: write the secret into it; K gets the content"),
    (HEAD + "    environment: {K: x, K_FILE: empty}", "5: services.b.environment.K_FILE: K is given, too: give one"),
    (HEAD + "    idle_timeout: soon", "5: services.b.idle_timeout: 'soon' is not a time: give for example 30s"),
    (HEAD + "    idle_timeout: 1s", "5: services.b.idle_timeout: 1 seconds are not between 30 seconds and 365 days"),
    (HEAD + "    health: {path: x}", "5: services.b.health.path: write a path, for example /healthz"),
    (HEAD + "    health: {path: /x}", "5: services.b.health: it needs the port where the service listens: give port"),
    (HEAD + "    route: {public: true}", "5: services.b.route: it needs the port where the service listens: give port"),
    (HEAD + "    port: 80\n    route: {public: true, members: true}", "6: services.b.route: public, members and share"),
    (HEAD + "    port: 80\n    route: {public: 'so'}", "6: services.b.route.public: write true or false"),
    (HEAD + "    port: 80\n    route: {host: '*.x'}", "6: services.b.route.host: '*.x' is no name of a host"),
    (HEAD.replace("i\n", "'I !'\n"), "4: services.b.image: 'I !' is not an image reference"),
    (HEAD.replace(" b:", f" {'b' * 30}:").replace(": a\n", ": abc\n"), "have more than 32 characters together"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), BAD, ids=lambda value: value[-40:])
def test_each_mistake_has_its_line_and_its_remedy(tmp_path: Path, text: str, said: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(InvalidInput) as caught:
        read_deployment(file, {})
    assert len(caught.value.violations) == 1
    assert str(caught.value).startswith(file)
    assert said in str(caught.value)


def test_all_mistakes_come_at_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_deployment(written(tmp_path, HEAD + "    memry: 1\n    prt: 2\n"), {})
    assert [one.field.rpartition(" ")[2] for one in caught.value.violations] == ["services.b.memry", "services.b.prt"]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"#" * (300 << 10))
    words = {
        "none": "cannot be read (No such file or directory)",
        "binary": "is not UTF-8",
        "large": "larger than 256 KiB",
    }
    for name, said in words.items():
        with pytest.raises(InvalidInput) as caught:
            read_deployment(str(tmp_path / name), {})
        assert said in str(caught.value)
        assert str(caught.value).endswith("name a deployment file with -f")
