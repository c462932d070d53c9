"""The launcher: ready only when everything is, one line when something is wrong, nothing lost when it stops."""

import resource
import shutil
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

from tests.support.launched import last_words
from tests.support.launching import LAUNCHER, free_ports, wait_until_ready

PROMPT = "a red circle"
MAY_MOUNT = subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


@pytest.fixture
def repository(shipped_repository: Path, tmp_path: Path) -> Path:
    """A copy of the served repository, to be damaged."""
    return shutil.copytree(shipped_repository, tmp_path / "model_repository")


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
    assert "model diffusion does not load" in said
    assert "denoiser/1/model.onnx" in said
    assert "python -m export" in said


def test_an_occupied_port_is_named_with_its_option(start, repository):
    with socket.create_server(("127.0.0.1", 0)) as occupier:
        port = occupier.getsockname()[1]
        said = last_words(start(repository, f"--grpc-port={port}", stderr=PIPE))
    assert f"cannot listen on 127.0.0.1:{port}" in said
    assert "--grpc-port" in said


@pytest.mark.skipif(not MAY_MOUNT, reason="may not mount a small /dev/shm of its own here")
def test_too_small_a_shared_memory_is_told_with_the_option_to_enlarge_it(repository):
    script = f"mount -t tmpfs -o size=64m tmpfs /dev/shm && exec {sys.executable} {LAUNCHER} --repository {repository}"
    unshared = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, timeout=30)
    assert unshared.returncode == 1
    assert unshared.stderr.startswith("launcher: /dev/shm has 64 MiB free")
    assert "--shm-size" in unshared.stderr


def test_too_few_open_files_are_told_with_the_option_to_allow_more(shipped_repository):
    command = ["prlimit", "--nofile=64:64", sys.executable, LAUNCHER, f"--repository={shipped_repository}"]
    limited = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert limited.returncode == 1
    assert limited.stderr.startswith("launcher: 64 open files are allowed, 256 are needed: allow more with ulimit -n")


def test_two_launchers_do_not_share_a_port_even_while_the_first_one_loads(start, shipped_repository):
    port = f"--http-port={free_ports(1)[0]}"
    first = start(shipped_repository, port)
    time.sleep(1)
    assert "cannot listen on 127.0.0.1:" in last_words(start(shipped_repository, port, stderr=PIPE))
    assert wait_until_ready(first).http_url.endswith(port.partition("=")[2])


def test_a_full_disk_of_logs_stops_nothing(start, shipped_repository):
    with open("/dev/full", "w") as full:
        server = wait_until_ready(start(shipped_repository, "--verbose", stderr=full.fileno()))
    with Client(server.grpc_url) as client:
        for _ in range(20):
            assert client.text_to_image(PROMPT, num_inference_steps=1)


@pytest.mark.parametrize("name", ["with a space", "check ✓ mark ü"])
def test_a_repository_in_a_folder_of_any_name_is_served(start, shipped_repository, tmp_path, monkeypatch, name):
    repository = shutil.copytree(shipped_repository, tmp_path / name / "model repository")
    (tmp_path / name / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / name / "temporary"))
    monkeypatch.setenv("LC_ALL", "C")
    server = wait_until_ready(start(repository))
    with Client(server.grpc_url) as client:
        assert client.text_to_image(PROMPT, num_inference_steps=1)


def test_a_model_whose_process_dies_while_it_loads_is_told_soon(start, repository):
    (repository / "text_to_image/1/model.py").write_text("import os\nos.abort()\n")
    said = last_words(start(repository, stderr=PIPE))
    assert "text_to_image" in said
    assert "python -m export" in said


@pytest.mark.skipif(not MAY_MOUNT, reason="may not mount here")
def test_a_repository_that_may_not_be_written_to_is_served(shipped_repository):
    mount = f"mount --bind {shipped_repository} {shipped_repository} && mount -o remount,ro,bind {shipped_repository}"
    ports = "--http-port=0 --grpc-port=0 --metrics-port=0"
    script = f"{mount} && exec {sys.executable} {LAUNCHER} --repository {shipped_repository} {ports}"
    with subprocess.Popen(["unshare", "--mount", "sh", "-c", script], stdout=PIPE, text=True) as launcher:
        try:
            with Client(wait_until_ready(launcher).grpc_url) as client:
                assert client.text_to_image(PROMPT, num_inference_steps=1)
        finally:
            launcher.terminate()


def test_a_stopped_server_first_finishes_what_it_has_begun(start, shipped_repository):
    launcher = start(shipped_repository)
    server = wait_until_ready(launcher)
    images = []
    with Client(server.grpc_url) as client, Client(server.grpc_url, retries=0) as late:
        asking = threading.Thread(target=lambda: images.extend(client.text_to_image(PROMPT, num_inference_steps=150)))
        asking.start()
        while server.metric("diffusion_active_samples") == 0:
            time.sleep(0.01)
        launcher.terminate()
        time.sleep(1)  # time for it to notice the signal
        with pytest.raises(ServerUnavailable):
            late.text_to_image(PROMPT, num_inference_steps=1)
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
        many = [pool.submit(client.text_to_image, PROMPT, num_images=n, num_inference_steps=15) for n in (8, 8, 2)]
        while server.metric("diffusion_requests_in_flight") < 3:
            time.sleep(0.01)
        with pytest.raises(ServerUnavailable, match=r"the queue is full \(2 images wait\): try again in \d+ s"):
            other.text_to_image(PROMPT)
        assert [len(asked.result()) for asked in many] == [8, 8, 2]
        assert len(other.text_to_image(PROMPT)) == 1
    assert server.metric("diffusion_requests_total") == 5


@pytest.mark.skipif(
    not Path("/proc/sys/kernel/core_pattern").read_text().startswith("core"), reason="no core files are written here"
)
def test_no_process_of_a_server_stopped_under_load_crashes(start, shipped_repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        launcher = start(shipped_repository)
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
    server = wait_until_ready(launcher)
    with Client(server.grpc_url, retries=0) as client, ThreadPoolExecutor(8) as pool:

        def ask(stream: bool) -> None:
            while True:
                if stream:
                    list(client.stream(PROMPT, num_inference_steps=3, preview_interval=1))
                else:
                    client.text_to_image(PROMPT, num_inference_steps=2)

        asking = [pool.submit(ask, number % 2 == 0) for number in range(8)]
        while server.metric("diffusion_requests_total", outcome="done") < 16:
            time.sleep(0.01)
        launcher.terminate()
        for asked in asking:
            assert isinstance(asked.exception(timeout=60), ServerUnavailable)
    assert launcher.wait(timeout=60) == 0
    assert not list(tmp_path.glob("core*"))
