"""The images for machines without a GPU, built and run for real: as their own user, on a read-only root file system."""

import base64
import io
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from tests.support.containers import Container, Image, Pod, build, needs_containers
from tests.support.launching import COMMAND
from tests.support.manifests import VERSION

pytestmark = [pytest.mark.slow, needs_containers, pytest.mark.xdist_group("containers")]

SECRETS = "/run/secrets"
GATEWAY = ("gateway", "--host=0.0.0.0", "--url=127.0.0.1:8001", f"--keys={SECRETS}/api-keys")
CURL = ("curl", "--silent", "--show-error", "--max-time", "60", "--write-out", "\n%{http_code}")


@pytest.fixture(scope="module")
def server_image() -> Image:
    return build(f"server:{VERSION}-cpu", "cpu.Dockerfile", "server")


@pytest.fixture(scope="module")
def exporter_image() -> Image:
    return build(f"exporter:{VERSION}-cpu", "cpu.Dockerfile", "exporter")


@pytest.fixture(scope="module")
def gateway_image() -> Image:
    return build(f"gateway:{VERSION}", "gateway.Dockerfile")


@pytest.fixture
def pod() -> Iterator[Pod]:
    pod = Pod()
    yield pod
    pod.end()


@dataclass(frozen=True)
class Service:
    """A server and the gateway before it."""

    pod: Pod
    server: Container
    gateway: Container
    key: str

    def ask(self, key: str | None, **body: object) -> tuple[int, dict[str, object]]:
        """Status and body of the gateway's answer to a request for an image."""
        body = {"prompt": "a red circle", "response_format": "b64_json", **body}
        headers = ["Content-Type: application/json", *([f"Authorization: Bearer {key}"] if key else [])]
        arguments = [part for header in headers for part in ("--header", header)]
        url = "http://127.0.0.1:8080/v1/images/generations"
        printed = self.pod.run(*CURL, *arguments, "--data", json.dumps(body), url)
        answer, _, status = printed.rpartition("\n")
        return int(status), json.loads(answer)


@pytest.fixture(scope="module")
def service(server_image: Image, gateway_image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    secrets = tmp_path_factory.mktemp("secrets")
    secrets.chmod(0o755)
    pod = Pod()
    try:
        key = new_key(secrets)
        server = pod.start(server_image)
        gateway = pod.start(gateway_image, *GATEWAY, volumes={secrets: SECRETS})
        server.wait_for("ready: ")
        gateway.wait_for("Application startup complete")
        yield Service(pod, server, gateway, key)
    finally:
        pod.end()


def new_key(folder: Path) -> str:
    """An API key, whose hash the file api-keys in `folder` holds."""
    command = [*COMMAND, "gateway-key", "test", f"--keys={folder}/api-keys"]
    key = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    (folder / "api-keys").chmod(0o644)
    return key


def test_an_image_comes_out_of_the_gateway_for_who_has_a_key(service):
    status, answer = service.ask(service.key, seed=7)
    assert status == 200, answer
    pixels = np.asarray(Pillow.open(io.BytesIO(base64.b64decode(answer["data"][0]["b64_json"]))).convert("RGB"))
    assert pixels.shape == (128, 128, 3)
    red, green, blue = np.moveaxis(pixels.astype(int), -1, 0)
    assert ((red > 150) & (green < 100) & (blue < 100)).mean() > 0.02, "the circle"


def test_nobody_else_gets_one(service):
    assert service.ask(None)[0] == 401
    assert service.ask("not a key")[0] == 401


def test_the_health_checks_answer(service):
    assert service.server.is_healthy()
    assert service.gateway.is_healthy()


def test_the_containers_are_not_root_and_write_to_scratch_space_only(service):
    for container in (service.server, service.gateway):
        assert container.execute("id", "-u").stdout == "1000\n"
        assert "Read-only file system" in container.execute("touch", "/opt/new").stderr
        assert container.execute("find", "/tmp", "/dev/shm", "-type", "f", "-perm", "/111").stdout == ""
        assert "icrosoft" not in container.execute("find", "/tmp").stdout, "ONNX Runtime keeps there what it reports"


def test_the_images_hold_what_they_need_and_no_more(service, server_image, gateway_image, exporter_image):
    script = "import sys; from importlib.util import find_spec; print(*filter(find_spec, sys.argv[1:]))"
    libraries = ("numpy", "onnxruntime", "tokenizers", "gradio", "torch", "diffusers", "huggingface_hub", "pip")
    found = [c.execute("python3", "-c", script, *libraries).stdout.split() for c in (service.server, service.gateway)]
    assert found[0] == ["numpy", "onnxruntime", "tokenizers"]
    assert not {"onnxruntime", "torch", "diffusers", "pip"} & {*found[1]}
    print(f"server {server_image.size}, exporter {exporter_image.size}, gateway {gateway_image.size}")
    for image in (server_image, gateway_image, exporter_image):
        assert image.settings["User"] == "1000:1000"
        assert image.settings["Labels"]["org.opencontainers.image.version"] == VERSION


def test_a_server_that_is_told_to_end_ends_well(pod, server_image):
    server = pod.start(server_image)
    server.wait_for("ready: ")
    server.stop()
    assert server.wait() == 0


def test_too_small_a_shared_memory_is_told_with_the_option_to_enlarge_it(pod, server_image):
    server = pod.start(server_image, shm_size="64m")
    assert server.wait() == 1
    assert "--shm-size" in server.log


def test_the_exporter_fills_a_volume_once_and_the_server_serves_it(pod, exporter_image, server_image, tmp_path):
    os.chown(tmp_path, 1000, 1000)
    models = {tmp_path: "/models"}
    first, second = (pod.start(exporter_image, volumes=models) for _ in range(2))
    assert (first.wait(600), second.wait(600)) == (0, 0), first.log + second.log
    assert sorted("is there" in container.log for container in (first, second)) == [False, True]
    assert (tmp_path / "repository").resolve().parent == tmp_path
    server = pod.start(
        server_image, "--repository=/models/repository", "--host=0.0.0.0", "--metrics-host=0.0.0.0", volumes=models
    )
    server.wait_for("ready: ")


def test_the_page_is_served(pod, gateway_image):
    page = pod.start(gateway_image, "serve-web", "--host=0.0.0.0", "--url=127.0.0.1:8001")
    page.wait_for("the page is at")
    assert pod.run(*CURL, "http://127.0.0.1:7860/").endswith("\n200")
