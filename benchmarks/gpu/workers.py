"""Processes that hold an engine each: opened side by side, because compiling takes minutes, and measured in turn."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from benchmarks.ladder.engines.engine import Engine
from benchmarks.ladder.engines.loop import Loop
from benchmarks.ladder.samplers import DPMPP_2M, Sampler
from benchmarks.ladder.workspace import Workspace
from export.errors import quote

Answer = TypeVar("Answer")
END_TIMEOUT = 10  # seconds


class WorkerError(RuntimeError):
    """An engine could not be opened in time, or failed later; the message is the reason."""


class Worker:
    """One engine in a process of its own."""

    def __init__(self, engine: Engine, workspace: Workspace) -> None:
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, engine, workspace), daemon=True)
        self._process.start()
        theirs.close()

    def wait(self, deadline: float) -> float:
        """Seconds that opening took. Raises WorkerError past `deadline`, of time.monotonic()."""
        if not self._connection.poll(max(0, deadline - time.monotonic())):
            self.close()
            raise WorkerError("was not compiled in the time that this part has")
        return float(self._receive())

    def ask(self, question: Callable[[Loop], Answer]) -> Answer:
        """The answer that the engine's loop gives; `question` travels by pickle. Raises WorkerError."""
        try:
            self._connection.send(question)
        except OSError:
            raise self._ended() from None
        answer: Answer = self._receive()
        return answer

    def close(self) -> None:
        """End it, and the compilers that it may have started."""
        if self._process.pid is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join(END_TIMEOUT)

    def _receive(self) -> Any:
        try:
            answer = self._connection.recv()
        except (EOFError, OSError):
            raise self._ended() from None
        if isinstance(answer, WorkerError):
            raise answer
        return answer

    def _ended(self) -> WorkerError:
        self._process.join(END_TIMEOUT)
        return WorkerError(f"its process ended with code {self._process.exitcode}")


def _serve(connection: Connection, engine: Engine, workspace: Workspace) -> None:
    os.setpgid(0, 0)  # with what it starts
    try:
        start = time.monotonic()
        loop = engine.open(workspace)
        loop.image(Sampler(DPMPP_2M.name, 2))  # compiles what is compiled at the first call
        connection.send(time.monotonic() - start)
        while True:
            connection.send(connection.recv()(loop))
    except EOFError:
        return
    except Exception as error:  # whatever an engine raised
        connection.send(WorkerError(quote(error)))
