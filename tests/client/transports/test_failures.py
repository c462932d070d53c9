"""Failures that a server tells of become the package's errors."""

import pytest
from triton_diffusion import (
    DeadlineExceeded,
    DiffusionError,
    GenerationFailed,
    InvalidRequest,
    ServerOverloaded,
    ServerUnavailable,
    WrongServer,
)
from triton_diffusion._request import Request
from triton_diffusion._transports.failures import error_from_status, error_in_stream

URL = "localhost:8001"
REQUEST = Request("diffusion", {"prompt": "a red circle", "height": 100, "eta": 0.5}, "0123")


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["INVALID_ARGUMENT", "400"], InvalidRequest),
        (["UNAVAILABLE", "502", "503"], ServerUnavailable),
        (["RESOURCE_EXHAUSTED", "429"], ServerOverloaded),
        (["NOT_FOUND", "UNIMPLEMENTED", "404", "405"], WrongServer),
        (["DEADLINE_EXCEEDED", "504"], DeadlineExceeded),
        (["INTERNAL", "CANCELLED", "UNKNOWN", "500", "501"], GenerationFailed),
    ],
)
def test_error_for_a_status(statuses, expected):
    for status in statuses:
        error = error_from_status(status, "the reason", URL, REQUEST)
        assert type(error) is expected
        assert isinstance(error, DiffusionError)
        assert str(error).endswith("the reason")
        assert error.request_id == "0123"


@pytest.mark.parametrize("status", ["UNAVAILABLE", "503"])
def test_unavailable_for_now_is_overload(status):
    error = error_from_status(status, "come back", URL, REQUEST, retry_after=7)
    assert isinstance(error, ServerOverloaded)
    assert error.retry_after == 7
    full = error_from_status(status, "Exceeds maximum queue size", URL, REQUEST)
    assert isinstance(full, ServerOverloaded)
    assert full.retry_after is None


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("CANCELLED", "CANCELLED"),
        ("UNKNOWN", "Stream removed (RST_STREAM (Received RST_STREAM with error code 2))"),
        ("INTERNAL", "Received RST_STREAM with error code 2"),
        ("INVALID_ARGUMENT", "Unable to find shared memory region: 'a'"),
    ],
)
def test_a_server_that_is_lost_is_known_by_its_words(status, message):
    error = error_from_status(status, message, URL, REQUEST)
    assert type(error) is ServerUnavailable
    assert (str(error), error.retry_after) == (f"{URL} is not available: {message}", None)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("NOT_FOUND", "Request for unknown model: 'text_to_image' has no available versions"),
        ("400", "Request for unknown model: 'text_to_image' has no available versions"),
        ("UNAVAILABLE", "Server is stopping, scheduler for model has stopped accepting new inference requests"),
        ("503", "the server is shutting down: send the request again, to another replica or later"),
    ],
)
def test_a_server_that_is_being_stopped_is_asked_again_later(status, message):
    error = error_from_status(status, message, URL, REQUEST)
    assert type(error) is ServerUnavailable
    assert error.retry_after > 1
    assert str(error) == f"{URL} is not available: {message}"


@pytest.mark.parametrize("status", ["UNAVAILABLE", "503"])
def test_a_full_queue_says_when_to_come_again(status):
    message = "the queue is full (64 images wait): try again in 3 s"
    error = error_from_status(status, message, URL, REQUEST)
    assert isinstance(error, ServerOverloaded)
    assert (str(error), error.retry_after) == (f"{URL} is overloaded: {message}", 3)
    by_header = error_from_status(status, message, URL, REQUEST, retry_after=7)
    assert isinstance(by_header, ServerOverloaded)
    assert by_header.retry_after == 7


@pytest.mark.parametrize("status", ["CANCELLED", "499", "500", "INTERNAL"])
def test_the_server_has_seen_the_deadline_pass(status):
    message = "the deadline of 2 s has passed: allow more, or ask for fewer steps"
    error = error_from_status(status, message, URL, REQUEST)
    assert isinstance(error, DeadlineExceeded)
    assert str(error) == message


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ("height is 100; it must be a multiple of 8", "height"),
        ("negative_prompt: longer than 4096 bytes", "negative_prompt"),
        ("sampler is 'my seed and prompt'; allowed are ddpm, ddim", "sampler"),
        ("[request id: 1] inference input 'eta' data-type is 'INT32', but should be 'FP32'", "eta"),
        ("something else", None),
    ],
)
def test_the_field_is_read_from_the_message(message, field):
    error = error_from_status("INVALID_ARGUMENT", message, URL)
    assert isinstance(error, InvalidRequest)
    assert (str(error), error.field) == (message.removeprefix("[request id: 1] "), field)


@pytest.mark.parametrize(
    ("message", "value", "allowed"),
    [
        (
            "height is 100: this server's engines take a multiple of 8 from 64 to 128",
            100,
            "a multiple of 8 from 64 to 128",
        ),
        ("height is 100: use 64 to 128", 100, "64 to 128"),
        ("eta is 0.5, but sampler 'a: b' has no eta: leave it out", 0.5, "leave it out"),
        ("seed is -1", None, None),
    ],
)
def test_value_and_what_is_allowed(message, value, allowed):
    error = error_from_status("400", message, URL, REQUEST)
    assert isinstance(error, InvalidRequest)
    assert (error.value, error.allowed) == (value, allowed)


@pytest.mark.parametrize(
    ("message", "expected", "said"),
    [
        ("INVALID_ARG: height is 100: use 128", InvalidRequest, "height is 100: use 128"),
        (
            "UNAVAILABLE: the server is shutting down",
            ServerUnavailable,
            f"{URL} is not available: the server is shutting down",
        ),
        (
            "UNAVAILABLE: the queue is full (64 images wait): try again in 3 s",
            ServerOverloaded,
            f"{URL} is overloaded: the queue is full (64 images wait): try again in 3 s",
        ),
        (
            "DEADLINE_EXCEEDED: the deadline of 2 s has passed: allow more",
            DeadlineExceeded,
            "the deadline of 2 s has passed: allow more",
        ),
        ("INTERNAL: denoiser: out of memory", GenerationFailed, "denoiser: out of memory"),
        (
            "[request id: 0123] inference input 'eta' data-type is 'INT32'",
            InvalidRequest,
            "inference input 'eta' data-type is 'INT32'",
        ),
        (
            "Request for unknown model: 'diffusion' is not found",
            WrongServer,
            f"{URL} is not available: Request for unknown model: 'diffusion' is not found",
        ),
        (
            "Request for unknown model: 'diffusion' has no available versions",  # it is being unloaded
            ServerUnavailable,
            f"{URL} is not available: Request for unknown model: 'diffusion' has no available versions",
        ),
        ("something else", GenerationFailed, "something else"),
    ],
)
def test_an_error_in_a_stream_has_no_status(message, expected, said):
    error = error_in_stream(message, URL, REQUEST)
    assert type(error) is expected
    assert str(error) == said


def test_an_error_is_one_line():
    assert str(GenerationFailed("a\n  b")) == "a b"
