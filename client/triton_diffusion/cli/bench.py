"""`triton-diffusion bench`: a load test of a running server."""

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from .._errors import InvalidRequest
from .._transports.address import METRICS_PORT, addresses
from ._app import EPILOG, Json, app, errors_in_one_line
from .generate import read_prompts


@app.command(epilog=EPILOG)
def bench(
    url: Annotated[str | None, typer.Option(help="The server's gRPC address; by default localhost:8001.")] = None,
    metrics_url: Annotated[
        str | None, typer.Option(help=f"host:port of the metrics; by default the server's host, port {METRICS_PORT}")
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="Server like it with max_active_samples 1, to show what step-level batching gives."),
    ] = None,
    baseline_metrics_url: Annotated[str | None, typer.Option(help="host:port of that one's metrics.")] = None,
    admin_key: Annotated[
        str | None,
        typer.Option(envvar="TRITON_DIFFUSION_ADMIN_KEY", help="The servers' own, for perf_analyzer reads statistics."),
    ] = None,
    requests: Annotated[int, typer.Option(min=16, help="Requests a run.")] = 64,
    concurrency: Annotated[str, typer.Option(help="Requests at once: a run for each.")] = "1,2,4,8,16",
    prompt_file: Annotated[
        Path | None, typer.Option("-f", "--file", help="Prompts to draw from, one a line; - is standard input.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="num_inference_steps of the uniform requests")] = None,
    sampler: Annotated[str | None, typer.Option(help="sampler of the uniform requests")] = None,
    guidance: Annotated[float | None, typer.Option(help="guidance_scale of the uniform requests")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write the report into.")] = Path("bench"),
    as_json: Json = False,
) -> None:
    """Load-test a server with NVIDIA's perf_analyzer and write a report: HTML, JSON, CSV, PNG.

    Runs of uniform requests (varied prompts and seeds) at several concurrencies and at Poisson request rates, of mixed
    requests (4 to 50 steps, two samplers, guidance on and off), and of streams. It takes minutes, in which the server
    should have nothing else to do. perf_analyzer comes from the PATH, or from the package index into the cache folder.
    """
    with errors_in_one_line():
        if find_spec("matplotlib") is None:
            raise InvalidRequest("the report needs matplotlib: install it with pip install 'triton-diffusion[bench]'")
        # Imported here because they take a second.
        from rich.console import Console

        from ..bench.perf_analyzer import find_perf_analyzer
        from ..bench.plan import Plan, carry_out
        from ..bench.report import as_record, show, write
        from ..bench.results import BASELINE, BATCHING
        from ..bench.workload import PROMPTS

        settings: dict[str, Any] = {"num_inference_steps": steps, "sampler": sampler, "guidance_scale": guidance}
        plan = Plan(
            _target(BATCHING, url, metrics_url, admin_key),
            None if baseline is None else _target(BASELINE, baseline, baseline_metrics_url, admin_key),
            requests=requests,
            concurrencies=_concurrencies(concurrency, requests),
            prompts=PROMPTS if prompt_file is None else read_prompts([], prompt_file, None),
            settings={name: value for name, value in settings.items() if value is not None},
        )
        progress = Console(stderr=True)
        results = carry_out(plan, find_perf_analyzer(_cache()), lambda text: progress.print(text, style="dim"))
        write(results, output)
        if as_json:
            typer.echo(json.dumps(as_record(results), indent=2))
            return
        show(results, Console())
        typer.echo(f"{output / 'report.html'}")


def _target(name: str, url: str | None, metrics_url: str | None, admin_key: str | None) -> Any:
    from ..bench.sweep import Target

    (address,) = addresses(url, None)
    if address.protocol != "grpc" or address.tls:
        raise InvalidRequest(f"url is {url!r}: bench needs gRPC without TLS, usually on port 8001", "url", url)
    return Target(name, address.target, metrics_url or address.metrics, admin_key)


def _cache() -> Path:
    """The folder that a fetched perf_analyzer is kept in."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "triton-diffusion/perf_analyzer"


def _concurrencies(text: str, requests: int) -> list[int]:
    try:
        values = sorted({int(part) for part in text.split(",")})
    except ValueError:
        values = []
    if not values or values[0] < 1 or values[-1] > requests:
        raise InvalidRequest(f"concurrency is {text!r}: use numbers from 1 to {requests}, the requests, with commas")
    return values
