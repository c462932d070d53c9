"""The loop on the device beside the loop on the host: the same networks, with PyTorch's arrays and with NumPy's.

On the device a request's latents, memory and conditioning stay there from start to decode, and the host prepares a step
while the device has another one to do; on the host every call of a network begins and ends there.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from networks import OpenNetwork
from networks.arrays import HOST, Array, Arrays
from networks.in_process import open_networks
from triton_diffusion.bench.perf_analyzer import find_perf_analyzer
from triton_diffusion.bench.workload import PROMPTS, mixed, uniform

from benchmarks.gpu.ladder import decibels
from benchmarks.gpu.record import Record
from benchmarks.gpu.served import export_torch, measure_server, perf_analyzer_folder
from benchmarks.ladder.engines.loop import PROMPT, Loop
from benchmarks.ladder.workspace import Workspace
from export.in_process import InProcess

SEED = 7
ROUNDS = 4
IMAGES = 5  # a round
CALLS = 40
ROWS = (2,)  # that the denoiser is compiled for: one guided image


class OnHost:
    """A network whose calls begin and end on the host."""

    arrays = HOST

    def __init__(self, network: OpenNetwork) -> None:
        self._network = network

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        arrays = self._network.arrays
        outputs = self._network(**{name: arrays.put(array) for name, array in inputs.items()})
        return {name: arrays.get(output) for name, output in outputs.items()}


def measure_device(workspace: Workspace, record: Record, requests: int, report: Callable[[str], None]) -> None:
    """Measure the loop on the device and on the host, then the server, with so many requests a run, into `record`."""
    report("exporting for the torch runtime")
    repository = export_torch(workspace, ROWS)
    report("opening the networks")
    start = time.perf_counter()
    networks = open_networks(repository, workspace.networks())
    record.put("opening_seconds", round(time.perf_counter() - start, 1))
    report("the loop, on the device and on the host")
    hosted = {name: OnHost(network) for name, network in networks.items()}
    record.put("denoiser_ms_a_call", _denoiser(repository, networks, hosted))
    record.put("loop", _in_turns(repository, networks, hosted))
    measure_server(
        "in-process",
        (1,),
        repository,
        find_perf_analyzer(perf_analyzer_folder()),
        [uniform(requests, PROMPTS, {}), mixed(requests, PROMPTS)],
        record,
        report,
    )


def _denoiser(
    repository: Path, networks: Mapping[str, OpenNetwork], hosted: Mapping[str, OpenNetwork]
) -> dict[str, float]:
    """Milliseconds a call of one guided image: on the device, one after another, and begun and ended on the host."""
    inputs = Loop(repository, hosted).denoiser_inputs()
    arrays = networks["denoiser"].arrays
    on_device = {name: arrays.put(array) for name, array in inputs.items()}
    return {
        "on_the_device": _milliseconds_a_call(networks["denoiser"], on_device, arrays),
        "through_the_host": _milliseconds_a_call(hosted["denoiser"], inputs, arrays),
    }


def _milliseconds_a_call(network: Callable[..., Any], inputs: dict[str, Array], arrays: Arrays) -> float:
    network(**inputs)
    arrays.mark().wait()
    start = time.perf_counter()
    for _ in range(CALLS):
        network(**inputs)
    arrays.mark().wait()
    return round(1000 * (time.perf_counter() - start) / CALLS, 3)


def _in_turns(
    repository: Path, networks: Mapping[str, OpenNetwork], hosted: Mapping[str, OpenNetwork]
) -> dict[str, Any]:
    """Milliseconds of images made by the loop on either side, in turns, and how far their images are apart."""
    times: dict[str, list[float]] = {"device": [], "host": []}
    with InProcess(repository, networks=networks) as device, InProcess(repository, networks=hosted) as host:
        sides = {"device": device, "host": host}
        images = {name: side.generate(PROMPT, seed=SEED).result()[0] for name, side in sides.items()}
        for _ in range(ROUNDS):
            for name, side in sides.items():
                for _ in range(IMAGES):
                    start = time.perf_counter()
                    side.generate(PROMPT, seed=SEED).result()
                    times[name].append(1000 * (time.perf_counter() - start))
    medians = {f"{name}_ms": round(statistics.median(each), 2) for name, each in times.items()}
    return {**medians, "psnr": decibels(images["device"], images["host"])}
