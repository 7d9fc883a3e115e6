"""The published schema of deployment files, and the example."""

from __future__ import annotations

import json
from pathlib import Path

from netvps.cli.deploy.file import read_deployment
from tests.cli.conftest import Run

ROOT = Path(__file__).parents[3]


def test_the_published_schema_is_current(run: Run) -> None:
    published = (ROOT / "docs/deployment.schema.json").read_text(encoding="utf-8")
    assert run("deploy", "schema").out == published, "run: netvps deploy schema > docs/deployment.schema.json"
    fields = json.loads(published)["$defs"]["ServiceFields"]
    assert fields["additionalProperties"] is False
    assert fields["required"] == ["image"]


def test_the_example_is_read(tmp_path: Path) -> None:
    example = (ROOT / "examples/deployment.yaml").read_text(encoding="utf-8")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/database").write_text("s3cret")
    (tmp_path / "deployment.yaml").write_text(example)
    web, database = read_deployment(str(tmp_path / "deployment.yaml"), {"NGINX_TAG": "1.29"}).services
    assert (web.image, web.env["DATABASE_PASSWORD"], database.idle_timeout) == ("nginx:1.29", "s3cret", 0.0)
