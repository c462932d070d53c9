"""Addresses with no server, or with something else, behind them."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from triton_diffusion import Client, DeadlineExceeded, InvalidRequest, ServerUnavailable


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


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_nothing_listens(protocol, unused_url):
    with Client(unused_url, protocol) as client, pytest.raises(ServerUnavailable) as error:
        client.text_to_image("a red circle")
    name = {"grpc": "gRPC", "http": "HTTP"}[protocol]
    assert str(error.value) == f"no {name} server at {unused_url}; is it running? (make serve)"


def test_nothing_listens_to_a_stream(unused_url):
    with Client(unused_url) as client, pytest.raises(ServerUnavailable, match="is it running"):
        next(client.stream("a red circle"))


def test_a_name_that_does_not_resolve():
    with Client("no.such.host.invalid:8000", "http") as client, pytest.raises(ServerUnavailable, match="is it running"):
        client.text_to_image("a red circle")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "failed: Remote end closed connection"),
        (b"\0\0\6\4", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "not as a Triton server does"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}", "failed: IncompleteRead"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>", "HTTP status 502"),
    ],
)
def test_not_triton_on_http(answer, message):
    with peer(answer) as url, Client(url, "http") as client, pytest.raises(ServerUnavailable, match=message):
        client.text_to_image("a red circle", timeout=5)


def test_timeout_is_the_total_on_http():
    header = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"
    deadline = pytest.raises(DeadlineExceeded, match=r"within 0\.3 s")
    with peer(header, *[b"x"] * 99, pause=0.05) as url, Client(url, "http") as client, deadline:
        client.text_to_image("a red circle", timeout=0.3)


def test_timeout_on_grpc():
    with peer(b"", pause=1) as url, Client(url) as client:
        with pytest.raises(DeadlineExceeded, match=r"within 0\.3 s"):
            client.text_to_image("a red circle", timeout=0.3)
        with pytest.raises(DeadlineExceeded, match=r"within 0\.3 s"):
            next(client.stream("a red circle", timeout=0.3))


@pytest.mark.parametrize("url", ["", "http://localhost:8000", "https://localhost", "grpc://localhost:8001"])
def test_url_with_a_scheme(url):
    with pytest.raises(InvalidRequest, match="without a scheme"):
        Client(url)


@pytest.mark.parametrize("url", ["localhost:port", "::1:8000", "localhost:99999"])
def test_url_without_a_port_number(url):
    with pytest.raises(InvalidRequest, match="host:port"):
        Client(url, "http")


def test_unknown_protocol():
    with pytest.raises(InvalidRequest, match="protocol is 'rest'"):
        Client("localhost:8000", "rest")  # type: ignore[arg-type]


def test_no_stream_on_http(unused_url):
    with Client(unused_url, "http") as client, pytest.raises(InvalidRequest, match="needs gRPC"):
        client.stream("a red circle")
