"""The launcher: ready only when everything is, one line when something is wrong, nothing lost when it stops."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE

import pytest
from triton_diffusion import Client, ServerUnavailable

from tests.support.launching import LAUNCHER, launch, wait_until_ready
from tests.support.processes import processes_of_models

PROMPT = "a red circle"


@pytest.fixture
def repository(shipped_repository: Path, tmp_path: Path) -> Path:
    """A copy of the served repository, to be damaged."""
    return shutil.copytree(shipped_repository, tmp_path / "model_repository")


@pytest.fixture
def start(request):
    """Start a launcher that is gone when the test ends, however it ends."""

    def run(*arguments, **keywords):
        launcher = launch(*arguments, **keywords)
        request.addfinalizer(launcher.wait)
        request.addfinalizer(launcher.kill)
        return launcher

    return run


def last_words(launcher: subprocess.Popen[str]) -> str:
    """The launcher's last line when it gives up, which must take less than 30 seconds."""
    out, err = launcher.communicate(timeout=30)
    assert launcher.returncode == 1
    assert out == ""
    assert err.startswith("launcher: ")
    assert err.count("\n") == 1, err
    return err


def test_a_repository_never_exported_names_the_command_that_writes_it(start, tmp_path):
    assert "write the repository with `python -m export CHECKPOINT`" in last_words(start(tmp_path, stderr=PIPE))


def test_a_repository_without_its_list_of_networks_is_told(start, repository):
    (repository / "diffusion/1/checkpoint.json").write_text("{}")
    said = last_words(start(repository, stderr=PIPE))
    assert "checkpoint.json is missing or lists no networks: write the repository" in said


def test_a_missing_model_is_named(start, repository):
    shutil.rmtree(repository / "vae_decoder")
    assert "vae_decoder is missing" in last_words(start(repository, stderr=PIPE))


def test_a_corrupt_model_is_named_with_what_to_do(start, repository):
    model = repository / "denoiser/1/model.onnx"
    model.write_bytes(model.read_bytes()[: model.stat().st_size // 2])
    said = last_words(start(repository, stderr=PIPE))
    assert "model denoiser does not load" in said
    assert "python -m export" in said


def test_an_occupied_port_is_named_with_its_option(start, repository):
    with socket.create_server(("127.0.0.1", 0)) as occupier:
        port = occupier.getsockname()[1]
        said = last_words(start(repository, f"--grpc-port={port}", stderr=PIPE))
    assert f"cannot listen on 127.0.0.1:{port}" in said
    assert "--grpc-port" in said


@pytest.mark.skipif(
    subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0,
    reason="may not mount a small /dev/shm of its own here",
)
def test_too_small_a_shared_memory_is_told_with_the_option_to_enlarge_it(repository):
    script = f"mount -t tmpfs -o size=64m tmpfs /dev/shm && exec {sys.executable} {LAUNCHER} --repository {repository}"
    unshared = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, timeout=30)
    assert unshared.returncode == 1
    assert unshared.stderr.startswith("launcher: /dev/shm has 64 MiB free")
    assert "--shm-size" in unshared.stderr


def test_a_stopped_server_first_finishes_what_it_has_begun(start, shipped_repository):
    launcher = start(shipped_repository)
    server = wait_until_ready(launcher)
    images = []
    with Client(server.grpc_url) as client:
        asking = threading.Thread(target=lambda: images.extend(client.text_to_image(PROMPT, num_inference_steps=300)))
        asking.start()
        while server.metric("diffusion_active_samples") == 0:
            time.sleep(0.01)
        launcher.terminate()
        time.sleep(1)  # it looks for signals five times a second
        with pytest.raises(ServerUnavailable):
            client.text_to_image(PROMPT, num_inference_steps=1)
        asking.join()
    assert len(images) == 1
    assert launcher.wait(timeout=60) == 0


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back(start, shipped_repository):
    server = wait_until_ready(start(shipped_repository, "--max-queue=2"))
    with (
        Client(server.grpc_url) as client,
        Client(server.http_url, "http", retries=0) as other,
        ThreadPoolExecutor() as pool,
    ):
        many = [pool.submit(client.text_to_image, PROMPT, num_images=n, num_inference_steps=40) for n in (8, 8, 2)]
        while server.metric("diffusion_requests_in_flight") < 3:
            time.sleep(0.01)
        with pytest.raises(ServerUnavailable, match=r"the queue is full \(2 images wait\): try again in \d+ s"):
            other.text_to_image(PROMPT)
        assert [len(asked.result()) for asked in many] == [8, 8, 2]
        assert len(other.text_to_image(PROMPT)) == 1
    assert server.metric("diffusion_requests_total") == 5


@pytest.mark.parametrize("model", ["denoiser", "diffusion", "text_to_image"])
def test_a_model_whose_process_dies_is_back_soon_and_every_request_ends(start, shipped_repository, model):
    launcher = start(shipped_repository, stderr=PIPE)
    server = wait_until_ready(launcher)
    with Client(server.grpc_url, retries=0) as client, ThreadPoolExecutor() as pool:
        lost = [pool.submit(client.text_to_image, PROMPT, num_inference_steps=1000) for _ in range(4)]
        while server.metric("diffusion_active_samples") < 4:
            time.sleep(0.01)
        os.kill(processes_of_models(launcher.pid)[model], signal.SIGKILL)
        for asked in lost:
            assert isinstance(asked.exception(timeout=30), ServerUnavailable)
        assert wait_until_ready(launcher) == server, "at the same addresses"
        assert client.text_to_image(PROMPT, num_inference_steps=1)
    launcher.terminate()
    _, said = launcher.communicate(timeout=60)
    assert f"launcher: the process of model {model} has died: starting Triton again\n" in said
    assert shared_memory_of(launcher) == []


def shared_memory_of(launcher: subprocess.Popen[str]) -> list[Path]:
    """Regions of shared memory that a launcher has left behind."""
    return list(Path("/dev/shm").glob(f"triton_diffusion_{launcher.pid}_*"))


def test_a_killed_launcher_leaves_no_server_behind(start, shipped_repository):
    launcher = start(shipped_repository)
    server = wait_until_ready(launcher)
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    host, port = server.http_url.split(":")
    deadline = time.monotonic() + 30
    while socket.socket().connect_ex((host, int(port))) == 0:
        assert time.monotonic() < deadline
        time.sleep(0.2)
