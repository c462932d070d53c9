"""The time of day jumps while requests are in a server; launcher, Triton, models and client see it."""

import hashlib
import itertools
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from triton_diffusion import Client

from tests.support.launching import ENVIRONMENT, ROOT, wait_until_ready
from tests.support.tools import faketime

PROMPT = "a small red circle on the left of a blue background"
STEPS = 200  # seconds: time for jumps
TIMEOUT = 120.0  # seconds, which an hour must not end
JUMPS = ("+3600", "-3600", "+0")  # seconds beside the true time of day
PAUSE = 2.5  # seconds between two jumps; each process looks once a second
ASK = "import sys; from tests.docker.test_clock import digests; print(*digests(*sys.argv[1:]))"


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
    def jump(offset: str) -> None:
        (tmp_path / "next").write_text(offset)
        (tmp_path / "next").rename(tmp_path / "clock")

    jump("+0")
    monkeypatch.setenv("LD_PRELOAD", str(faketime()))
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(tmp_path / "clock"))
    monkeypatch.setenv("FAKETIME_CACHE_DURATION", "1")  # seconds
    monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")  # as with a real clock that is set
    log = tmp_path / "log"
    with log.open("w") as stderr:
        launcher = start(shipped_repository, stderr=stderr.fileno())
    server = wait_until_ready(launcher)
    expected = digests(server.grpc_url, server.http_url)
    command = [sys.executable, "-c", ASK, server.grpc_url, server.http_url]
    faked = {name: value for name, value in os.environ.items() if name.startswith(("LD_", "FAKETIME_"))}
    client = subprocess.Popen(command, env=ENVIRONMENT | faked, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    offsets = itertools.cycle(JUMPS)
    while client.poll() is None:
        jump(next(offsets))
        time.sleep(PAUSE)
    assert client.stdout.read().split() == expected
    jump("+3600")
    time.sleep(PAUSE)  # and for health checks
    assert digests(server.grpc_url, server.http_url) == expected
    *_, last = (json.loads(line) for line in log.read_text().splitlines() if line.startswith("{"))
    assert datetime.fromisoformat(last["time"]) > datetime.now(UTC) + timedelta(minutes=59)
    assert "starting Triton again" not in log.read_text()
