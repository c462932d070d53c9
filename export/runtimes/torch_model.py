"""The torch runtime's models: the network's own files and the Python that runs them, in a folder that needs no more."""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import torch

from export.errors import RequestError
from export.graph.gate import LIMITS, check_output, random_inputs
from export.graph.graphs import TORCH_DTYPES
from export.runtime import Precision, Runtime
from export.runtimes.torch.engine import Engine
from export.specification import Axis, Network

RUNTIME = Path(__file__).parent / "torch"
CODE = (RUNTIME / "model.py", RUNTIME / "network.py", RUNTIME / "engine.py", RUNTIME / "arrays.py")

Batches: TypeAlias = Mapping[str, tuple[int, ...]]
"""Rows a call that the server compiles each network for before it is ready, all for the default image size."""


def check_precision(runtime: Runtime, precision: Precision) -> None:
    """Raise RequestError where `runtime` has no such precision."""
    if precision is Precision.BF16 and runtime is not Runtime.TORCH:
        raise RequestError(f"--precision bf16 needs --runtime torch: for {runtime} use fp16 or fp32")


def choose_batches(
    runtime: Runtime, networks: Mapping[str, Network], wanted: bool | None, batches: str | None
) -> Batches | None:
    """The batches that `--compile`, `--no-compile` (None: neither) and `--batches` ask for. Raises RequestError."""
    if runtime is not Runtime.TORCH and (wanted is not None or batches is not None):
        raise RequestError(f"--compile, --no-compile and --batches need --runtime torch: leave them out for {runtime}")
    if wanted is False and batches is not None:
        raise RequestError("--batches says what to compile and --no-compile forbids it: give one of them")
    if runtime is not Runtime.TORCH or wanted is False:
        return None
    chosen = {name: network.compile_batches for name, network in networks.items()}
    if batches is not None:
        chosen["denoiser"] = _parse(batches, networks["denoiser"].max_batch)
    return chosen


def _parse(text: str, largest: int) -> tuple[int, ...]:
    batches = {int(batch) for batch in text.split(",")} if re.fullmatch(r"[0-9]{1,4}(,[0-9]{1,4})*", text) else set()
    if not batches or not batches <= {*range(1, largest + 1)}:
        raise RequestError(f"--batches is {text!r}: write the denoiser's rows a call, 1 to {largest}, such as 1,2,8")
    return tuple(sorted(batches))


def _settings(network: Network, precision: Precision, batches: tuple[int, ...]) -> dict[str, Any]:
    """What `network.py` must know: precision, and one row of each input at the usual size."""
    inputs = {
        tensor.name: {
            "dtype": str(TORCH_DTYPES[tensor.dtype]).removeprefix("torch."),
            "shape": [size.usual if isinstance(size, Axis) else size for size in tensor.shape],
        }
        for tensor in network.inputs
    }
    return {"name": network.name, "precision": precision, "inputs": inputs, "compile_batches": batches}


def write_torch_model(
    network: Network,
    module: torch.nn.Module,
    folder: Path,
    precision: Precision,
    modules: ModuleType,
    batches: tuple[int, ...] = (),
) -> None:
    """Write `module` in `precision` and its code, of the family's `modules`, into `folder`, a version of `network`,
    which will compile for `batches`.

    Raises GateError unless what was written, run uncompiled, computes what `module` does. Afterwards `module` is no
    longer FP32: the weights are held in memory once only.
    """
    limits = LIMITS[precision]
    feeds = [feed for scale in limits.scales for feed in random_inputs(network, scale)]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module.to(device)
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        references = [
            module(**{name: torch.from_numpy(array).to(device) for name, array in feed.items()}) for feed in feeds
        ]
    for name, component in module.named_children():
        weights = folder / "weights" / name
        component.to(modules.DTYPES[precision]).save_pretrained(weights)
        _forget_origin(weights / "config.json")
    settings = _settings(network, precision, batches)
    (folder / "network.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    for file in CODE:
        shutil.copy(file, folder)
    shutil.copy(str(modules.__file__), folder / "modules.py")
    engine = Engine(modules.load_module(network.name, folder / "weights", precision), device)
    for feed, reference in zip(feeds, references):
        measured = engine(**feed)
        for tensor in network.outputs:
            what = f"{network.name}: {tensor.name}"
            check_output(what, reference[tensor.name].cpu().numpy(), measured[tensor.name].cpu().numpy(), limits)


def _forget_origin(path: Path) -> None:
    """Take out of a configuration the folder that the network was read from."""
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings.pop("_name_or_path", None)
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
