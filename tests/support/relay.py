"""A network between client and server: a TCP relay that delays, resets, and goes silent."""

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine, Iterable
from contextlib import closing, suppress

CHUNK = 64 * 1024
LINGER = struct.pack("ii", 1, 0)
"""SO_LINGER of 0 seconds: closing sends RST, and what is not sent yet is lost."""
TICK = 0.01  # seconds


class Relay:
    """Passes bytes on between those who connect to `url` and a server, from a thread of its own.

    What it does to its connections may be changed at any time.
    """

    def __init__(self, server: str) -> None:
        """`server` as host:port."""
        self.delay = 0.0  # seconds, each way
        self.silent = False  # nothing is passed on, either way, while all connections stay open
        self.reset_after: int | None = None  # bytes of answers, after which their connection is reset, once
        self.connections = 0  # taken so far
        self._server = server.rsplit(":", 1)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: set[asyncio.StreamWriter] = set()
        self._silenced: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def silence(self) -> None:
        """Pass nothing on between the ends that are connected now; who connects anew gets through."""
        self._silenced = set(self._open)

    def reset(self) -> None:
        """Reset all connections, on both sides."""
        self._loop.call_soon_threadsafe(_reset, self._open)

    def close(self) -> None:
        """Reset all connections, on both sides, and take no more."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._listen())

    async def _listen(self) -> None:
        listening = await asyncio.start_server(self._connected, sock=self._listener)
        await self._stopping.wait()
        listening.close()
        _reset(self._open)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        from_server, to_server = await asyncio.open_connection(*self._server)
        ends = (writer, to_server)
        self._open.update(ends)
        try:
            await asyncio.gather(
                self._pass_on(reader, to_server, ends, answers=False),
                self._pass_on(from_server, writer, ends, answers=True),
            )
        except asyncio.CancelledError:
            pass  # the relay is closed; asyncio would print this one
        finally:
            self._open.difference_update(ends)
            for end in ends:
                end.close()

    async def _pass_on(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        ends: tuple[asyncio.StreamWriter, ...],
        answers: bool,
    ) -> None:
        """The bytes of one direction, and their end."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def write() -> None:
            while True:
                due, chunk = await waiting.get()
                await asyncio.sleep(due - self._loop.time())
                while self.silent or sink in self._silenced:
                    await asyncio.sleep(TICK)
                if answers and self._is_due_for_reset(len(chunk)):
                    sink.write(chunk[: len(chunk) // 2])
                    _reset(ends)
                    return
                if not chunk:
                    sink.write_eof()
                    return
                sink.write(chunk)
                await sink.drain()

        async with asyncio.TaskGroup() as group:
            group.create_task(_until_broken(write()))
            chunk = b"x"
            while chunk:
                try:
                    chunk = await source.read(CHUNK)
                except OSError:
                    chunk = b""
                waiting.put_nowait((self._loop.time() + self.delay, chunk))

    def _is_due_for_reset(self, length: int) -> bool:
        if self.reset_after is None:
            return False
        self.reset_after -= length
        if self.reset_after > 0:
            return False
        self.reset_after = None
        return True


async def _until_broken(writing: Coroutine[None, None, None]) -> None:
    with suppress(OSError, RuntimeError):  # a transport that is closing takes no end
        await writing


def _reset(ends: Iterable[asyncio.StreamWriter]) -> None:
    for end in list(ends):
        with suppress(OSError):
            end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        end.transport.abort()


def relay(server: str) -> closing[Relay]:
    """A relay before `server`, host:port."""
    return closing(Relay(server))
