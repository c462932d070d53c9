"""Latency of one image, by part: python -m benchmarks.latency [--output FILE]

What is compared takes turns, so that all meet the same minutes of the machine; only one has anything to do at a time:

    served                        text_to_image, which one client asks for one image after another with every default
    served, networks as models    the same where the networks are Triton models (--networks models)
    in process                    the same loop and networks without Triton, in this process
    bare calls                    text encoder, one denoiser call a step and decoder: no sampling, nothing between them
    diffusers                     the same checkpoint, sampler and steps

The parts of a served image: the server's own counts tell the networks' time, `diffusion_generation_seconds` the time
from acceptance to the last response, and the client the total:

    text_encoder, denoiser, vae_decoder   inside the networks
    loop                                  the rest of the generation: tables, updates, turns of the threads
    transport                             the rest of the total: text_to_image, Triton's front end, gRPC, the client
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
from networks.in_process import open_networks
from rich.console import Console
from rich.table import Table
from triton_diffusion import Client, ServerMetrics, server_metrics
from triton_diffusion.cli import errors_in_one_line

from benchmarks.ladder.engines.loop import PROMPT, Loop
from benchmarks.recording import machine, write_record
from export.in_process import InProcess
from tests.support.launching import ALL_CORES, Server
from tests.support.replicas import replicas

SHIPPED = Path("shapes/checkpoint")
SERVED = "served"
SETTLE = 0.3  # seconds between two blocks, in which the threads of the last one fall asleep

Make = Callable[[int], object]
"""Make the image of a seed."""


def bare_calls(repository: Path) -> Make:
    """The networks' calls of one image."""
    names = json.loads((repository / "diffusion/1/checkpoint.json").read_text())["networks"]
    loop = Loop(repository, open_networks(repository, names))
    latent = np.zeros((1, *loop.served.latent_format.shape(loop.served.height, loop.served.width)), np.float32)

    def make(seed: int) -> None:
        inputs = loop.denoiser_inputs()  # which calls the text encoder
        for _ in range(loop.served.defaults["num_inference_steps"]):
            loop.networks["denoiser"](**inputs)
        loop.decode(latent)

    return make


def by_diffusers(checkpoint: Path) -> Make:
    pipeline = StableDiffusionPipeline.from_pretrained(checkpoint, dtype=torch.float32)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config, use_karras_sigmas=True)
    pipeline.set_progress_bar_config(disable=True)
    guidance_scale = json.loads((checkpoint / "serving.json").read_text())["guidance_scale"]
    return lambda seed: pipeline(
        PROMPT, num_inference_steps=20, guidance_scale=guidance_scale, generator=torch.Generator().manual_seed(seed)
    )


def in_turns(makers: Mapping[str, Make], rounds: int, images: int, server: Server) -> dict[str, list[float]]:
    """Milliseconds of each image by who made it, and those of the parts of a served one, by block."""
    milliseconds: dict[str, list[float]] = {name: [] for name in makers}
    for number in range(rounds):
        for name, make in list(makers.items())[:: 1 if number % 2 else -1]:
            time.sleep(SETTLE)
            make(0)  # wakes it
            server.wait_until_idle()
            before = server_metrics(server.metrics_url)
            totals = [milliseconds_of(make, seed) for seed in range(images)]
            milliseconds[name] += totals
            if name == SERVED:
                server.wait_until_idle()
                parts = _parts(before, server_metrics(server.metrics_url), images)
                parts["transport"] = statistics.mean(totals) - sum(parts.values())
                for part, value in parts.items():
                    milliseconds.setdefault(part, []).append(value)
    return milliseconds


def milliseconds_of(make: Make, seed: int) -> float:
    start = time.perf_counter()
    make(seed)
    return 1000 * (time.perf_counter() - start)


def by_client(client: Client) -> Make:
    return lambda seed: client.text_to_image(PROMPT, seed=seed)


def _parts(before: ServerMetrics, after: ServerMetrics, images: int) -> dict[str, float]:
    """Mean milliseconds an image in each network, and in the rest of the loop."""
    networks = {
        name: 1000 * (counted.seconds - before.networks[name].seconds) / images
        for name, counted in after.networks.items()
    }
    generation = 1000 * (after.generation_seconds - before.generation_seconds) / images
    return {**networks, "loop": generation - sum(networks.values())}


@errors_in_one_line()
def main(
    repository: Path = Path("model_repository"),
    checkpoint: Annotated[Path, typer.Option(help="What the repository was exported from.")] = SHIPPED,
    rounds: Annotated[int, typer.Option(help="Turns of each.")] = 6,
    images: Annotated[int, typer.Option(help="Images a turn.")] = 10,
    output: Annotated[Path | None, typer.Option(help="Write the figures as JSON.")] = None,
) -> None:
    """Measure the latency of one image, served and not, by part."""
    with ExitStack() as stack:
        log = stack.enter_context(tempfile.NamedTemporaryFile("w"))
        makers: dict[str, Make] = {}
        servers: dict[str, Server] = {}
        for name, networks in ((SERVED, "in-process"), ("served, networks as models", "models")):
            (replica,) = stack.enter_context(replicas(repository, 1, ALL_CORES, f"--networks={networks}", log=log))
            client = stack.enter_context(Client(replica.server.grpc_url))
            makers[name] = by_client(client)
            servers[name] = replica.server
        generator = stack.enter_context(InProcess(repository))
        makers["in process"] = lambda seed: generator.generate(PROMPT, seed=seed).result()
        makers["bare calls"] = bare_calls(repository)
        makers["diffusers"] = by_diffusers(checkpoint)
        milliseconds = in_turns(makers, rounds, images, servers[SERVED])
    medians = {name: statistics.median(values) for name, values in milliseconds.items()}
    table = Table("", "ms an image, median", "of served")
    for name, value in medians.items():
        table.add_row(name, f"{value:.1f}", f"{value / medians[SERVED]:.1%}")
    Console().print(table)
    if output:
        figures = {name: round(value, 2) for name, value in medians.items()}
        write_record(output, {"machine": machine(), "images": rounds * images, "milliseconds": figures})


if __name__ == "__main__":
    typer.run(main)
