"""Builder of one plan with TensorRT or TensorRT-RTX: `python -m export.plan.builder JOB`, called by plans.py.

JOB is JSON:

    {"module": "tensorrt", "graph": "model.onnx", "plan": "model.plan", "timings": "file" or null,
     "shapes": {"sample": [[1, 4, 64, 64], [2, 4, 64, 64], [32, 4, 64, 64]]},  smallest, usual, largest
     "compute_capabilities": ["8.6"]}                                           empty: this machine's GPU

Says on standard output, in lines of JSON, how far it is and what went wrong. Stops when standard input ends.
"""

import contextlib
import importlib
import json
import re
import select
import sys
import time
from pathlib import Path
from typing import Any

WORKSPACE = 4 << 30
"""Bytes of GPU memory that a kernel may use beside its inputs and outputs."""
OUT_OF_MEMORY = re.compile(r"out ?of ?memory|bad_alloc|insufficient memory|memory allocation", re.IGNORECASE)


class BuildError(Exception):
    """One line: why there is no plan."""


def tell(**event: Any) -> None:
    print(json.dumps(event), flush=True)


def asked_to_stop() -> bool:
    """Nothing is ever written to standard input, so it is readable once it has ended."""
    return bool(select.select([sys.stdin], [], [], 0)[0])


def listener(trt: Any) -> Any:
    """A logger that keeps the errors, as text in `errors`."""

    class Listener(trt.ILogger):
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.ERROR:
                self.errors.append(" ".join(message.split()))

    return Listener()


def monitor(trt: Any) -> Any:
    """Tells of the progress a few times a second, and ends the build when asked to stop."""

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            super().__init__()
            self.steps: dict[str, int] = {}
            self.told = 0.0

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self.steps[phase] = steps

        def phase_finish(self, phase: str) -> None:
            del self.steps[phase]

        def step_complete(self, phase: str, step: int) -> bool:
            if asked_to_stop():
                return False
            if time.monotonic() - self.told > 0.2:
                self.told = time.monotonic()
                with contextlib.suppress(BrokenPipeError):
                    tell(progress=f"{phase[0].lower()}{phase[1:]} {step + 1} of {self.steps[phase]}")
            return True

    return Monitor()


def parse(trt: Any, builder: Any, logger: Any, graph: str) -> Any:
    """The graph as a strongly typed network. Raises BuildError naming the first node that is not supported."""
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(graph):
        error = parser.get_error(0)
        raise BuildError(
            f"{trt.__name__} {trt.__version__} does not support the node {error.node_name()} ({error.node_operator()}:"
            f" {' '.join(error.desc().split())}): use another version, or --runtime onnxruntime"
        )
    return network


def profile(builder: Any, shapes: dict[str, list[list[int]]]) -> Any:
    """The optimisation profile of `shapes`."""
    made = builder.create_optimization_profile()
    for name, (smallest, usual, largest) in shapes.items():
        made.set_shape(name, smallest, usual, largest)
    return made


def configure(trt: Any, builder: Any, job: dict[str, Any]) -> Any:
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # so that `polygraphy inspect` can name the layers
    config.add_optimization_profile(profile(builder, job["shapes"]))
    if job["compute_capabilities"]:
        config.num_compute_capabilities = len(job["compute_capabilities"])
        for i, capability in enumerate(job["compute_capabilities"]):
            config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{capability.replace('.', '')}"), i)
    return config


def load_timings(config: Any, file: Path) -> None:
    """Start from the timings in `file`, if there are any that fit."""
    stored = config.create_timing_cache(file.read_bytes() if file.exists() else b"")
    if stored is None or not config.set_timing_cache(stored, ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)


def save_timings(config: Any, file: Path) -> None:
    """Keep the timings for the next build. Where that is not possible it is only slower."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f"{file.name}.new")
        new.write_bytes(config.get_timing_cache().serialize())
        new.rename(file)


def build(trt: Any, job: dict[str, Any]) -> None:
    """Write the plan, unless asked to stop. Raises BuildError."""
    logger = listener(trt)
    builder = trt.Builder(logger)
    network = parse(trt, builder, logger, job["graph"])
    config = configure(trt, builder, job)
    config.progress_monitor = watching = monitor(trt)  # the configuration does not keep it alive
    timings = job["timings"] and Path(job["timings"])
    if timings:
        load_timings(config, timings)
    plan = builder.build_serialized_network(network, config)
    del watching
    if timings:
        save_timings(config, timings)
    if plan is not None:
        with open(job["plan"], "wb") as file:
            file.write(plan)
    elif not asked_to_stop():
        raise BuildError(reason(logger.errors))


def reason(errors: list[str]) -> str:
    """Why TensorRT gave up, by what it logged."""
    for error in errors:
        if OUT_OF_MEMORY.search(error):
            return f"not enough memory to build the plan ({error}): end other programs, or build on a larger machine"
    return f"no plan could be built ({errors[0] if errors else 'TensorRT gave no reason'})"


def main() -> None:
    job = json.loads(sys.argv[1])
    try:
        build(importlib.import_module(job["module"]), job)
    except BuildError as error:
        tell(error=str(error))
    except OSError as error:
        tell(error=error.strerror, errno=error.errno, file=error.filename)


if __name__ == "__main__":
    main()
