"""The command line against the real server."""

import json
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest
from PIL import Image
from triton_diffusion import read_settings
from triton_diffusion.cli import app
from typer.testing import CliRunner

from tests.support.launching import COMMAND, ENVIRONMENT
from tests.support.processes import heed_interrupts

PROMPT = "a small red circle on the left of a blue background"
LONG = 1000  # steps: many seconds, for what must end before them


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_the_command_writes_what_the_call_returns(server, client, protocol, tmp_path):
    url = {"grpc": server.grpc_url, "http": server.http_url}[protocol]
    options = ["--steps", "4", "--seed", "7", "--negative", "green", "--guidance", "3.5", "--sampler", "ddim"]
    options += ["--spacing", "leading", "--eta", "0.5", "--url", url, "--protocol", protocol, "--timeout", "60"]
    result = CliRunner().invoke(app, ["generate", PROMPT, "-o", str(tmp_path / "out.png"), *options])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{tmp_path / 'out.png'}  seed 7\n")
    assert result.stderr == ""  # no progress bar: it is not a terminal
    settings = {"negative_prompt": "green", "num_inference_steps": 4, "guidance_scale": 3.5, "sampler": "ddim"}
    settings |= {"timestep_spacing": "leading", "eta": 0.5, "seed": 7}
    with Image.open(tmp_path / "out.png") as written:
        (returned,) = client.text_to_image(PROMPT, **settings)
        assert np.array_equal(written, returned)
    assert read_settings(tmp_path / "out.png").items() >= {"prompt": PROMPT, **settings}.items()


def test_the_command_numbers_several_images(server, tmp_path):
    options = ["--num-images", "2", "--steps", "2", "--seed", "7", "--url", server.grpc_url]
    result = CliRunner().invoke(app, ["generate", PROMPT, "-o", str(tmp_path / "out.png"), *options])
    assert result.exit_code == 0, result.output
    for number in range(2):
        assert read_settings(tmp_path / f"out-{number}.png")["seed"] == 7 + number


@pytest.mark.parametrize(("options", "code"), [(["--steps", "0"], 2), (["--steps", "1000", "--timeout", "0.2"], 4)])
def test_the_commands_errors(server, tmp_path, options, code):
    arguments = ["generate", PROMPT, "-o", str(tmp_path / "out.png"), "--url", server.grpc_url, *options]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code
    assert result.stderr.startswith("triton-diffusion: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_interrupting_the_command(server, protocol, tmp_path):
    url = {"grpc": server.grpc_url, "http": server.http_url}[protocol]
    steps = server.steps_until_idle()
    process = subprocess.Popen(
        [*COMMAND, "generate", PROMPT, "and another", "--steps", str(LONG), "--url", url, "--protocol", protocol],
        env=ENVIRONMENT,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    )
    while server.metric("diffusion_denoiser_steps_total") < steps + 10:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, error = process.communicate(timeout=30)
    assert (process.returncode, output, error) == (130, "", "triton-diffusion: interrupted\n")
    assert list(tmp_path.iterdir()) == []
    assert server.steps_until_idle() - steps < LONG


def test_the_command_asks_both_of_two_servers(server, unused_url, tmp_path):
    options = ["--url", unused_url, "--url", server.grpc_url, "--steps", "2", "-o", str(tmp_path / "out.png")]
    result = CliRunner().invoke(app, ["generate", "one", "two", "three", *options])
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out-0.png", "out-1.png", "out-2.png"]


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_models_and_status(server, protocol):
    url = {"grpc": server.grpc_url, "http": server.http_url}[protocol]
    options = ["--url", url, "--protocol", protocol]
    result = CliRunner().invoke(app, ["models", *options])
    assert result.exit_code == 0, result.output
    assert "denoiser       1   ready\n" in result.stdout
    assert "128 x 128 pixels" in result.stdout
    listed = json.loads(CliRunner().invoke(app, ["models", *options, "--json"]).stdout)
    assert listed["models"][0] == {"name": "diffusion", "version": "1", "ready": True, "reason": ""}
    assert listed["checkpoint"]["height"] == 128


def test_status(server, client):
    server.wait_until_idle()
    options = ["--url", server.grpc_url, "--metrics-url", server.metrics_url]
    with ThreadPoolExecutor() as pool, closing(client.stream(PROMPT, num_inference_steps=LONG)) as events:
        next(events)
        asked = pool.submit(CliRunner().invoke, app, ["status", *options, "--json"])
        while not asked.done():
            next(events)
    load = json.loads(asked.result().stdout)
    assert load["ready"] is True
    assert load["requests_in_flight"] == load["active_samples"] == 1
    assert load["steps_per_second"] > 1
    assert load["mean_batch"] == 1


def test_status_without_metrics(server, unused_url):
    result = CliRunner().invoke(app, ["status", "--url", server.grpc_url, "--metrics-url", unused_url])
    assert result.exit_code == 0, result.output
    assert f"no metrics at {unused_url}" in result.stdout
