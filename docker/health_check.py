"""The health check of a running server: seconds for which it has not answered.

Every try is a new connection, so one of Triton's HTTP threads that is busy with a large body is not taken for all of
them. The seconds of tries are added up, not read off a clock: a launcher that was itself stopped for a while, or a
machine that slept, finds no hung server when it goes on.

A server that hangs wants no processor; one that is busy, or that others on the machine starve, does, and answers late.
So the seconds of a busy one count less.
"""

import contextlib
import socket
import struct
import threading
import time
import urllib.request
from collections.abc import Callable

PAUSE = 1.0
"""Seconds between two tries."""
ATTEMPT = 5.0
"""Seconds that one try waits for its answer."""
BUSY = 0.5
"""Processors that a busy server wants: seconds a second that its threads run, or wait for a processor."""
WEIGHT_OF_BUSY = 0.1
"""A server that is busy but answers nobody, in an endless loop say, is given up as well, later."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0, 1, 4
END_STREAM, END_HEADERS = 0x1, 0x4
STREAM = 1
PATH = b"/inference.GRPCInferenceService/ServerLive"
EMPTY_MESSAGE = b"\0\0\0\0\0"  # not compressed, 0 bytes long


class HealthCheck:
    """Asks again and again until `close`."""

    def __init__(self, *checks: Callable[[], bool], processor_seconds: Callable[[], float]) -> None:
        """`processor_seconds`: those that the server has wanted so far."""
        self.unanswered = 0.0  # seconds since the last time when all of `checks` were answered
        self._checks = checks
        self._processor_seconds = processor_seconds
        self._closed = threading.Event()
        threading.Thread(target=self._ask, daemon=True).start()

    def close(self) -> None:
        self._closed.set()

    def _ask(self) -> None:
        while not self._closed.wait(PAUSE):
            start, wanted_before = time.monotonic(), self._processor_seconds()
            if all(check() for check in self._checks):
                self.unanswered = 0.0
            else:
                seconds = time.monotonic() - start
                busy = self._processor_seconds() - wanted_before > BUSY * seconds
                seconds = PAUSE + min(seconds, ATTEMPT * len(self._checks))
                self.unanswered += seconds * WEIGHT_OF_BUSY if busy else seconds


def http_text(url: str) -> str | None:
    """The body of `url`, or None if it does not answer with success."""
    try:
        with urllib.request.urlopen(url, timeout=ATTEMPT) as response:
            return response.read().decode()
    except (OSError, ValueError):
        return None


def grpc_is_live(host: str, port: int) -> bool:
    """True if the server answers the call ServerLive, here with the standard library alone. It must not ask for TLS."""
    call = [
        PREFACE,
        _frame(SETTINGS, 0, 0, b""),
        _frame(HEADERS, END_HEADERS, STREAM, _headers(f"{host}:{port}".encode())),
        _frame(DATA, END_STREAM, STREAM, EMPTY_MESSAGE),
    ]
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=ATTEMPT) as connection:
        connection.sendall(b"".join(call))
        with connection.makefile("rb") as answer:
            while len(head := answer.read(9)) == 9:
                length, kind, stream = int.from_bytes(head[:3], "big"), head[3], int.from_bytes(head[5:], "big")
                if (kind, stream) == (HEADERS, STREAM):
                    return True
                answer.read(length)
    return False


def _frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    """RFC 9113, section 4.1."""
    return len(content).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + content


def _headers(authority: bytes) -> bytes:
    """RFC 7541: fields by their number in the static table, values as they are."""
    return b"".join(
        [
            b"\x83\x86",  # :method POST, :scheme http
            b"\x01" + _text(authority),
            b"\x04" + _text(PATH),
            b"\x0f\x10" + _text(b"application/grpc"),  # content-type
            b"\0" + _text(b"te") + _text(b"trailers"),
        ]
    )


def _text(value: bytes) -> bytes:
    return bytes([len(value)]) + value
