"""Processes with an engine each."""

import os
import time

import pytest

from benchmarks.gpu.workers import Worker, WorkerError
from benchmarks.ladder.engines.torch_engine import TorchEngine


class Broken(TorchEngine):
    def open(self, workspace):
        raise RuntimeError("out of memory")


class Killed(TorchEngine):
    def open(self, workspace):
        os._exit(9)


class Slow(TorchEngine):
    def open(self, workspace):
        time.sleep(600)


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        (Broken(), "RuntimeError: out of memory"),
        (Killed(), "its process ended with code 9"),
        (Slow(), "was not compiled in the time that this part has"),
    ],
)
def test_an_engine_that_cannot_be_opened_gives_its_reason(workspace, engine, reason):
    worker = Worker(engine, workspace)
    try:
        with pytest.raises(WorkerError, match=reason):
            worker.wait(time.monotonic() + (5 if isinstance(engine, Slow) else 120))
    finally:
        worker.close()
