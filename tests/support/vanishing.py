"""A server whose host vanishes, in a network of its own: unshare --map-root-user --net python vanishing.py

Prints for each kind of client over HTTP the error, and after how many seconds.
"""

import asyncio
import fcntl
import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from triton_diffusion import AsyncClient, Client, DiffusionError

SIOCSIFFLAGS, UP = 0x8914, 1
DEADLINE = 300.0  # seconds


def set_loopback(up: bool) -> None:
    """What is sent while it is not up is lost; connections stay."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh", b"lo", UP if up else 0))


def ask(url: str) -> None:
    with Client(url, "http", retries=0) as client:
        client.text_to_image("a red circle", timeout=DEADLINE)


async def ask_async(url: str) -> None:
    async with AsyncClient(url, "http", retries=0) as client:
        await client.text_to_image("a red circle", timeout=DEADLINE)


def outcome(call) -> str:
    start = time.monotonic()
    try:
        call()
    except DiffusionError as error:
        return f"{type(error).__name__} {time.monotonic() - start:.1f}"
    return "an answer"


def main() -> None:
    set_loopback(True)
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:
        url = f"127.0.0.1:{listener.getsockname()[1]}"
        calls = [lambda: ask(url), lambda: asyncio.run(ask_async(url))]
        asked = [pool.submit(outcome, call) for call in calls]
        accepted = [listener.accept() for _ in calls]
        threading.Timer(1, set_loopback, [False]).start()
        for one in asked:
            print(one.result())
        for connection, _ in accepted:
            connection.close()


if __name__ == "__main__":
    main()
