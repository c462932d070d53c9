"""Short runs of the real perf_analyzer, and of streams, against the real server."""

import dataclasses

import pytest
from triton_diffusion import Client
from triton_diffusion.bench.errors import BenchError
from triton_diffusion.bench.plan import Plan, carry_out
from triton_diffusion.bench.results import BASELINE, BATCHING
from triton_diffusion.bench.streaming import measure_streams
from triton_diffusion.bench.sweep import Target, measure
from triton_diffusion.bench.workload import PROMPTS, Workload, mixed, uniform

from tests.support.launching import ADMIN_KEY


@pytest.fixture
def target(server) -> Target:
    return Target(BATCHING, server.grpc_url, server.metrics_url, ADMIN_KEY)


def test_some_requests_at_once(analyzer, server, target):
    done = server.metric("diffusion_requests_total")
    requests = uniform(6, PROMPTS, {"num_inference_steps": 4}).requests
    requests[1]["guidance_scale"] = 1.0  # as in the mixed workload: some have the field and some do not
    level = measure(analyzer, target, Workload("some", requests), "concurrency", 3)
    assert server.metric("diffusion_requests_total") - done == level.requests == 6
    assert (level.server, level.workload, level.load, level.value) == (BATCHING, "some", "concurrency", 3)
    assert 1 < level.samples_per_step <= 3
    assert 0 < level.latency.p50 <= level.latency.p90 <= level.latency.p99
    assert level.images_per_second <= 3000 / level.latency.p50 * 2
    assert level.models.keys() == {"text_to_image", "text_encoder", "denoiser", "vae_decoder"}
    assert all(0 < time.compute < level.latency.p99 for name, time in level.models.items() if name != "text_to_image")
    assert level.models["denoiser"].compute * 4 < level.latency.p99


@pytest.mark.parametrize("rate", [3, 0.9])
def test_some_requests_a_second(analyzer, target, rate):
    level = measure(analyzer, target, uniform(3, PROMPTS, {"num_inference_steps": 1}), "request rate", rate)
    assert level.requests >= 3  # perf_analyzer may send one more before it notices
    assert rate / 6 < level.sent_per_second < rate * 6


def test_what_the_server_refuses_is_told_in_its_own_words(analyzer, target):
    refused = uniform(4, PROMPTS, {"num_inference_steps": 0})
    with pytest.raises(BenchError, match="perf_analyzer: num_inference_steps is 0"):
        measure(analyzer, target, refused, "concurrency", 2)


def test_statistics_that_are_closed_are_told(analyzer, target):
    without = dataclasses.replace(target, admin_key=None)
    with pytest.raises(BenchError, match="restricted"):
        measure(analyzer, without, uniform(4, PROMPTS, {"num_inference_steps": 1}), "concurrency", 1)


def test_streams(server):
    with Client(server.grpc_url) as client:
        streamed = measure_streams(client, uniform(4, PROMPTS, {"num_inference_steps": 6}), 2)
    assert (streamed.requests, streamed.concurrency) == (4, 2)
    assert 0 < streamed.first_preview.p50 < streamed.image.p50
    assert 0 < streamed.between_previews.p50 < streamed.image.p50 / 3


@pytest.mark.slow
def test_a_whole_load_test(analyzer, target):
    told: list[str] = []
    plan = Plan(
        target,
        baseline=dataclasses.replace(target, name=BASELINE),
        in_process=lambda workload, concurrency: 2.0 * concurrency,
        requests=16,
        concurrencies=(1, 4),
        settings={"num_inference_steps": 4},
    )
    results = carry_out(plan, analyzer, told.append)
    assert [(level.workload, level.load, level.server) for level in results.levels] == [
        *[("uniform", "concurrency", BATCHING)] * 2,
        *[("uniform", "request rate", BATCHING)] * 3,
        *[("mixed", "concurrency", BATCHING), ("mixed", "concurrency", BASELINE)] * 2,
    ]
    assert {level.requests for level in results.levels} == {16}
    assert [run.images_per_second for run in results.in_process] == [2, 16, 2, 16]
    assert [run.concurrency for run in results.streamed] == [1, 8]
    assert len(told) == 2 + 2 + 3 + 4 + 4 + 2
    assert mixed(16, PROMPTS).requests[0]["num_inference_steps"] >= 4
