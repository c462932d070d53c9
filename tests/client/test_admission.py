"""Admission by the real server: deadlines that travel with a request, priorities, and a full queue."""

from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from triton_diffusion import Client, DeadlineExceeded, InvalidRequest, ServerOverloaded, server_metrics
from triton_diffusion._deadline import Deadline
from triton_diffusion._request import Request, new_request
from triton_diffusion._transports import grpc_wire, http_wire
from triton_diffusion._transports.address import addresses
from triton_diffusion._transports.failures import error_in_stream
from triton_diffusion._transports.grpc import GrpcTransport
from triton_diffusion._transports.http import HttpTransport

PROMPT = "a small red circle on the left of a blue background"
LONG = {"num_inference_steps": 1000, "seed": 7}  # minutes, for what must end before
ROOM, QUEUE, MOST_IMAGES = 16, 64, 8  # images: in the loop, waiting, of one request


@pytest.fixture(scope="module")
def full(server) -> Iterator[Client]:
    """A client of a server whose loop and queue are full from now on: for the last tests of this file."""
    server.wait_until_idle()
    with Client(server.grpc_url, retries=0) as client:
        with ExitStack() as stack:
            for _ in range((ROOM + QUEUE) // MOST_IMAGES):
                next(stack.enter_context(closing(client.stream(PROMPT, num_images=MOST_IMAGES, **LONG))))
            yield client
        server.wait_until_idle()


def ask_and_wait(server, way: str, request: Request) -> None:
    """Send `request` with a deadline that only the server heeds."""
    soon, never = Deadline(0.7), Deadline(30)
    if way == "HTTP":
        with closing(HttpTransport(addresses(server.http_url, "http")[0])) as transport:
            transport._send(http_wire.infer(request, soon), never, request)
        return
    with closing(GrpcTransport(addresses(server.grpc_url, "grpc")[0])) as transport:
        if way == "gRPC":
            transport._call(grpc_wire.infer(request, soon, None), never, request)
        else:
            *_, last = transport._responses(grpc_wire.stream(request, soon), never, request)
            raise error_in_stream(last.error_message, server.grpc_url, request)


@pytest.mark.parametrize("way", ["gRPC", "stream", "HTTP"])
def test_the_server_itself_ends_what_is_past_its_deadline(server, way):
    server.wait_until_idle()
    before = server_metrics(server.metrics_url)
    request = new_request("diffusion" if way == "stream" else "text_to_image", {"prompt": PROMPT, **LONG})
    with pytest.raises(DeadlineExceeded, match=r"the deadline of 0\.\d+ s has passed") as late:
        ask_and_wait(server, way, request)
    assert late.value.request_id == request.id
    server.wait_until_idle()
    after = server_metrics(server.metrics_url)
    assert after.requests_expired == before.requests_expired + 1
    assert 0 < after.denoiser_steps - before.denoiser_steps < 200


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_what_waits_past_its_deadline_never_starts(server, protocol):
    server.wait_until_idle()
    before = server_metrics(server.metrics_url)
    url = server.grpc_url if protocol == "grpc" else server.http_url
    with Client(server.grpc_url) as others, Client(url, protocol) as client, ExitStack() as stack:
        for _ in range(ROOM // MOST_IMAGES):
            next(stack.enter_context(closing(others.stream(PROMPT, num_images=8, priority="high", **LONG))))
        with pytest.raises(DeadlineExceeded):
            client.text_to_image(PROMPT, num_inference_steps=1, timeout=1)
    server.wait_until_idle()
    after = server_metrics(server.metrics_url)
    assert after.requests_done == before.requests_done
    assert (after.denoiser_samples - before.denoiser_samples) % MOST_IMAGES == 0  # one image would show as one more


def test_a_full_queue_refuses_and_says_when_to_come_again(server, full):
    with Client(server.http_url, "http", retries=0) as over_http:
        for ask in (full.text_to_image, over_http.text_to_image, lambda prompt: next(full.stream(prompt))):
            with pytest.raises(ServerOverloaded, match="is overloaded: the queue is full") as refused:
                ask(PROMPT)
            assert f"({QUEUE} images wait): try again in {refused.value.retry_after:g} s" in str(refused.value)
            assert 1 <= refused.value.retry_after <= 60


def test_a_high_priority_goes_before_a_full_queue(full):
    (image,) = full.text_to_image(PROMPT, num_inference_steps=1, priority="high")
    assert "priority" not in image.info  # it changes nothing in the image
    with pytest.raises(ServerOverloaded):
        full.text_to_image(PROMPT, num_inference_steps=1, priority="low")


def test_an_unknown_priority(full):
    with pytest.raises(InvalidRequest, match="priority is 'urgent': use low, normal, high") as refused:
        full.text_to_image(PROMPT, priority="urgent")
    assert (refused.value.field, refused.value.value) == ("priority", "urgent")
