"""Writes a Triton model repository: the three engines of a checkpoint and what `diffusion` must know of it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from export.checkpoint.components import Checkpoint
from export.checkpoint.tokenizer import standalone_tokenizer
from export.config import SETTINGS, Precision, Runtime, config_pbtxt
from export.description import describe, for_clients
from export.graph.gate import check_graph
from export.graph.graphs import axes, write_graph
from export.modules import TextEncoder, UNet, VaeDecoder
from export.plan.plans import Target, write_plan
from export.runtimes.torch_model import Compilation, torch_parameters, write_torch_model
from export.specification import HAND_WRITTEN_MODELS, Model, Sizes, engines
from export.staging import install, staging_folder

HAND_WRITTEN = Path(__file__).resolve().parents[1] / "model_repository"
# The UNet comes last: what is wrong with the others shows before its long export.
ENGINES = ("text_encoder", "vae_decoder", "unet")
FACTS = ("diffusion/1/tokenizer.json", "diffusion/1/checkpoint.json")

PYTHON_MODEL = Path(__file__).parent / "runtimes" / "python" / "model.py"


@dataclass(frozen=True)
class Export:
    """What is to be written."""

    checkpoint: Checkpoint
    sizes: Sizes
    runtime: Runtime = Runtime.PYTHON
    precision: Precision = Precision.FP32
    compilation: Compilation | None = None  # for the torch runtime; None compiles nothing
    target: Target | None = None  # for the TensorRT runtimes


def write_repository(export: Export, repository: Path, report: Callable[[str], None]) -> None:
    """Write `export` into `repository`, which changes only once every model has passed its gate.

    In the project's own repository the hand-written models stay where they are; any other gets copies of them.
    `report` is told in a few words what is being done.
    """
    with staging_folder(repository) as folder:
        staging = Path(folder)
        if repository.resolve() == HAND_WRITTEN:
            entries = (*ENGINES, *FACTS)
        else:
            entries = (*ENGINES, *HAND_WRITTEN_MODELS)
            _copy_hand_written(staging)
        _write_facts(export, staging)
        for name in ENGINES:
            _write_engine(export, engines(export.sizes)[name], staging / name, report)
        report("moving the models into place")
        install(staging, repository, entries)


def _copy_hand_written(staging: Path) -> None:
    for name in HAND_WRITTEN_MODELS:
        skipped = shutil.ignore_patterns("__pycache__", *(Path(fact).name for fact in FACTS))
        shutil.copytree(HAND_WRITTEN / name, staging / name, ignore=skipped)


def _write_facts(export: Export, staging: Path) -> None:
    tokenizer, description = (staging / fact for fact in FACTS)
    tokenizer.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.write_text(standalone_tokenizer(export.checkpoint.load_tokenizer()).to_str(), encoding="utf-8")
    description.write_text(json.dumps(describe(export.checkpoint, export.sizes), indent=2) + "\n", encoding="utf-8")


def _write_engine(export: Export, model: Model, folder: Path, report: Callable[[str], None]) -> None:
    version = folder / "1"
    version.mkdir(parents=True)
    if export.runtime in SETTINGS:
        (folder / "config.pbtxt").write_text(_config(export, model), encoding="utf-8")
    report(f"{model.name}: reading the weights")
    module = _module(export.checkpoint, model)
    below = {
        "input_ids": export.checkpoint.text_encoder.vocab_size,
        "timestep": export.checkpoint.schedule["num_train_timesteps"],
    }
    if export.runtime is Runtime.TORCH:
        report(f"{model.name}: writing it in {export.precision.upper()} and comparing that with FP32")
        write_torch_model(model, module, version, export.precision, below)
        return
    if export.runtime is Runtime.PYTHON:
        shutil.copy(PYTHON_MODEL, version)
    report(f"{model.name}: exporting the graph")
    graph = write_graph(model, module, version, export.precision)
    report(f"{model.name}: comparing ONNX Runtime with PyTorch")
    check_graph(model, graph, module, below, export.precision)
    if export.target:
        del module  # a plan needs the memory
        write_plan(model, graph, export.target, report)


def _config(export: Export, model: Model) -> str:
    parameters = {"checkpoint": for_clients(describe(export.checkpoint, export.sizes))}
    if export.runtime is Runtime.TORCH:
        parameters |= torch_parameters(model, export.precision, export.compilation)
    return config_pbtxt(model, export.runtime, parameters)


def _module(checkpoint: Checkpoint, model: Model) -> torch.nn.Module:
    """The reference for `model`. Only the one in work is held in memory."""
    match model.name:
        case "text_encoder":
            return TextEncoder(checkpoint.load_text_encoder()).eval()
        case "vae_decoder":
            return VaeDecoder(checkpoint.load_vae()).eval()
        case _:
            return UNet(checkpoint.load_unet(), dynamic_size=bool(axes(model))).eval()
