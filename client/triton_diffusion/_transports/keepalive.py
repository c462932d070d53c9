"""Keepalive: how either end of a connection notices that the other has vanished without a word."""

import socket

IDLE = 20
"""Seconds without a byte from the other end, after which it is asked for a sign of life."""
ANSWER = 10
"""Seconds in which it must give one, or take what was sent to it. Then the connection counts as lost."""
PROBES = 2

GRPC = [
    ("grpc.keepalive_time_ms", 1000 * IDLE),
    ("grpc.keepalive_timeout_ms", 1000 * ANSWER),
    ("grpc.http2.ping_timeout_ms", 1000 * ANSWER),  # gRPC's own is 60 s, and the longer of the two counts
    ("grpc.http2.max_pings_without_data", 0),  # any number: a unary call has no data until its end
]
"""Options of a channel: pings while a call runs. The launcher lets clients send them; Triton by itself would end a
connection at the fourth without data between, and the call on it would be tried again."""

_TCP = {
    "TCP_KEEPIDLE": IDLE,
    "TCP_KEEPINTVL": ANSWER // PROBES,
    "TCP_KEEPCNT": PROBES,
    "TCP_USER_TIMEOUT": 1000 * (IDLE + ANSWER),
}
SOCKET = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *((socket.IPPROTO_TCP, getattr(socket, name), value) for name, value in _TCP.items() if hasattr(socket, name)),
]
"""Options of a socket, as far as this system has them; what a listener accepts inherits them."""
