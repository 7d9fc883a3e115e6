"""deploy/helm/netvps: helm and the schemas of Kubernetes accept it, and deploy/kubernetes is what it renders."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from netvps import __version__

ROOT = Path(__file__).parents[3]
CHART = ROOT / "deploy/helm/netvps"
RUNNER = ["runner.enabled=true", "runner.server=vps.example.org:7443", "runner.joinTokens.existingSecret=tokens"]
ALL = [
    *RUNNER,
    "apps.url=https://apps.example",
    "server.database.existingSecret=db",
    "podDisruptionBudget.enabled=true",
]
KINDS = {"ConfigMap", "Deployment", "NetworkPolicy", "PersistentVolumeClaim", "Service"}
OLDEST, NEWEST = "1.31", "1.37"


def _helm(*words: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("helm") is None:
        pytest.skip("helm is not installed: scripts/test installs it on amd64, as root")
    return subprocess.run(["helm", *words], capture_output=True, text=True, check=False, timeout=60)


def _set(values: list[str]) -> list[str]:
    return [word for value in values for word in ("--set", value)]


def rendered(values: list[str]) -> list[dict[str, Any]]:
    """The manifests of the chart with these values."""
    done = _helm("template", "netvps", str(CHART), "--namespace", "netvps", *_set(values))
    assert done.returncode == 0, done.stderr
    return [*yaml.safe_load_all(done.stdout)]


def test_the_chart_has_the_version_of_the_program() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


@pytest.mark.slow
@pytest.mark.parametrize(("values", "more"), [([], set()), (ALL, {"DaemonSet", "PodDisruptionBudget"})])
def test_helm_and_the_schemas_of_kubernetes_accept_it(values: list[str], more: set[str], tmp_path: Path) -> None:
    done = _helm("lint", "--strict", str(CHART), *_set(values))
    assert done.returncode == 0, done.stdout
    manifests = rendered(values)
    assert {one["kind"] for one in manifests} == KINDS | more
    file = tmp_path / "manifests.yaml"
    file.write_text(yaml.safe_dump_all(manifests))
    check = [sys.executable, "-m", "kubernetes_validate", "--strict", "-k", OLDEST, "-k", NEWEST, str(file)]
    checked = subprocess.run(check, capture_output=True, text=True, check=False, timeout=60)
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.count("passed") == 2 * len(manifests), checked.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["runner.enabled=true"], "runner.server: give HOST:PORT"),
        (["runner.enabled=true", "runner.server=a:1"], "runner.joinTokens.existingSecret: name the Secret"),
        (["server.replicas=2"], "additional properties 'replicas' not allowed"),
        (["service.sshPort=99999"], "/service/sshPort"),
        (["apps.url=http://apps.example"], "/apps/url"),
    ],
)
def test_values_that_cannot_work_are_refused_by_name(values: list[str], said: str) -> None:
    done = _helm("template", "netvps", str(CHART), *_set(values))
    assert done.returncode != 0
    assert said in done.stderr


@pytest.mark.slow
def test_the_plain_manifests_are_what_the_chart_renders() -> None:
    _helm("version")
    done = subprocess.run([ROOT / "scripts/manifests", "--check"], capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


@pytest.mark.slow
def test_no_pod_may_more_than_it_needs() -> None:
    pods = {one["kind"]: one["spec"]["template"]["spec"] for one in rendered(ALL) if "template" in one.get("spec", {})}
    for pod in pods.values():
        assert not pod["automountServiceAccountToken"]
        (container,) = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert not container["securityContext"]["allowPrivilegeEscalation"]
        assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
    assert pods["Deployment"]["securityContext"]["runAsNonRoot"]
    assert "add" not in pods["Deployment"]["containers"][0]["securityContext"]["capabilities"]
    assert not {"hostNetwork", "hostPID"} & pods["Deployment"].keys()
