"""The network between client and server: slow, broken, or gone, by every way that the SDK has."""

import asyncio
import functools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from PIL import Image
from triton_diffusion import AsyncClient, Client, DeadlineExceeded, DiffusionError
from triton_diffusion._transports import http, keepalive

from tests.support.launching import ENVIRONMENT, ROOT
from tests.support.relay import Relay, relay

PROMPT = "a small red circle on the left of a blue background"
STEPS = 4
SEED = 7
LONG = 1000  # steps: many seconds
LATENCY = 0.5  # seconds there and back
HALF_AN_IMAGE = 128 * 128 * 3 // 2  # bytes
NOTICED = keepalive.IDLE + keepalive.ANSWER
SLACK = 1.0  # seconds that a deadline may be missed by on a busy machine


@dataclass
class Outcome:
    """The end of a call, which the closing of its client does not count to."""

    seconds: float = 0.0
    image: Image.Image | None = None
    error: DiffusionError | None = None


@contextmanager
def timed() -> Iterator[Outcome]:
    outcome, start = Outcome(), time.monotonic()
    try:
        yield outcome
    except DiffusionError as error:
        outcome.error = error
    finally:
        outcome.seconds = time.monotonic() - start


def unary(url: str, protocol: str, **settings: Any) -> Outcome:
    with Client(url, protocol) as client, timed() as outcome:
        (outcome.image,) = client.text_to_image(PROMPT, seed=SEED, **settings)
    return outcome


def stream(url: str, protocol: str, **settings: Any) -> Outcome:
    with Client(url, protocol) as client, timed() as outcome:
        *_, completed = client.stream(PROMPT, seed=SEED, **settings)
        (outcome.image,) = completed.images
    return outcome


def async_unary(url: str, protocol: str, **settings: Any) -> Outcome:
    async def ask() -> Outcome:
        async with AsyncClient(url, protocol) as client:
            with timed() as outcome:
                (outcome.image,) = await client.text_to_image(PROMPT, seed=SEED, **settings)
        return outcome

    return asyncio.run(ask())


def async_stream(url: str, protocol: str, **settings: Any) -> Outcome:
    async def ask() -> Outcome:
        async with AsyncClient(url, protocol) as client:
            with timed() as outcome:
                *_, completed = [event async for event in client.stream(PROMPT, seed=SEED, **settings)]
                (outcome.image,) = completed.images
        return outcome

    return asyncio.run(ask())


WAYS = {
    "gRPC": (unary, "grpc"),
    "gRPC, stream": (stream, "grpc"),
    "HTTP": (unary, "http"),
    "gRPC, async": (async_unary, "grpc"),
    "gRPC, async stream": (async_stream, "grpc"),
    "HTTP, async": (async_unary, "http"),
}


@pytest.fixture
def relays(server):
    """A relay to the server for each way."""
    with ExitStack() as stack:
        yield {
            way: stack.enter_context(relay(server.grpc_url if protocol == "grpc" else server.http_url))
            for way, (_, protocol) in WAYS.items()
        }


@pytest.fixture(scope="module")
def expected(server):
    return np.asarray(unary(server.grpc_url, "grpc", num_inference_steps=STEPS).image)


def by_all_ways(relays: dict[str, Relay], **settings: Any) -> dict[str, Outcome]:
    """The outcome of asking by each way, all at once."""

    def one(way: str) -> Outcome:
        ask, protocol = WAYS[way]
        return ask(relays[way].url, protocol, **settings)

    with ThreadPoolExecutor(len(WAYS)) as pool:
        return dict(zip(WAYS, pool.map(one, WAYS)))


def later(seconds: float, action: Callable[[], None]) -> None:
    threading.Timer(seconds, action).start()


def check_same(outcome: Outcome, expected: np.ndarray) -> None:
    assert outcome.error is None
    np.testing.assert_array_equal(np.asarray(outcome.image), expected)


def check_too_late(outcome: Outcome, timeout: float) -> None:
    assert isinstance(outcome.error, DeadlineExceeded)
    assert timeout <= outcome.seconds < timeout + SLACK


def test_half_a_second_of_latency_changes_no_image(relays, expected):
    for between in relays.values():
        between.delay = LATENCY / 2
    for outcome in by_all_ways(relays, num_inference_steps=STEPS, timeout=60).values():
        check_same(outcome, expected)


def test_a_deadline_shorter_than_the_latency_is_kept(server, relays):
    for between in relays.values():
        between.delay = LATENCY / 2
    for outcome in by_all_ways(relays, num_inference_steps=LONG, timeout=0.3).values():
        check_too_late(outcome, 0.3)
    server.wait_until_idle()


def test_a_connection_that_is_reset_in_the_middle_of_an_image_costs_another_try(relays, expected):
    for between in relays.values():
        between.reset_after = HALF_AN_IMAGE
    for way, outcome in by_all_ways(relays, num_inference_steps=STEPS, timeout=60).items():
        check_same(outcome, expected)
        assert relays[way].reset_after is None
        assert relays[way].connections > 1


def test_the_deadline_is_kept_where_the_server_vanishes(server, relays):
    for between in relays.values():
        later(0.7, functools.partial(setattr, between, "silent", True))
    for outcome in by_all_ways(relays, num_inference_steps=LONG, timeout=1.5).values():
        check_too_late(outcome, 1.5)
    server.wait_until_idle()


@pytest.mark.parametrize("ask", [unary, async_unary])
def test_http_without_a_deadline_waits_only_so_long_for_a_silent_server(server, monkeypatch, ask):
    monkeypatch.setattr(http, "_SILENCE", 1.0)
    with relay(server.http_url) as between:
        later(0.5, between.silence)
        outcome = ask(between.url, "http", num_inference_steps=LONG)
    assert isinstance(outcome.error, DeadlineExceeded)
    assert "give a timeout to wait longer" in str(outcome.error)
    assert outcome.seconds < 1.5 + SLACK
    server.wait_until_idle()


def test_a_request_over_http_whose_connection_is_reset_does_not_go_on_beside_its_next_try(server):
    cancelled = server.metric("diffusion_requests_total", outcome="cancelled")
    with relay(server.http_url) as between:
        later(0.5, between.reset)
        check_too_late(unary(between.url, "http", num_inference_steps=LONG, timeout=1.5), 1.5)
        assert between.connections > 1
    server.wait_until_idle()
    assert server.metric("diffusion_requests_total", outcome="cancelled") > cancelled


@pytest.mark.slow
def test_a_server_that_vanishes_is_noticed_over_grpc_without_a_deadline_too(server, relays):
    """By pings, for TCP sees connections that stay open."""
    ways = {way: between for way, between in relays.items() if "gRPC" in way}
    expected = np.asarray(unary(server.grpc_url, "grpc", num_inference_steps=200).image)
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(WAYS[way][0], ways[way].url, "grpc", num_inference_steps=200) for way in ways]
        time.sleep(0.5)
        for between in ways.values():
            between.silence()
        vanished = time.monotonic()
        while any(between.connections == 1 for between in ways.values()):  # until the next try of each
            assert time.monotonic() - vanished < NOTICED + 10
            time.sleep(0.1)
        for one in asked:
            check_same(one.result(), expected)
    server.wait_until_idle(NOTICED + 5)


@pytest.mark.slow
def test_a_host_that_vanishes_is_noticed_over_http_long_before_the_deadline():
    own_network = ["unshare", "--map-root-user", "--net"]
    if subprocess.run([*own_network, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("a network of one's own is not allowed here")
    command = [*own_network, sys.executable, str(ROOT / "tests/support/vanishing.py")]
    said = subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=True).stdout
    found = [line.split() for line in said.splitlines()]
    assert [error for error, _ in found] == ["ServerUnavailable"] * 2  # to be tried again
    assert all(NOTICED <= float(seconds) < NOTICED + 10 for _, seconds in found)


@pytest.mark.slow
def test_the_request_of_a_grpc_client_that_vanishes_ends(server):
    cancelled = server.metric("diffusion_requests_total", outcome="cancelled")
    with relay(server.grpc_url) as between, Client(between.url) as client:
        events = client.stream(PROMPT, num_images=8, num_inference_steps=LONG)  # more than a minute of work
        next(events)
        between.silence()
        server.wait_until_idle(NOTICED + 5)
        assert server.metric("diffusion_requests_total", outcome="cancelled") == cancelled + 1
