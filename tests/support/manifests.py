"""Renders the Kustomize folders as a user would, and finds what a test asks for in them."""

import functools
import os
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "docker/kubernetes"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

OVERLAYS = ("cpu", "gpu", "gpu-mig")
# Each overlay alone; with every component that works beside the others; and what is applied by itself.
RENDERINGS = (
    *OVERLAYS,
    *(f"{overlay} monitoring ingress autoscaling-{scaler}" for overlay in OVERLAYS for scaler in ("keda", "hpa")),
    *(f"{overlay} tls monitoring" for overlay in OVERLAYS),
    "checkpoint",
    "kserve",
)
Object = dict[str, Any]

needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl to render with")


@functools.cache
def render(rendering: str) -> tuple[Object, ...]:
    """The objects of one of RENDERINGS: an overlay and its components, or something beside the overlays."""
    name, *components = rendering.split()
    if name == "kserve":
        return tuple(yaml.safe_load_all((KUBERNETES / "examples/kserve.yaml").read_text()))
    if not components:
        return kustomize(KUBERNETES / ("overlays" if name in OVERLAYS else "") / name)
    with tempfile.TemporaryDirectory() as folder:
        kustomization = {
            "resources": [os.path.relpath(KUBERNETES / "overlays" / name, Path(folder).resolve())],
            "components": [os.path.relpath(KUBERNETES / "components" / c, Path(folder).resolve()) for c in components],
        }
        Path(folder, "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return kustomize(Path(folder))


def kustomize(folder: Path) -> tuple[Object, ...]:
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


@dataclass(frozen=True)
class Workload:
    """A Deployment, Job or InferenceService, by what its pods are."""

    owner: Object
    labels: dict[str, str]
    pod: Object

    @property
    def name(self) -> str:
        """server, gateway or checkpoint"""
        return self.labels["app.kubernetes.io/component"]

    @property
    def containers(self) -> list[Object]:
        return [*self.pod.get("initContainers", []), *self.pod["containers"]]

    def volume(self, name: str) -> Object:
        (volume,) = (volume for volume in self.pod["volumes"] if volume["name"] == name)
        return volume


def workloads(rendering: str) -> Iterator[Workload]:
    for owner in render(rendering):
        if owner["kind"] in ("Deployment", "Job"):
            template = owner["spec"]["template"]
            yield Workload(owner, template["metadata"]["labels"], template["spec"])
        elif owner["kind"] == "InferenceService":
            yield Workload(owner, owner["spec"]["predictor"]["labels"], owner["spec"]["predictor"])


def workload(rendering: str, name: str) -> Workload:
    (found,) = (workload for workload in workloads(rendering) if workload.name == name)
    return found


def find(rendering: str, kind: str, name: str | None = None) -> Object:
    """The one object of `kind`, and of `name` where there are several."""
    (found,) = (o for o in render(rendering) if o["kind"] == kind and name in (None, o["metadata"]["name"]))
    return found


def arguments(rendering: str, container: Object) -> list[str]:
    """The arguments of `container`, what it takes from its ConfigMaps put in."""
    values: dict[str, str] = {}
    for source in container.get("envFrom", []):
        values |= find(rendering, "ConfigMap", source["configMapRef"]["name"])["data"]
    filled = container["args"]
    for name, value in values.items():
        filled = [argument.replace(f"$({name})", value) for argument in filled]
    assert not any("$(" in argument for argument in filled), filled
    return filled


def quantity(text: str) -> float:
    """A Kubernetes quantity, such as 500m or 4Gi."""
    units = {"m": 1e-3, "Mi": 2.0**20, "Gi": 2.0**30}
    number = text.rstrip("miMG")
    return float(number) * units.get(text.removeprefix(number), 1)
