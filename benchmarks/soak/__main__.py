"""Nothing grows: python -m benchmarks.soak --minutes 180 [--output FILE] [--plot FILE]

A server and a gateway before it under mixed traffic, of which 10 % is cancelled, 5 % is bad and 2 % comes from clients
that are killed. What each process uses is sampled and judged by its slope after the warm-up; a process that leaks at a
known rate shows that the judge sees one. The files are written as it goes, so what ends it early loses nothing.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from triton_diffusion import DiffusionError
from triton_diffusion.cli import errors_in_one_line

from benchmarks.recording import machine, write_record
from benchmarks.soak.control import BALLAST
from benchmarks.soak.judge import BOUND, WARM_UP, Growth, blocks, growth
from benchmarks.soak.plot import CONTROL, draw
from benchmarks.soak.usage import Watched, child_with
from tests.support.launching import ALL_CORES, gateway
from tests.support.replicas import Replica, replicas

SAMPLES = 1080  # at most; one every 10 s in 3 hours
REPORTS = 36  # the files are written so often, at most every half minute
LEAST = 8  # samples, for a judgement
LEAKS = 2.5  # percent of its memory that the control grows by from the end of the warm-up to the end
END = 120.0  # seconds for the traffic to end


class Soak:
    """The samples so far, and the judgement of them."""

    def __init__(self, minutes: float, rate: float) -> None:
        self.seconds: list[float] = []
        self.series: dict[tuple[str, str], list[float]] = {}
        self.tally: dict[str, dict[str, int]] = {"asked": {}, "failed": {}}
        self.restarts = 0
        self._planned = {"minutes": minutes, "requests_a_second": rate}

    def add(self, seconds: float, sample: dict[str, dict[str, float]]) -> None:
        """A sample has all processes that the first one had."""
        self.seconds.append(seconds)
        for process, quantities in sample.items():
            for quantity, value in quantities.items():
                self.series.setdefault((process, quantity), []).append(value)

    def judged(self) -> dict[tuple[str, str], Growth]:
        return {key: growth(self.seconds, values) for key, values in self.series.items()}

    @property
    def kept(self) -> bool:
        """True if nothing but the control grows, and it does; nothing was lost, wrong or started again."""
        growing = {process for (process, _), found in self.judged().items() if found.grows}
        return growing == {CONTROL} and not self.restarts and not self.tally["failed"]

    def record(self) -> dict[str, Any]:
        series: dict[str, dict[str, Any]] = {}
        for (process, quantity), found in self.judged().items():
            times, levels = blocks(self.seconds, self.series[process, quantity], warm_up=0)
            series.setdefault(process, {})[quantity] = {
                "growth_percent": round(found.percent, 3),
                "interval": [round(found.low, 3), round(found.high, 3)],
                "grows": found.grows,
                "samples": [round(level, 2) for level in levels],
            }
        return {
            "machine": machine(),
            "planned": self._planned,
            "seconds": round(self.seconds[-1]),
            "warm_up": WARM_UP,
            "bound_percent": BOUND,
            **self.tally,
            "restarts": self.restarts,
            "kept": self.kept,
            "sampled_at": [round(second) for second in times],
            "processes": series,
        }

    @property
    def judgeable(self) -> bool:
        return len(self.seconds) >= LEAST

    def write(self, output: Path, plot: Path) -> None:
        if not self.judgeable:
            return
        write_record(output, self.record())
        asked = sum(self.tally["asked"].values())
        title = f"{self.seconds[-1] / 3600:.2g} h, {asked:,} requests, {self.restarts} restarts"
        draw(self.seconds, self.series, title, plot)

    def show(self) -> None:
        for (process, quantity), found in self.judged().items():
            mark = "GROWS" if found.grows else ""
            level = self.series[process, quantity][-1]
            change = f"{found.percent:+7.2f} % ({found.low:+.2f} .. {found.high:+.2f})"
            print(f"{process:24} {quantity:11} {level:9.1f} {change} {mark}")
        print(f"asked {self.tally['asked']}, failed {self.tally['failed']}, restarts {self.restarts}")


@contextlib.contextmanager
def program(module: str, *arguments: str, **options: Any) -> Iterator["subprocess.Popen[str]"]:
    """A program of this folder, that gets SIGTERM at the end."""
    process = subprocess.Popen([sys.executable, "-m", f"benchmarks.soak.{module}", *arguments], text=True, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@errors_in_one_line()
def main(
    minutes: Annotated[float, typer.Option(help="How long.")] = 10.0,
    rate: Annotated[float, typer.Option(help="Requests a second.")] = 3.0,
    repository: Annotated[Path, typer.Option(help="An exported repository.")] = Path("model_repository"),
    output: Annotated[Path, typer.Option(help="The record, as JSON.")] = Path("docs/records/soak.json"),
    plot: Annotated[Path, typer.Option(help="The plot.")] = Path("docs/soak.png"),
) -> None:
    """Watch a server under mixed traffic. Exit code 1 where something grows, is lost or is wrong."""
    for number in (signal.SIGTERM, signal.SIGINT):  # also where a shell has started it in the background
        signal.signal(number, signal.default_int_handler)
    soak, last_tally = Soak(minutes, rate), threading.Event()
    with (
        contextlib.suppress(KeyboardInterrupt),
        tempfile.TemporaryFile("w+") as log,
        replicas(repository, 1, ALL_CORES, "--client-shared-memory", log=log) as (replica,),
        gateway("--url", replica.server.grpc_url, "--concurrency", "64", log=log) as (address, _),
        program("control", str(_control_rate(minutes))) as control,
        program("traffic", str(rate), *_doors(replica, address), stdout=subprocess.PIPE) as traffic,
    ):
        threading.Thread(target=_listen, args=(traffic, soak, last_tally), daemon=True).start()
        others = {
            "gateway": child_with("gateway", os.getpid()),
            "clients": traffic.pid,
            CONTROL: control.pid,
        }
        try:
            _watch(soak, Watched(replica, others), minutes, output, plot)
        finally:
            traffic.terminate()
            last_tally.wait(END)
            soak.write(output, plot)
    if not soak.judgeable:
        raise DiffusionError("cut off before there was anything to judge")
    soak.show()
    raise typer.Exit(0 if soak.kept else 1)


def _watch(soak: Soak, watched: Watched, minutes: float, output: Path, plot: Path) -> None:
    interval = max(1.0, 60 * minutes / SAMPLES)
    start = written = time.monotonic()
    while (now := time.monotonic()) < start + 60 * minutes:
        with contextlib.suppress(OSError, ValueError):  # the server starts again
            soak.add(now - start, watched.sample())
        soak.restarts = watched.restarts
        if now - written > max(30.0, 60 * minutes / REPORTS):
            soak.write(output, plot)
            written = now
        time.sleep(interval)


def _doors(replica: Replica, gateway: str) -> list[str]:
    return [replica.server.grpc_url, replica.server.http_url, gateway.removeprefix("http://")]


def _control_rate(minutes: float) -> float:
    """Bytes a second."""
    return LEAKS / 100 * BALLAST / (60 * minutes * (1 - WARM_UP))


def _listen(traffic: "subprocess.Popen[str]", soak: Soak, last: threading.Event) -> None:
    assert traffic.stdout is not None
    for line in traffic.stdout:
        soak.tally = json.loads(line)
    last.set()


if __name__ == "__main__":
    typer.run(main)
