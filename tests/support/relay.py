"""A network between client and server: a TCP relay that delays, resets, and goes silent."""

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CHUNK = 64 * 1024
LINGER = struct.pack("ii", 1, 0)
"""SO_LINGER of 0 seconds: closing sends RST, and what is not sent yet is lost."""
TICK = 0.01  # seconds

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Relay:
    """Passes bytes on between those who connect to `url` and a server, from a thread of its own.

    What it does to all its connections may be changed at any time.
    """

    def __init__(self, server: str) -> None:
        """`server` as host:port."""
        self.delay = 0.0  # seconds, each way
        self.silent = False  # nothing is passed on, either way, while all connections stay open
        self.reset_after: int | None = None  # bytes of answers: then their connection is reset, once
        self.connections = 0  # taken so far
        self._server = server.rsplit(":", 1)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def reset(self) -> None:
        """Reset all connections, on both sides."""
        self._loop.call_soon_threadsafe(self._reset, self._open)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        listening = asyncio.start_server(self._connected, sock=self._listener)
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            server = runner.run(_started(listening))
            self._loop.run_forever()
            server.close()
            self._reset(self._open)

    async def _connected(self, *client: "asyncio.StreamReader | asyncio.StreamWriter") -> None:
        self.connections += 1
        server = await asyncio.open_connection(*self._server)
        pair: list[Streams] = [client, server]  # type: ignore[list-item]
        self._open |= {writer for _, writer in pair}
        try:
            await asyncio.gather(self._pass_on(*pair, answers=False), self._pass_on(*reversed(pair), answers=True))
        finally:
            for _, writer in pair:
                self._open.discard(writer)
                writer.close()

    async def _pass_on(self, source: Streams, sink: Streams, answers: bool) -> None:
        """The bytes of one direction, and their end."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        writing = asyncio.create_task(self._write(waiting, (source[1], sink[1]), answers))
        with suppress(OSError):
            while chunk := await source[0].read(CHUNK):
                waiting.put_nowait((self._loop.time() + self.delay, chunk))
        waiting.put_nowait((self._loop.time() + self.delay, b""))
        await writing

    async def _write(
        self, waiting: "asyncio.Queue[tuple[float, bytes]]", ends: tuple[asyncio.StreamWriter, ...], answers: bool
    ) -> None:
        sink, chunk = ends[1], b"x"
        with suppress(OSError):
            while chunk:
                due, chunk = await waiting.get()
                await asyncio.sleep(due - self._loop.time())
                while self.silent:
                    await asyncio.sleep(TICK)
                if answers and self._is_due_for_reset(len(chunk)):
                    sink.write(chunk[: len(chunk) // 2])
                    self._reset(ends)
                    return
                if chunk:
                    sink.write(chunk)
                    await sink.drain()
                else:
                    sink.write_eof()

    def _is_due_for_reset(self, length: int) -> bool:
        if self.reset_after is None:
            return False
        self.reset_after -= length
        if self.reset_after > 0:
            return False
        self.reset_after = None
        return True

    def _reset(self, ends: "set[asyncio.StreamWriter] | tuple[asyncio.StreamWriter, ...]") -> None:
        for writer in list(ends):
            with suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
            writer.transport.abort()


async def _started(listening: "asyncio.Future[asyncio.Server] | object") -> asyncio.Server:
    return await listening  # type: ignore[misc]


@contextmanager
def relay(server: str) -> Iterator[Relay]:
    """A relay before `server`, host:port."""
    between = Relay(server)
    try:
        yield between
    finally:
        between.close()
