"""Readers of the files that perf_analyzer writes.

The times inside the server come from the CSV files. Images a second and latencies come from the time stamps of the
profile export: the CSV's throughput counts whole seconds, one or two of them after the last response, which is much in
a short run.
"""

import csv
import mmap
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import BenchError

# The export holds every image as a list of numbers, too much to be read as JSON; no text in it can look like these.
_TIMES = re.compile(rb'"timestamp":\s*(\d+).*?"response_timestamps":\s*\[\s*(\d+)', re.DOTALL)
_SERVER_TIMES = ("Server Queue", "Server Compute Input", "Server Compute Infer", "Server Compute Output")


@dataclass(frozen=True)
class Profile:
    """One run as the client's side saw it."""

    requests: int
    images_per_second: float  # from the first request sent to the last image received
    sent_per_second: float  # between the first request and the last; 0 for a single one
    latencies: np.ndarray  # milliseconds, float64 (requests,)


@dataclass(frozen=True)
class ModelTime:
    """Mean milliseconds that one call of a model, or of a network, took inside the server."""

    queue: float
    compute: float  # with the copies of inputs and outputs


def read_profile(path: Path) -> Profile:
    """The run in a `--profile-export-file` with one image a request. Raises BenchError if the file holds none."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        times = np.array([[int(sent), int(received)] for sent, received in _TIMES.findall(content)])  # ns
    if not len(times):
        raise BenchError(f"{path.name} of perf_analyzer holds no request: is this another version of it?")
    sent, received = times.T
    seconds = (received.max() - sent.min()) / 1e9
    sending = np.ptp(sent) / 1e9
    return Profile(
        requests=len(times),
        images_per_second=len(times) / seconds,
        sent_per_second=(len(times) - 1) / sending if sending else 0.0,
        latencies=(received - sent) / 1e6,
    )


def read_model_time(path: Path) -> ModelTime:
    """The times in the CSV file of the model that was asked."""
    with path.open(newline="") as file:
        (row,) = csv.DictReader(file)
    queue, *compute = (float(row[name]) / 1000 for name in _SERVER_TIMES)  # from microseconds
    return ModelTime(queue, sum(compute))
