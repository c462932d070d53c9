"""Where the milliseconds of one served picture go: python tests/benchmarks/one_picture.py [--output figures.json]

One client asks `text_to_image` for one picture after another with every default. Triton's statistics tell the engines'
time, `diffusion_generation_seconds_total` the time from acceptance to the last response, and the client the total:

    encode, unet, decode   inside the engines
    loop                   the rest of the generation: tables, updates, calls between models
    transport              the rest of the total: text_to_image, Triton's front end, gRPC, the client
"""

import argparse
import json
import platform
import statistics
import sys
import time
from datetime import date
from pathlib import Path

import tritonclient.grpc
from rich.console import Console
from rich.table import Table
from triton_diffusion import Client

sys.path.append(str(Path(__file__).parents[1]))
from launching import Server, launch, wait_until_ready

PROMPT = "a small red circle on the left of a blue background"
ENGINES = {"encode": "text_encoder", "unet": "unet", "decode": "vae_decoder"}
WARM_UP = 5


def measure(server: Server, pictures: int) -> dict[str, float]:
    """Mean milliseconds a picture, by part."""
    with Client(server.grpc_url) as client:
        for _ in range(WARM_UP):
            client.text_to_image(PROMPT)
        before = clocks(server)
        totals = []
        for seed in range(pictures):
            start = time.perf_counter()
            client.text_to_image(PROMPT, seed=seed)
            totals.append(1000 * (time.perf_counter() - start))
        after = clocks(server)
    spent = {name: (after[name] - before[name]) / pictures for name in after}
    engines = sum(spent[name] for name in ENGINES)
    total = statistics.mean(totals)
    parts = {name: spent[name] for name in ENGINES}
    parts |= {"loop": spent["generation"] - engines, "transport": total - spent["generation"], "total": total}
    return parts | {"median": statistics.median(totals)}


def clocks(server: Server) -> dict[str, float]:
    """Milliseconds spent so far inside each engine, and in all generations."""
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
        spent = {}
        for part, model in ENGINES.items():
            (statistics_,) = client.get_inference_statistics(model).model_stats
            spent[part] = statistics_.inference_stats.compute_infer.ns / 1e6
    return spent | {"generation": 1000 * server.metric("diffusion_generation_seconds_total")}


def main() -> None:
    parser = argparse.ArgumentParser(description="Where the milliseconds of one served picture go.")
    parser.add_argument("--repository", type=Path, default=Path("model_repository"))
    parser.add_argument("--pictures", type=int, default=50)
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    launcher = launch(arguments.repository)
    try:
        milliseconds = measure(wait_until_ready(launcher), arguments.pictures)
    finally:
        launcher.terminate()
        launcher.wait()
    table = Table("part", "ms", "share")
    for part, value in milliseconds.items():
        table.add_row(part, f"{value:.1f}", f"{value / milliseconds['total']:.1%}")
    Console().print(table)
    if arguments.output:
        figures = {name: round(value, 2) for name, value in milliseconds.items()}
        machine = {"machine": platform.processor() or platform.machine(), "python": platform.python_version()}
        record = {"date": date.today().isoformat(), **machine, "pictures": arguments.pictures, "milliseconds": figures}
        arguments.output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
