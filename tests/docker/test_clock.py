"""The time of day jumps while requests are in a server, whose launcher, Triton, models and clients all see it."""

import hashlib
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from triton_diffusion import Client

from tests.support.launching import ENVIRONMENT, wait_until_ready
from tests.support.tools import faketime

PROMPT = "a small red circle on the left of a blue background"
STEPS = 100  # seconds: time for jumps
TIMEOUT = 60.0  # seconds, which an hour must not end
JUMPS = ("+3600", "-3600", "+0")  # seconds beside the true time of day
ASK = """
import sys, time
from tests.docker.test_clock import digests
print(time.strftime("%FT%T"), *digests(*sys.argv[1:]), time.strftime("%FT%T"))
"""


def digests(grpc: str, http: str) -> list[str]:
    """Of the images that three requests at once get: in a stream, over gRPC, over HTTP."""
    settings = {"num_inference_steps": STEPS, "timeout": TIMEOUT}

    with (
        Client(grpc, retries=0) as over_grpc,
        Client(http, "http", retries=0) as over_http,
        ThreadPoolExecutor() as pool,
    ):
        asked = [
            pool.submit(lambda: list(over_grpc.stream(PROMPT, seed=1, **settings))[-1].images),
            pool.submit(over_grpc.text_to_image, PROMPT, seed=2, **settings),
            pool.submit(over_http.text_to_image, PROMPT, seed=3, **settings),
        ]
        return [hashlib.sha256(image.tobytes()).hexdigest() for one in asked for image in one.result()]


@pytest.mark.slow
def test_a_clock_that_jumps_by_an_hour_changes_nothing(shipped_repository, start, tmp_path, monkeypatch):
    clock = tmp_path / "clock"

    def jump(offset: str) -> None:
        (tmp_path / "next").write_text(offset)
        (tmp_path / "next").rename(clock)

    jump(JUMPS[-1])
    faked = {
        "LD_PRELOAD": str(faketime()),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    for name, value in faked.items():
        monkeypatch.setenv(name, value)
    with (tmp_path / "log").open("w") as log:
        launcher = start(shipped_repository, stderr=log.fileno())
        server = wait_until_ready(launcher)
        expected = digests(server.grpc_url, server.http_url)
        client = subprocess.Popen(
            [sys.executable, "-c", ASK, server.grpc_url, server.http_url],
            env=ENVIRONMENT | faked,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        jumps = 0
        while client.poll() is None:
            time.sleep(1.5)
            jump(JUMPS[jumps % len(JUMPS)])
            jumps += 1
        (began, *found, ended) = client.stdout.read().split()
        assert found == expected
        jump("+3600")
        time.sleep(3)  # health checks
        assert launcher.poll() is None
    print(jumps, began, ended, (tmp_path / "log").read_text())
    assert "starting Triton again" not in (tmp_path / "log").read_text()
