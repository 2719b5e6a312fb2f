"""The examples of clusters: what they run exists, and their files are of the right kind."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
from ruamel.yaml import YAML

from curate import __version__
from curate.cli.app import app
from curate.source import parse_size

FOLDER = Path(__file__).parent.parent / "manifests" / "cluster"


def read(name: str) -> Any:
    return YAML(typ="safe").load(FOLDER / name)


def commands() -> list[str]:
    """Return every command line of ours, wherever it stands."""
    found = [read("kuberay.yaml")["spec"]["entrypoint"]]
    for name in ("aws.yaml", "README.md"):
        found += re.findall(r"(?<![`\w])curate run [^'`\n]+ --out [^'`\n]+", (FOLDER / name).read_text())
    return found


def test_every_command_is_one_that_the_program_takes() -> None:
    lines = commands()
    assert len(lines) == 3
    command = typer.main.get_command(app)
    assert hasattr(command, "commands")
    for line in lines:
        name, *given = shlex.split(line)[1:]
        taken = command.commands[name].make_context(name, given).params
        assert (taken["engine"], taken["address"]) == ("ray", "auto")
        assert taken["out"] is not None
        assert parse_size(taken["memory"]) == 48 * 10**9


def test_the_kubernetes_job_holds_together() -> None:
    job = read("kuberay.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    images = set()
    for group in groups:
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            images.add(container["image"])
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
            assert container["resources"]["limits"] == container["resources"]["requests"]
            assert "AWS" not in str(container.get("env"))
    assert len(images) == 1
    mounts = cluster["headGroupSpec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert shlex.split(job["spec"]["entrypoint"])[2].startswith(mounts[0]["mountPath"] + "/")


def test_the_launchers_file_is_what_ray_takes() -> None:
    found = read("aws.yaml")
    assert found["head_node_type"] in found["available_node_types"]
    assert f"curate[ray,s3]=={__version__}" in str(found["setup_commands"])
    spec = importlib.util.find_spec("ray")
    if spec is None or spec.origin is None:
        pytest.skip("Ray, which has the schema, is not installed (the extra ray)")
    schema = json.loads((Path(spec.origin).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(found, schema)
