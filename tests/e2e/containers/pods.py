"""Pods of the chart, run by Docker with what their manifests say, as a kubelet would: users, mounts, probes."""

from __future__ import annotations

import os
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

Manifest = dict[str, Any]


def start(name: str, pod: Manifest, published: dict[str, int], folders: dict[str, Path], node: str = "node1") -> None:
    """Starts the pod's one container as the container `name`.

    `published` has a port of this machine for ports of the container, by their names; `folders` has the volumes that a
    cluster would provide (claims, config maps, secrets, empty folders), by their names.
    """
    (container,) = pod["containers"]
    context = pod.get("securityContext", {})
    group = context.get("fsGroup", 0)
    words = ["docker", "run", "-d", "--name", name, *_privileges(container["securityContext"])]
    if "runAsUser" in context:
        words += ["--user", f"{context['runAsUser']}:{context['runAsGroup']}", "--group-add", str(group)]
    words += ["--network", "host"] if pod.get("hostNetwork") else []
    words += ["--pid", "host"] if pod.get("hostPID") else []
    for port in container.get("ports", ()):
        if here := published.get(port["name"]):
            words += ["-p", f"127.0.0.1:{here}:{port['containerPort']}"]
    for one in container["env"]:
        value = one.get("value", node).replace("$(NODE_NAME)", node)
        words += ["-e", f"{one['name']}={value}"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for mount in container["volumeMounts"]:
        words += _mount(mount, volumes[mount["name"]], folders, group)
    subprocess.run([*words, container["image"]], check=True, capture_output=True, timeout=60)


def _privileges(context: Manifest) -> list[str]:
    words = ["--read-only"] if context["readOnlyRootFilesystem"] else []
    words += [] if context["allowPrivilegeEscalation"] else ["--security-opt", "no-new-privileges"]
    for verb, names in context["capabilities"].items():
        words += [word for name in names for word in (f"--cap-{verb}", name)]
    return [*words, "--user", str(context["runAsUser"])] if "runAsUser" in context else words


def _mount(mount: Manifest, volume: Manifest, folders: dict[str, Path], group: int) -> list[str]:
    """A kubelet gives what it provides to the group of the pod, and not to the user."""
    if "hostPath" in volume:
        source = Path(volume["hostPath"]["path"])
        if volume["hostPath"]["type"] == "DirectoryOrCreate":
            source.mkdir(parents=True, exist_ok=True)
    else:
        source = folders[volume["name"]]
        os.chown(source, 0, group)
        source.chmod(0o2777 if "emptyDir" in volume else 0o2775)
    return ["-v", f"{source}:{mount['mountPath']}{':ro' if mount.get('readOnly') else ''}"]


def await_ready(name: str, pod: Manifest, published: dict[str, int], limit: int = 120) -> None:
    """Until the readiness probe succeeds; asked each fifth of a second."""
    probe = pod["containers"][0]["readinessProbe"]
    if "exec" in probe:
        command = ["docker", "exec", name, *probe["exec"]["command"]]
    else:
        port = published[probe["httpGet"]["port"]]
        command = ["curl", "-fsS", f"http://127.0.0.1:{port}{probe['httpGet']['path']}"]
    script = 'until "$@"; do sleep 0.2; done'
    waited = ["timeout", str(limit), "sh", "-c", script, "sh", *command]
    done = subprocess.run(waited, capture_output=True, check=False)
    assert done.returncode == 0, _logs(name)


def _logs(name: str) -> str:
    return subprocess.run(["docker", "logs", name], capture_output=True, check=False, timeout=30).stderr.decode()


def is_alive(pod: Manifest, published: dict[str, int]) -> bool:
    """Whether the liveness probe succeeds now."""
    probe = pod["containers"][0]["livenessProbe"]
    if "tcpSocket" in probe:
        with suppress(OSError), socket.create_connection((probe["tcpSocket"]["host"], probe["tcpSocket"]["port"]), 5):
            return True
        return False
    url = f"http://127.0.0.1:{published[probe['httpGet']['port']]}{probe['httpGet']['path']}"
    return subprocess.run(["curl", "-fsS", url], capture_output=True, check=False, timeout=30).returncode == 0
