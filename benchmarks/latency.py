"""Latency of one served image, by part: python -m benchmarks.latency [--output FILE]

One client asks `text_to_image` for one image after another with every default. Triton's statistics tell the networks'
time, `diffusion_generation_seconds_sum` the time from acceptance to the last response, and the client the total:

    text_encoder, denoiser, vae_decoder   inside the networks
    loop                                  the rest of the generation: tables, updates, calls between models
    transport                             the rest of the total: text_to_image, Triton's front end, gRPC, the client

For comparison, in the same run and in this process: the same loop and graphs without Triton, and diffusers with the
same checkpoint, sampler and steps.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import torch
import tritonclient.grpc
import typer
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from rich.console import Console
from rich.table import Table
from triton_diffusion import Client
from triton_diffusion.cli import errors_in_one_line

from benchmarks.recording import machine, write_record
from export.in_process import InProcess
from tests.support.launching import ADMIN_KEY, Server
from tests.support.replicas import replicas

SHIPPED = Path("shapes/checkpoint")
PROMPT = "a small red circle on the left of a blue background"
WARM_UP = 5


def measure(server: Server, networks: Sequence[str], images: int) -> dict[str, float]:
    """Mean milliseconds an image, by part."""
    with Client(server.grpc_url) as client:
        for _ in range(WARM_UP):
            client.text_to_image(PROMPT)
        before = clocks(server, networks)
        totals = []
        for seed in range(images):
            start = time.perf_counter()
            client.text_to_image(PROMPT, seed=seed)
            totals.append(1000 * (time.perf_counter() - start))
        after = clocks(server, networks)
    spent = {name: (after[name] - before[name]) / images for name in after}
    generation = spent.pop("generation")
    total = statistics.mean(totals)
    parts = {**spent, "loop": generation - sum(spent.values()), "transport": total - generation, "total": total}
    return parts | {"median": statistics.median(totals)}


def milliseconds_each(make: Callable[[int], object], images: int) -> float:
    """Mean milliseconds of `make(seed)`, warm."""
    make(0)
    start = time.perf_counter()
    for seed in range(images):
        make(seed)
    return 1000 * (time.perf_counter() - start) / images


def measure_in_process(repository: Path, images: int) -> float:
    with InProcess(repository) as generator:
        return milliseconds_each(lambda seed: generator.generate(PROMPT, seed=seed).result(), images)


def measure_diffusers(checkpoint: Path, images: int) -> float:
    pipeline = StableDiffusionPipeline.from_pretrained(checkpoint, dtype=torch.float32)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config, use_karras_sigmas=True)
    pipeline.set_progress_bar_config(disable=True)
    guidance_scale = json.loads((checkpoint / "serving.json").read_text())["guidance_scale"]
    return milliseconds_each(
        lambda seed: pipeline(
            PROMPT, num_inference_steps=20, guidance_scale=guidance_scale, generator=torch.Generator().manual_seed(seed)
        ),
        images,
    )


def clocks(server: Server, networks: Sequence[str]) -> dict[str, float]:
    """Milliseconds spent so far inside each network, and in all generations."""
    key = {"triton-grpc-protocol-admin-key": ADMIN_KEY}
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
        spent = {}
        for name in networks:
            (statistics_,) = client.get_inference_statistics(name, headers=key).model_stats
            spent[name] = statistics_.inference_stats.compute_infer.ns / 1e6
    return spent | {"generation": 1000 * server.metric("diffusion_generation_seconds_sum")}


@errors_in_one_line()
def main(
    repository: Path = Path("model_repository"),
    checkpoint: Annotated[Path, typer.Option(help="What the repository was exported from.")] = SHIPPED,
    images: int = 50,
    output: Annotated[Path | None, typer.Option(help="Write the figures as JSON.")] = None,
) -> None:
    """Measure the latency of one served image, by part."""
    networks = list(json.loads((repository / "diffusion/1/checkpoint.json").read_text())["networks"])
    with tempfile.NamedTemporaryFile("w") as log, replicas(repository, 1, log=log) as (replica,):
        milliseconds = measure(replica.server, networks, images)
    milliseconds["in process"] = measure_in_process(repository, images)
    milliseconds["diffusers"] = measure_diffusers(checkpoint, max(images // 5, 1))
    table = Table("part", "ms", "share")
    for part, value in milliseconds.items():
        table.add_row(part, f"{value:.1f}", f"{value / milliseconds['total']:.1%}")
    Console().print(table)
    if output:
        figures = {name: round(value, 2) for name, value in milliseconds.items()}
        write_record(output, {"machine": machine(), "images": images, "milliseconds": figures})


if __name__ == "__main__":
    typer.run(main)
