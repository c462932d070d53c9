"""docs/deployment.md: what it shows to be copied works, as far as that can be told without a cluster."""

import os
import re
import subprocess
from pathlib import Path

import yaml
from tls import check_files
from triton_diffusion import Tls
from triton_diffusion.gateway import Keys

from tests.support.manifests import KUBERNETES, ROOT, VERSION, kustomize, needs_kubectl

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


def run_in_bash(script: str, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=folder, env=os.environ | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_key_that_it_makes_opens_the_gateway(tmp_path):
    (step,) = re.findall(r"^(KEY=.*\nprintf .* > keys)$", GUIDE, re.MULTILINE)
    key = run_in_bash(f'{step}\necho "$KEY"', tmp_path)
    assert Keys(tmp_path / "keys").caller(f"Bearer {key}").name == "first-caller"


def test_the_certificates_that_it_makes_are_those_of_the_component(tmp_path):
    (script,) = re.findall(r"```bash\n(# An authority.*?)```", GUIDE, re.DOTALL)
    kubectl = tmp_path / "kubectl"  # keeps what goes into the Secret, in place of a cluster
    kubectl.write_text('#!/bin/sh\nmkdir "$6"\ncp tls.crt tls.key ca.crt "$6"\n')
    kubectl.chmod(0o755)
    run_in_bash(script, tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}")
    server, client = (tmp_path / f"triton-diffusion-{side}-tls" for side in ("server", "client"))
    check_files(server / "tls.crt", server / "tls.key", server / "ca.crt")
    Tls(client / "ca.crt", client / "tls.crt", client / "tls.key").context()
    for folder, name in ((server, "triton-diffusion-server-grpc"), (client, "triton-diffusion-client-grpc")):
        check = f"openssl verify -CAfile ca.crt -verify_hostname {name} tls.crt"
        assert run_in_bash(check, folder) == "tls.crt: OK"


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
