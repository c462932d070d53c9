"""docs/deployment.md: what it shows to be copied works, as far as that can be told without a cluster."""

import os
import re

import yaml

from tests.docker.manifests import KUBERNETES, ROOT, VERSION, kustomize, needs_kubectl

GUIDE = (ROOT / "docs/deployment.md").read_text()


def shown_file(name: str) -> str:
    """The block of the guide that begins with the comment `# name`."""
    (text,) = re.findall(rf"```yaml\n# {re.escape(name)}\n(.*?)```", GUIDE, re.DOTALL)
    return text


@needs_kubectl
def test_the_overlays_that_it_shows_render(tmp_path):
    for folder in ("deploy", "deploy/checkpoint"):
        (tmp_path / folder).mkdir()
        up = "../" * (folder.count("/") + 1)
        there = os.path.relpath(ROOT, (tmp_path / folder).resolve())
        text = shown_file(f"{folder}/kustomization.yaml").replace(f"{up}docker", f"{there}/docker")
        (tmp_path / folder / "kustomization.yaml").write_text(text)
    deployed, fetched = kustomize(tmp_path / "deploy"), kustomize(tmp_path / "deploy/checkpoint")

    images = re.findall(r"'image': '([^']+)'", str(deployed + fetched))
    assert len(images) == 4
    assert all(re.fullmatch(rf"registry.example.com/triton-diffusion-\w+:{VERSION}", image) for image in images)
    settings = [o["data"] for o in deployed + fetched if o["kind"] == "ConfigMap" and "CHECKPOINT" in o["data"]]
    assert settings[0]["CHECKPOINT"] == settings[1]["CHECKPOINT"]
    assert settings[0]["RUNTIME"] == "tensorrt"
    (claim,) = (o for o in deployed if o["kind"] == "PersistentVolumeClaim")
    assert claim["spec"]["storageClassName"] == "your-shared-storage-class"


@needs_kubectl
def test_its_first_step_makes_the_namespace_and_the_volume():
    (key, value) = re.search(r"--selector (\S+)=(\S+)", GUIDE).groups()
    chosen = [
        o["kind"] for o in kustomize(KUBERNETES / "overlays/gpu") if o["metadata"].get("labels", {}).get(key) == value
    ]
    assert sorted(chosen) == ["Namespace", "PersistentVolumeClaim"]


def test_every_part_that_it_lists_is_there_and_every_part_is_listed():
    table = GUIDE.partition("## Kubernetes")[2].split("| | |")[1].split("\n\n")[0]
    parts = {name for row in table.splitlines() for name in re.findall(r"`([\w./-]+)`", row.split(" | ")[0])}
    parts = {f"components/{part}" if part == "autoscaling-hpa" else part for part in parts}
    there = {str(path.parent.relative_to(KUBERNETES)) for path in KUBERNETES.rglob("kustomization.yaml")} - {"base"}
    assert parts == there | {"examples/kserve.yaml"}
    assert all(yaml.safe_load((KUBERNETES / part / "kustomization.yaml").read_text()) for part in there)
