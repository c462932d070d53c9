"""Triton model repository of a checkpoint: its networks, and what `diffusion` must know of them."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from export.checkpoint.components import Checkpoint
from export.checkpoint.tokenizer import standalone_tokenizer
from export.config import SETTINGS, hand_written_config, network_config
from export.description import describe, for_clients, tokenizer_file
from export.graph.gate import check_graph
from export.graph.graphs import write_graph
from export.loop import HAND_WRITTEN
from export.plan.plans import Target, write_plan
from export.runtime import Precision, Runtime
from export.runtimes.torch_model import Batches, write_torch_model
from export.specification import DIFFUSION, HAND_WRITTEN_MODELS, Network, Sizes
from export.staging import install, staging_folder

PYTHON_CODE = tuple(Path(__file__).parent / "runtimes" / "python" / name for name in ("model.py", "network.py"))
LOOP = Path(DIFFUSION.name) / "1"


@dataclass(frozen=True)
class Export:
    """One export: the checkpoint, and how it is to be written."""

    checkpoint: Checkpoint
    sizes: Sizes
    networks: Mapping[str, Network]  # the checkpoint's, for these sizes
    runtime: Runtime = Runtime.PYTHON
    precision: Precision = Precision.FP32
    batches: Batches | None = None  # for the torch runtime; None compiles nothing
    target: Target | None = None  # for the TensorRT runtimes


def write_repository(export: Export, repository: Path, report: Callable[[str], None]) -> None:
    """Write `export` into `repository`, which changes only once every network has passed its gate.

    In the project's own repository the hand-written code stays where it is; any other gets a copy of it.
    `report` is told in a few words what is being done.
    """
    with staging_folder(repository) as folder:
        staging = Path(folder)
        facts = write_facts(export, staging)
        if repository.resolve() == HAND_WRITTEN:
            entries = (*export.networks, *facts)
        else:
            entries = (*export.networks, *(model.name for model in HAND_WRITTEN_MODELS))
            _copy_code(staging)
        # The denoiser comes last: what is wrong with the others shows before its long export.
        for network in sorted(export.networks.values(), key=lambda network: network.name == "denoiser"):
            _write_network(export, network, staging / network.name, report)
        report("moving the models into place")
        install(staging, repository, entries)


def write_facts(export: Export, staging: Path) -> list[str]:
    """Write what the hand-written models have beside their code; returns the files, relative to `staging`."""
    description = describe(export.checkpoint, export.sizes, export.networks)
    files = {str(LOOP / "checkpoint.json"): json.dumps(description, indent=2) + "\n"}
    for name, source in export.checkpoint.family.text_inputs.items():
        tokenizer = standalone_tokenizer(export.checkpoint.load_tokenizer(name), source.num_tokens)
        files[str(LOOP / tokenizer_file(source.tokenizer))] = tokenizer.to_str()
    for model in HAND_WRITTEN_MODELS:
        parameters = {"description": for_clients(description)} if model is DIFFUSION else {}
        files[f"{model.name}/config.pbtxt"] = hand_written_config(model, parameters)
    for file, text in files.items():
        (staging / file).parent.mkdir(parents=True, exist_ok=True)
        (staging / file).write_text(text, encoding="utf-8")
    return [*files]


def _copy_code(staging: Path) -> None:
    # Beside the code may lie what an export into the project's own repository has written.
    skipped = shutil.ignore_patterns("__pycache__", "*.json", "config.pbtxt")
    for model in HAND_WRITTEN_MODELS:
        shutil.copytree(HAND_WRITTEN / model.name, staging / model.name, ignore=skipped, dirs_exist_ok=True)


def _write_network(export: Export, network: Network, folder: Path, report: Callable[[str], None]) -> None:
    version = folder / "1"
    version.mkdir(parents=True)
    if export.runtime in SETTINGS:
        (folder / "config.pbtxt").write_text(network_config(network, export.runtime), encoding="utf-8")
    report(f"{network.name}: reading the weights")
    module = export.checkpoint.load_module(network)  # only the one in work is held in memory
    if export.runtime is Runtime.TORCH:
        report(f"{network.name}: writing it in {export.precision.upper()} and comparing that with FP32")
        batches = export.batches[network.name] if export.batches else ()
        write_torch_model(network, module, version, export.precision, export.checkpoint.family.modules, batches)
        return
    if export.runtime is Runtime.PYTHON:
        for file in PYTHON_CODE:
            shutil.copy(file, version)
    report(f"{network.name}: exporting the graph")
    graph = write_graph(network, module, version, export.precision)
    report(f"{network.name}: comparing ONNX Runtime with PyTorch")
    check_graph(network, graph, module, export.precision)
    if export.target:
        del module  # a plan needs the memory
        write_plan(network, graph, export.target, report)
