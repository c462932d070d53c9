"""The launcher's supervision: Triton is back at the same addresses whatever ended it, and clients lose nothing."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest
from processes import is_running
from triton_diffusion import Client, ServerUnavailable

from tests.support.launching import Server, wait_until_ready
from tests.support.processes import children, processes_of_models, triton_of

PROMPT = "a red circle"
NUMBERS = '{"inputs": [{"name": "seed", "datatype": "INT64", "shape": [%d], "data": [7]}]}'


def image(client: Client, steps: int = 2) -> np.ndarray:
    """Of a known seed."""
    return np.asarray(client.text_to_image(PROMPT, seed=7, num_inference_steps=steps)[0])


def ask(server: Server, body: str) -> str:
    """How it ended, which is not with an image."""
    request = urllib.request.Request(f"http://{server.http_url}/v2/models/text_to_image/infer", body.encode())
    with pytest.raises((OSError, urllib.error.HTTPError)) as ended:
        urllib.request.urlopen(request, timeout=30)
    return repr(ended.value)


def said(launcher: subprocess.Popen[str]) -> str:
    launcher.terminate()
    _, err = launcher.communicate(timeout=60)
    return err


@pytest.mark.parametrize(("shape", "reason"), [(2**63 - 1, "std::length_error: "), (2**31, "std::bad_alloc")])
def test_a_request_that_ends_triton_is_told_and_costs_others_only_time(start, shipped_repository, shape, reason):
    launcher = start(shipped_repository, stderr=PIPE)
    server = wait_until_ready(launcher)
    with Client(server.grpc_url) as client, ThreadPoolExecutor() as pool:
        expected = image(client, 60)
        begun = [pool.submit(image, client, 60) for _ in range(4)]
        while server.metric("diffusion_active_samples") < 4:
            time.sleep(0.01)
        ended = ask(server, NUMBERS % shape)
        assert wait_until_ready(launcher) == server, "at the same addresses"
        assert all(np.array_equal(request.result(), expected) for request in begun), "asked again with the same seed"
    assert f"launcher: Triton was ended by SIGABRT ({reason}" in said(launcher), ended
    assert shared_memory_of(launcher) == []


def test_a_killed_triton_is_started_again(start, shipped_repository):
    launcher = start(shipped_repository, stderr=PIPE)
    server = wait_until_ready(launcher)
    os.kill(triton_of(launcher.pid), signal.SIGKILL)
    assert wait_until_ready(launcher) == server
    assert "launcher: Triton was ended by SIGKILL: starting Triton again\n" in said(launcher)


def test_a_triton_that_hangs_is_started_again(start, shipped_repository):
    launcher = start(shipped_repository, "--health-timeout=2", stderr=PIPE)
    server = wait_until_ready(launcher)
    os.kill(triton_of(launcher.pid), signal.SIGSTOP)
    assert wait_until_ready(launcher) == server
    with Client(server.grpc_url) as client:
        assert image(client).any()
    assert "launcher: Triton has not answered its health check for 2 s: starting Triton again\n" in said(launcher)


@pytest.mark.slow
def test_a_busy_triton_is_not_taken_for_one_that_hangs(start, shipped_repository):
    launcher = start(shipped_repository, "--health-timeout=5", stderr=PIPE)
    server = wait_until_ready(launcher)
    triton = triton_of(launcher.pid)
    # Nobody reads the launcher's standard error meanwhile: that stops nothing either.
    large = '{"inputs": [{"name": "prompt", "datatype": "BYTES", "shape": [1], "data": ["%s"]}]}' % ("x" * 2**20)
    with Client(server.grpc_url) as client, ThreadPoolExecutor(40) as pool:
        full = [pool.submit(image, client, 10) for _ in range(24)]
        while not all(request.done() for request in full):
            list(pool.map(lambda _: ask(server, large), range(8)))
    assert triton_of(launcher.pid) == triton, said(launcher)[-1000:]
    assert all(request.result().any() for request in full)


@pytest.mark.slow
@pytest.mark.parametrize("role", ["triton", "diffusion", "text_to_image"])
def test_a_process_that_is_stopped_for_20_seconds_costs_only_time(start, shipped_repository, role):
    launcher = start(shipped_repository, stderr=PIPE)
    server = wait_until_ready(launcher)
    processes = processes_of_models(launcher.pid) | {"triton": triton_of(launcher.pid)}
    with Client(server.grpc_url, retries=0) as client, ThreadPoolExecutor() as pool:
        expected = image(client, 100)
        begun = pool.submit(image, client, 100)
        os.kill(processes[role], signal.SIGSTOP)
        time.sleep(20)
        os.kill(processes[role], signal.SIGCONT)
        assert np.array_equal(begun.result(timeout=30), expected)
    assert triton_of(launcher.pid) == processes["triton"]


def test_a_server_that_is_lost_too_often_ends_the_launcher_with_the_reason(start, shipped_repository):
    launcher = start(shipped_repository, "--max-restarts=0", stderr=PIPE)
    wait_until_ready(launcher)
    triton = triton_of(launcher.pid)
    os.kill(triton, signal.SIGSEGV)
    _, err = launcher.communicate(timeout=30)
    assert launcher.returncode == 1
    assert "launcher: Triton was ended by SIGSEGV, after 0 restarts in 10 minutes" in err
    group = subprocess.run(["ps", "-o", "stat=", "-g", str(triton)], capture_output=True, text=True).stdout
    assert all(state.startswith("Z") for state in group.split()), "only what the system has not cleared away yet"


@pytest.mark.parametrize(
    ("networks", "model"), [("models", "denoiser"), ("in-process", "diffusion"), ("in-process", "text_to_image")]
)
def test_a_model_whose_process_dies_is_back_soon_and_every_request_ends(start, shipped_repository, networks, model):
    launcher = start(shipped_repository, f"--networks={networks}", stderr=PIPE)
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
    assert f"launcher: the process of model {model} has died: starting Triton again\n" in said(launcher)
    assert shared_memory_of(launcher) == []


def shared_memory_of(launcher: subprocess.Popen[str]) -> list[Path]:
    """Regions of shared memory that a launcher has left behind."""
    return list(Path("/dev/shm").glob(f"*triton_diffusion_*{launcher.pid}_*"))


def test_a_killed_launcher_leaves_nothing_that_the_next_one_does_not_clear(start, shipped_repository):
    launcher = start(shipped_repository)
    server = wait_until_ready(launcher)
    triton = triton_of(launcher.pid)
    hung = processes_of_models(launcher.pid)["diffusion"]
    processes = {triton, *children(triton)} - {hung}
    os.kill(hung, signal.SIGSTOP)
    launcher.kill()
    launcher.wait()
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{process}").exists() for process in processes):
        assert time.monotonic() < deadline, "orphans"
        time.sleep(0.05)
    for url in (server.http_url, server.grpc_url, server.metrics_url):
        host, port = url.split(":")
        with socket.socket() as connection:
            assert connection.connect_ex((host, int(port))) != 0
    port = server.http_url.split(":")[1]
    assert wait_until_ready(start(shipped_repository, f"--http-port={port}")).http_url == server.http_url
    assert not is_running(hung)
    assert shared_memory_of(launcher) == []
    assert not list(Path("/tmp").glob(f"triton_diffusion_{launcher.pid}_*"))
