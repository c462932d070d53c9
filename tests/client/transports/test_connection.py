"""Addresses with no server, or with something else, behind them."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from triton_diffusion import (
    AsyncClient,
    Client,
    DeadlineExceeded,
    InvalidRequest,
    ServerOverloaded,
    ServerUnavailable,
    WrongServer,
)
from triton_diffusion._transports.address import addresses

from tests.support.sockets import keepalive


@contextmanager
def peer(*answer: bytes, pause: float = 0.0) -> Iterator[str]:
    """The address of a listener that sends `answer`, pausing before each piece, to its one caller and then hangs up."""

    def serve() -> None:
        caller, _ = listener.accept()
        with caller:
            caller.settimeout(0.1)
            with suppress(TimeoutError):  # the request is complete
                while caller.recv(1 << 16):
                    pass
            with suppress(OSError):  # the caller has left
                for piece in answer:
                    time.sleep(pause)
                    caller.sendall(piece)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def ask(run: Callable, client: Client | AsyncClient, **settings: Any) -> None:
    """Ask either kind of client for an image, and close it."""

    async def asynchronous() -> None:
        async with client:
            await client.text_to_image("a red circle", **settings)

    if isinstance(client, AsyncClient):
        run(asynchronous())
    else:
        with client:
            client.text_to_image("a red circle", **settings)


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_nothing_listens(protocol, unused_url):
    with Client(unused_url, protocol, retries=1) as client, pytest.raises(ServerUnavailable) as error:
        client.text_to_image("a red circle")
    name = {"grpc": "gRPC", "http": "HTTP"}[protocol]
    assert str(error.value) == f"no {name} server at {unused_url}; is it running? (make serve)"


def test_nothing_listens_to_a_stream(unused_url):
    with Client(unused_url, retries=1) as client, pytest.raises(ServerUnavailable, match="is it running"):
        next(client.stream("a red circle"))


def test_a_name_that_does_not_resolve():
    with (
        Client("no.such.host.invalid:8000", "http", retries=0) as client,
        pytest.raises(ServerUnavailable, match="is it running"),
    ):
        client.text_to_image("a red circle")


@pytest.mark.parametrize(
    ("answer", "expected", "message"),
    [
        (b"", ServerUnavailable, "failed: Server disconnected"),
        (b"\0\0\6\4\r\n\r\n", WrongServer, "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", WrongServer, "not as a Triton server does"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}",
            ServerUnavailable,
            "without sending complete message body",
        ),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>", ServerUnavailable, "HTTP status 502"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>", WrongServer, "HTTP status 404"),
    ],
)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_not_triton_on_http(run, kind, answer, expected, message):
    with peer(answer) as url, pytest.raises(expected, match=message) as caught:
        ask(run, kind(url, "http", retries=0), timeout=5)
    assert type(caught.value) is expected


DATE = b"Date: Thu, 01 Jan 2015 12:00:00 GMT\r\n"  # by a clock that is not ours


@pytest.mark.parametrize(
    ("header", "date", "expected"),
    [
        (b"7", b"", 7),
        (b"Thu, 01 Jan 2015 12:01:00 GMT", DATE, 60),
        (b"Thu, 01 Jan 2015 00:00:00 GMT", DATE, 0),
    ],
)
def test_retry_after_on_http(header, date, expected):
    answer = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n" + date + b"Retry-After: " + header + b"\r\n\r\n"
    with (
        peer(answer) as url,
        Client(url, "http", retries=0) as client,
        pytest.raises(ServerOverloaded, match="overloaded") as caught,
    ):
        client.text_to_image("a red circle")
    assert caught.value.retry_after == expected


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_timeout_is_the_total_on_http(run, kind):
    header = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"
    start = time.monotonic()
    with peer(header, *[b"x"] * 40, pause=0.05) as url, pytest.raises(DeadlineExceeded, match=r"within 0\.3 s"):
        ask(run, kind(url, "http"), timeout=0.3)
    assert time.monotonic() - start < 3


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_http_clients_ask_a_silent_server_for_a_sign_of_life(run, kind):
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        url = f"127.0.0.1:{listener.getsockname()[1]}"
        asked = pool.submit(ask, run, kind(url, "http", retries=0), timeout=1)
        accepted, theirs = listener.accept()
        with accepted:
            accepted.recv(1)  # its request is here
            assert 15 < keepalive(theirs, accepted.getsockname()) <= 20
        assert asked.exception() is not None


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_timeout_on_grpc(run, kind):
    with peer(b"", pause=1) as url, pytest.raises(DeadlineExceeded, match=r"within 0\.3 s"):
        ask(run, kind(url), timeout=0.3)


def test_timeout_of_a_stream():
    with (
        peer(b"", pause=1) as url,
        Client(url) as client,
        pytest.raises(DeadlineExceeded, match=r"within 0\.3 s"),
    ):
        next(client.stream("a red circle", timeout=0.3))


def test_a_wrong_timeout_is_refused_before_the_stream_begins(unused_url):
    with Client(unused_url) as client, pytest.raises(InvalidRequest, match="timeout is 0"):
        client.stream("a red circle", timeout=0)


@pytest.mark.parametrize(
    ("url", "protocol", "expected"),
    [
        (None, None, ("grpc", False, "localhost:8001")),
        (None, "http", ("http", False, "localhost:8000")),
        ("host:1", None, ("grpc", False, "host:1")),
        ("host:1", "http", ("http", False, "host:1")),
        ("http://host:1/base/", None, ("http", False, "host:1/base")),
        ("https://host", "http", ("http", True, "host")),
        ("grpcs://host:443", None, ("grpc", True, "host:443")),
        ("dns:///host:1", None, ("grpc", False, "dns:///host:1")),
        ("[::1]:8000", "http", ("http", False, "[::1]:8000")),
    ],
)
def test_addresses(url, protocol, expected):
    ((*found, text),) = addresses(url, protocol)
    assert tuple(found) == expected
    assert url in (None, text)


@pytest.mark.parametrize("url", ["host:1", "http://host:1/base", "https://host/base", "dns:///host:1", "host"])
def test_the_metrics_are_on_the_same_host(url):
    (address,) = addresses(url, None)
    assert address.metrics == "host:8002"


@pytest.mark.parametrize(
    ("url", "protocol"),
    [
        ("", None),
        ("http://", None),
        ("localhost:port", "http"),
        ("::1:8000", "http"),
        ("localhost:99999", "http"),
        ("ftp://localhost", "http"),
        ("grpc://localhost:1", "http"),
        (["grpc://localhost:1", "http://localhost:2"], None),
        ([], None),
        ([1], None),
    ],
)
def test_invalid_addresses(url, protocol):
    with pytest.raises(
        InvalidRequest, match=r'url is .*: use .*"host:port"|url is .*: use one address or more'
    ) as refused:
        Client(url, protocol)
    assert refused.value.field == "url"


def test_unknown_protocol():
    with pytest.raises(InvalidRequest, match="protocol is 'rest': use"):
        Client("localhost:8000", "rest")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_no_stream_on_http(kind, unused_url):
    with pytest.raises(InvalidRequest, match="needs gRPC"):
        kind(unused_url, "http").stream("a red circle")


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_nothing_is_ready_where_nothing_listens(protocol, unused_url, run):
    with Client(unused_url, protocol) as client:
        assert not client.is_ready()

    async def ready() -> bool:
        async with AsyncClient(unused_url, protocol) as client:
            return await client.is_ready()

    assert not run(ready())


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_a_closed_client_says_so(protocol, unused_url):
    client = Client(unused_url, protocol)
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.text_to_image("a red circle")
