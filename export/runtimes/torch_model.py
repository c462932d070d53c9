"""The torch runtime's models: the network's own files and the Python that runs them, in a folder that needs no more."""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from export import modules
from export.config import Precision, Runtime
from export.errors import RequestError
from export.graph.gate import LIMITS, check_output, random_inputs
from export.runtimes.torch.engine import Engine
from export.specification import MAX_BATCH, Model, Sizes

RUNTIME = Path(__file__).parent / "torch"
CODE = (RUNTIME / "model.py", RUNTIME / "engine.py", Path(modules.__file__))

UNET_BATCHES = (1, 2, 4, 8)
# Batches of other sizes are put together from these: prompts are encoded two at once, pictures decoded singly.
BATCHES = {"text_encoder": (2,), "vae_decoder": (1,)}


@dataclass(frozen=True)
class Compilation:
    """The graphs that the server compiles before it is ready: one a batch size, all for the default picture size."""

    unet_batches: tuple[int, ...]
    latent_size: tuple[int, int]  # (height, width)


def check_precision(runtime: Runtime, precision: Precision) -> None:
    """Raise RequestError where `runtime` has no such precision."""
    if precision is Precision.BF16 and runtime is not Runtime.TORCH:
        raise RequestError(f"--precision bf16 needs --runtime torch: for {runtime} use fp16 or fp32")


def choose_compilation(runtime: Runtime, sizes: Sizes, wanted: bool | None, batches: str | None) -> Compilation | None:
    """What `--compile` or `--no-compile` (None: neither) and `--batches` ask for. Raises RequestError."""
    if runtime is not Runtime.TORCH and (wanted is not None or batches is not None):
        raise RequestError(f"--compile, --no-compile and --batches need --runtime torch: leave them out for {runtime}")
    if wanted is False and batches is not None:
        raise RequestError("--batches says what to compile and --no-compile forbids it: give one of them")
    if runtime is not Runtime.TORCH or wanted is False:
        return None
    latent_size = sizes.height // sizes.vae_factor, sizes.width // sizes.vae_factor
    return Compilation(UNET_BATCHES if batches is None else _parse(batches), latent_size)


def _parse(text: str) -> tuple[int, ...]:
    largest = MAX_BATCH["unet"]
    batches = {int(batch) for batch in text.split(",")} if re.fullmatch(r"[0-9]{1,4}(,[0-9]{1,4})*", text) else set()
    if not batches or not batches <= {*range(1, largest + 1)}:
        raise RequestError(f"--batches is {text!r}: write the UNet's rows a call, 1 to {largest}, such as 1,2,8")
    return tuple(sorted(batches))


def torch_parameters(model: Model, precision: Precision, compilation: Compilation | None) -> dict[str, str]:
    """The parameters in config.pbtxt that the Python model reads."""
    if compilation is None:
        return {"precision": precision}
    batches = BATCHES.get(model.name, compilation.unet_batches)
    return {
        "precision": precision,
        "compile_batches": ",".join(map(str, batches)),
        "compile_latent_size": "x".join(map(str, compilation.latent_size)),
    }


def write_torch_model(
    model: Model, module: torch.nn.Module, folder: Path, precision: Precision, below: dict[str, int]
) -> None:
    """Write `module`'s network in `precision` and its code into `folder`, a version of `model`.

    Raises GateError unless what was written, run uncompiled, computes what `module` does. Afterwards `module` is no
    longer FP32: the weights are held in memory once only. `below` is as for `check_graph`.
    """
    limits = LIMITS[precision]
    feeds = [
        [feed[tensor.name] for tensor in model.inputs]
        for scale in limits.scales
        for feed in random_inputs(model, below, scale)
    ]
    with torch.inference_mode():
        references = [module(*map(torch.from_numpy, feed)).numpy() for feed in feeds]
    weights = folder / "weights"
    (network,) = module.children()
    network.to(modules.DTYPES[precision]).save_pretrained(weights)
    _forget_origin(weights / "config.json")
    for file in CODE:
        shutil.copy(file, folder)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    engine = Engine(modules.load_module(model.name, weights, precision), device)
    for feed, reference in zip(feeds, references):
        check_output(f"{model.name}: {model.outputs[0].name}", reference, engine(*feed).cpu().numpy(), limits)


def _forget_origin(path: Path) -> None:
    """Take out of a configuration the folder that the network was read from."""
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings.pop("_name_or_path", None)
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
