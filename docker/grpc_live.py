"""Triton's gRPC call ServerLive, with nothing but the standard library: one HTTP/2 connection a call."""

import contextlib
import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0, 1, 4
END_STREAM, END_HEADERS = 0x1, 0x4
STREAM = 1
PATH = b"/inference.GRPCInferenceService/ServerLive"
EMPTY_MESSAGE = b"\0\0\0\0\0"  # not compressed, 0 bytes long


def grpc_is_live(host: str, port: int, timeout: float) -> bool:
    """True if the server answers within so many seconds for each of its messages. It must not ask for TLS."""
    call = [
        PREFACE,
        _frame(SETTINGS, 0, 0, b""),
        _frame(HEADERS, END_HEADERS, STREAM, _headers(f"{host}:{port}".encode())),
        _frame(DATA, END_STREAM, STREAM, EMPTY_MESSAGE),
    ]
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=timeout) as connection:
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
