"""The command line: `python -m benchmarks.gpu --output DIR` measures on this machine's GPU."""

import time
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from triton_diffusion.cli import errors_in_one_line

from benchmarks.gpu.device import measure_device
from benchmarks.gpu.ladder import Amount, Ladder
from benchmarks.gpu.record import Record
from benchmarks.gpu.served import measure_served
from benchmarks.ladder.engines.engine import device
from benchmarks.ladder.engines.torch_engine import TorchEngine
from benchmarks.ladder.rungs import Rung, ladder
from benchmarks.ladder.samplers import DPMPP_2M
from benchmarks.ladder.workspace import Workspace
from benchmarks.recording import machine
from export.checkpoint.components import read_checkpoint
from export.checkpoint.random_weights import Architecture, random_pipeline
from export.quiet import quiet_libraries
from export.repository import Export, write_facts
from export.sizes import choose_sizes

REHEARSAL = Amount(rounds=1, calls=2, images=1, few=2, more=3, requests=16, side=64)


class Part(IntEnum):
    """What is measured in one go, of at most eight minutes."""

    HEADLINE = 1  # the first rungs, the last one, and diffusers
    RUNGS = 2  # those between
    SERVED = 3  # the real server, and the same loop without it
    DEVICE = 4  # the loop on the device and on the host


def rungs_of(part: Part) -> list[Rung]:
    """The rungs of `part`, one of the first two; plain PyTorch, which images are compared with, is in both."""
    between = [rung for rung in ladder() if isinstance(rung.engine, TorchEngine) and rung.engine != TorchEngine()]
    if part is Part.HEADLINE:
        return [rung for rung in ladder() if rung not in between and rung.engine.exported is None]
    return [*(rung for rung in ladder() if rung.engine == TorchEngine() and rung.sampler == DPMPP_2M), *between]


@errors_in_one_line()
def main(
    output: Annotated[Path, typer.Option(metavar="DIR", help="Takes gpu.json and what the parts need.")],
    part: Annotated[int | None, typer.Option(min=1, max=len(Part), help="Run one part. Default: all.")] = None,
    rehearse: Annotated[bool, typer.Option(help="Run all of it with tiny networks, on the CPU too.")] = False,
) -> None:
    """Measure the ladder on a GPU, with full-size networks of random weights made here."""
    if device() != "cuda" and not rehearse:
        raise typer.BadParameter("no GPU that PyTorch can use: run it on a machine with one, or --rehearse")
    quiet_libraries()
    start = time.monotonic()

    def report(text: str) -> None:
        print(f"{time.monotonic() - start:6.1f} s  {text}", flush=True)

    workspace = prepare(output, Architecture.TINY if rehearse else Architecture.SD15, report)
    amount = REHEARSAL if rehearse else Amount()
    for chosen in Part if part is None else (Part(part),):
        record = Record(output / "gpu.json", chosen.name.lower(), about(workspace))
        if chosen is Part.SERVED:
            measure_served(workspace, record, amount.requests, report)
        elif chosen is Part.DEVICE:
            measure_device(workspace, record, amount.requests, report)
        else:
            Ladder(workspace, record, amount, rungs_of(chosen), report).measure()
    report(f"done: {output / 'gpu.json'}")


def prepare(folder: Path, architecture: Architecture, report: Callable[[str], None]) -> Workspace:
    """The workspace of a checkpoint with random weights, both in `folder`, with what a loop must know of it."""
    checkpoint = folder / architecture
    if not checkpoint.exists():
        report(f"making {architecture} with random weights")
        random_pipeline(architecture).save_pretrained(checkpoint)
    workspace = Workspace(read_checkpoint(str(checkpoint)), folder)
    sizes = choose_sizes(workspace.checkpoint, None, None)
    write_facts(Export(workspace.checkpoint, sizes, workspace.checkpoint.networks(sizes)), workspace.repository())
    return workspace


def about(workspace: Workspace) -> dict[str, Any]:
    """The machine and the checkpoint."""
    height, width = workspace.checkpoint.native_size
    return {
        "machine": machine(),
        "checkpoint": f"{workspace.checkpoint.name} with random weights, {width}x{height}",
    }


if __name__ == "__main__":
    typer.run(main)
