"""TensorRT and TensorRT-RTX plans: what they are built for, their building, and the facts that lie beside them.

Both flavours have the same Python interface. TensorRT builds for the GPU of this machine and times kernels on it;
TensorRT-RTX builds ahead of time, for any GPUs of its list, and needs none.
"""

import ctypes
import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from export.digest import digest
from export.errors import PlanError, RequestError
from export.runtime import Runtime
from export.specification import Axis, Network, Tensor

MODULES = {Runtime.TENSORRT: "tensorrt", Runtime.TENSORRT_RTX: "tensorrt_rtx_bindings"}
INSTALL = {
    Runtime.TENSORRT: "run this in NVIDIA's TensorRT container or `pip install tensorrt`, in the server's version",
    Runtime.TENSORRT_RTX: "`pip install -r requirements/tensorrt-rtx.txt`",
}
MIN_VERSION = (10, 12)
"""Of TensorRT: the oldest in which every graph of ours is known to parse with its types."""
USUAL_SMS = "80,86,89,120"
"""Ampere to Blackwell. Each adds to the time and to the plan."""

BUILDER = (sys.executable, "-m", "export.plan.builder")
ROOT = Path(__file__).parents[2]
STOP_SECONDS = 60


@dataclass(frozen=True)
class Target:
    """The builder of the plans, and the GPUs they are for."""

    module: str  # its name in Python
    version: str
    compute_capabilities: tuple[str, ...]  # such as "8.6"
    gpu: str | None  # its name; None: built ahead of time

    @property
    def timings(self) -> Path | None:
        """The file of kernel timings, kept between builds; for one version and GPU. None: nothing is timed."""
        if self.gpu is None:
            return None
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return caches / "triton-diffusion" / f"timings-{self.version}-{self.compute_capabilities[0]}"


def choose_target(runtime: Runtime, sm: str | None) -> Target | None:
    """The target of `runtime` and `--sm`; None for a runtime without plans. Raises RequestError and PlanError."""
    if sm is not None and runtime is not Runtime.TENSORRT_RTX:
        raise RequestError(f"--sm needs --runtime tensorrt-rtx: leave it out for {runtime}")
    if runtime not in MODULES:
        return None
    trt = _import(runtime)
    if runtime is Runtime.TENSORRT:
        check_version(trt.__version__)
        gpu, capability = _this_gpu()
        return Target(trt.__name__, trt.__version__, (capability,), gpu)
    supported = [name[2:] for name in trt.ComputeCapability.__members__ if name.startswith("SM")]
    capabilities = tuple(f"{sm[:-1]}.{sm[-1]}" for sm in parse_sms(USUAL_SMS if sm is None else sm, supported))
    return Target(trt.__name__, trt.__version__, capabilities, gpu=None)


def parse_sms(text: str, supported: list[str]) -> list[str]:
    """The numbers in `text`, such as "86,120". Raises RequestError."""
    if not re.fullmatch(r"\d+(,\d+)*", text) or not {*text.split(",")} <= {*supported}:
        raise RequestError(
            f"--sm is {text!r}: write one or more of {', '.join(supported)} with commas between, such as 86,120"
        )
    return list(dict.fromkeys(text.split(",")))


def check_version(version: str) -> None:
    """Raise PlanError where TensorRT is too old for strongly typed plans."""
    if tuple(map(int, version.split(".")[:2])) < MIN_VERSION:
        raise PlanError(
            f"TensorRT is {version} here, and plans need {'.'.join(map(str, MIN_VERSION))} or later:"
            f" {INSTALL[Runtime.TENSORRT]}, or use --runtime onnxruntime"
        )


def _import(runtime: Runtime) -> ModuleType:
    try:
        return importlib.import_module(MODULES[runtime])
    except (ImportError, OSError) as error:  # OSError: of a library that it needs
        raise PlanError(f"--runtime {runtime} needs the module {MODULES[runtime]} ({error}): {INSTALL[runtime]}") from (
            error
        )


def _this_gpu() -> tuple[str, str]:
    """Name and compute capability of the GPU that CUDA takes first."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
        name, major, minor = ctypes.create_string_buffer(100), ctypes.c_int(), ctypes.c_int()
        found = not any(
            (
                cuda.cuInit(0),
                cuda.cuDeviceGetName(name, len(name), 0),
                cuda.cuDeviceGetAttribute(ctypes.byref(major), 75, 0),  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
                cuda.cuDeviceGetAttribute(ctypes.byref(minor), 76, 0),
            )
        )
    except OSError:
        found = False
    if not found:
        raise PlanError(
            "--runtime tensorrt builds on the GPU that will serve, and there is none here:"
            " run it there, or use --runtime tensorrt-rtx --sm NUMBERS, which needs none"
        )
    return name.value.decode(), f"{major.value}.{minor.value}"


def shapes(network: Network) -> dict[str, list[list[int]]]:
    """The smallest, the usual and the largest shape of each input, batch axis included."""
    return {
        tensor.name: [
            [1, *_sizes(tensor, lambda axis: axis.sizes.min)],
            [network.usual_batch, *_sizes(tensor, lambda axis: axis.usual)],
            [network.max_batch, *_sizes(tensor, lambda axis: axis.sizes.max)],
        ]
        for tensor in network.inputs
    }


def _sizes(tensor: Tensor, choose: Callable[[Axis], int]) -> list[Any]:
    return [choose(size) if isinstance(size, Axis) else size for size in tensor.shape]


def write_plan(network: Network, graph: Path, target: Target, report: Callable[[str], None]) -> None:
    """Put model.plan and plan.json into the place of `graph`. Raises PlanError."""
    report(f"{network.name}: building the plan")
    facts = {
        "module": target.module,
        "version": target.version,
        "gpu": target.gpu,
        "compute_capabilities": target.compute_capabilities,
        "graph_digest": digest(graph.parent, graph.parent.glob("model.onnx*")),
    }
    job = {
        "module": target.module,
        "graph": str(graph),
        "plan": str(graph.with_name("model.plan")),
        "shapes": shapes(network),
        "compute_capabilities": target.compute_capabilities if target.gpu is None else (),
        "timings": target.timings and str(target.timings),
    }
    run_builder(network.name, job, report)
    graph.with_name("plan.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    for file in graph.parent.glob("model.onnx*"):
        file.unlink()


def run_builder(name: str, job: dict[str, Any], report: Callable[[str], None]) -> None:
    """Do `job` in a process of its own: where memory runs out, TensorRT does not return. Raises PlanError."""
    with subprocess.Popen(
        [*BUILDER, json.dumps(job)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,  # Ctrl-C reaches us alone
    ) as builder:
        assert builder.stdin is not None
        assert builder.stdout is not None
        try:
            failure = None
            for line in builder.stdout:
                event = json.loads(line)
                if "progress" in event:
                    report(f"{name}: building the plan, {event['progress']}")
                else:
                    failure = event
            code = builder.wait()
        except BaseException:
            builder.stdin.close()  # it stops at its next step, and keeps its timings
            try:
                builder.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                builder.kill()
            raise
    if failure and "errno" in failure:
        raise OSError(failure["errno"], failure["error"], failure["file"])
    if failure:
        raise PlanError(f"{name}: {failure['error']}")
    if code:
        raise PlanError(
            f"{name}: the builder of the plan ended with code {code}, most likely because memory ran out:"
            " end other programs, or build on a machine with more"
        )
