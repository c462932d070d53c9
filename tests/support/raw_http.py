"""HTTP as bytes on a socket: what no library would send."""

import re
import select
import socket
import time
from contextlib import suppress
from dataclasses import dataclass

SECONDS = 10.0  # for each piece of an answer
PATIENCE = 0.5
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """The first answer to what was sent. A status of 0: the connection was closed without one."""

    status: int
    body: bytes
    seconds: float


def send(url: str, raw: bytes) -> Answer:
    """Send `raw` to `url`, host:port, and read one answer. A server that waits for more hears soon that none comes."""
    host, port = url.rsplit(":", 1)
    start = time.monotonic()
    received = b""
    with socket.create_connection((host, int(port)), SECONDS) as connection:
        with suppress(OSError):  # it may answer and close before all is sent
            connection.sendall(raw)
        try:
            if not select.select([connection], [], [], PATIENCE)[0]:
                connection.shutdown(socket.SHUT_WR)
            while not _whole(received, raw.startswith(b"HEAD")) and (chunk := connection.recv(65536)):
                received = (received + chunk).removeprefix(CONTINUE)
        except ConnectionError:
            pass
    head, _, body = received.partition(b"\r\n\r\n")
    if length := LENGTH.search(head):
        body = body[: int(length[1])]  # what follows answers to what else was sent
    elif CHUNKED.search(head):
        body = _joined(body)
    if raw.startswith(b"HEAD"):
        body = b""
    found = re.match(rb"HTTP/1\.[01] (\d{3})", head)
    return Answer(int(found[1]) if found else 0, body, time.monotonic() - start)


def _whole(received: bytes, bare: bool) -> bool:
    """True once the answer is there; it is `bare` where it has no body whatever its headers say."""
    head, end, body = received.partition(b"\r\n\r\n")
    if end and (bare or re.match(rb"HTTP/1.1 (1..|204|304)", head)):
        return True
    if CHUNKED.search(head):
        return body.endswith(b"0\r\n\r\n")
    length = LENGTH.search(head)
    return bool(end and length and len(body) >= int(length[1]))


def _joined(chunks: bytes) -> bytes:
    """The body that came in chunks."""
    body = b""
    while (found := re.match(rb"([\da-fA-F]+)\r\n", chunks)) and (size := int(found[1], 16)):
        body += chunks[found.end() : found.end() + size]
        chunks = chunks[found.end() + size + 2 :]
    return body


def request(method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
    """The bytes of a request, with the headers as given."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


def chunked(body: bytes, size: int) -> bytes:
    """A body in chunks of `size` bytes."""
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
