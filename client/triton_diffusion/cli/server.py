"""`triton-diffusion models` and `triton-diffusion status`: a server's description of itself, and its load."""

import dataclasses
import json
import time
from typing import Annotated, Any

import typer

from .._client import Client
from .._errors import DiffusionError, ServerUnavailable
from .._metrics import ServerMetrics, server_metrics
from .._transports.address import METRICS_PORT, addresses
from ._app import EPILOG, Json, Protocol, Timeout, TlsCa, TlsCert, TlsKey, Url, app, errors_in_one_line, tls_of
from ._described import described


@app.command(epilog=EPILOG)
def models(
    url: Url = None,
    protocol: Protocol = None,
    timeout: Timeout = 10.0,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    as_json: Json = False,
) -> None:
    """List the server's models, the checkpoint that they serve, its samplers and their names."""
    with errors_in_one_line(), Client(url, protocol, tls=tls_of(tls_ca, tls_cert, tls_key)) as client:
        found, checkpoint = client.models(timeout), client.checkpoint(timeout)
        if as_json:
            listed = [dataclasses.asdict(model) for model in found]
            details = checkpoint and dataclasses.asdict(checkpoint)
            typer.echo(json.dumps({"models": listed, "checkpoint": details}, indent=2))
            return
        for model in found:
            state = "ready" if model.ready else f"not ready {model.reason}"
            typer.echo(f"{model.name:14} {model.version or '-':3} {state}".rstrip())
        if checkpoint is not None:
            typer.echo(described(checkpoint))


@app.command(epilog=EPILOG)
def status(
    url: Url = None,
    protocol: Protocol = None,
    metrics_url: Annotated[
        str | None, typer.Option(help=f"host:port of the metrics; by default the server's host, port {METRICS_PORT}")
    ] = None,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds over which the throughput is measured.")] = 1.0,
    timeout: Timeout = 5.0,
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    as_json: Json = False,
) -> None:
    """Show whether the server is ready, its queue, and its throughput. Exit code 3 if it is not ready."""
    with errors_in_one_line():
        with Client(url, protocol, tls=tls_of(tls_ca, tls_cert, tls_key)) as client:
            ready = client.is_ready(timeout or 5.0)
        if not ready:
            if as_json:
                typer.echo(json.dumps({"ready": False}))
            raise ServerUnavailable(f"{addresses(url, protocol)[0].text} is not ready")
        report: dict[str, Any] = {"ready": ready}
        metrics_url = metrics_url or addresses(url, protocol)[0].metrics
        try:
            before, start = server_metrics(metrics_url, timeout), time.monotonic()
            time.sleep(interval)
            after = server_metrics(metrics_url, timeout)
            report |= _load(before, after, time.monotonic() - start)
        except DiffusionError as error:  # the metrics may be out of reach when the server is not
            report["metrics"] = str(error)
        if as_json:
            typer.echo(json.dumps(report, indent=2))
            return
        width = max(map(len, report))
        for name, value in report.items():
            shown = "yes" if value is True else f"{value:.4g}" if isinstance(value, float) else value
            typer.echo(f"{name.replace('_', ' '):{width}}  {shown}")


def _load(before: ServerMetrics, after: ServerMetrics, seconds: float) -> dict[str, float]:
    """The load at the second of two readings, and rates between the two, which are `seconds` apart."""

    def per_second(name: str) -> float:
        return float(getattr(after, name) - getattr(before, name)) / seconds

    steps = per_second("denoiser_steps")
    return {
        "requests_in_flight": after.requests_in_flight,
        "waiting_requests": after.waiting_requests,
        "active_samples": after.active_samples,
        "max_active_samples": after.max_active_samples,
        "requests_per_second": per_second("requests_done"),
        "steps_per_second": steps,
        "samples_per_second": per_second("denoiser_samples"),
        "mean_batch": per_second("denoiser_samples") / steps if steps else 0.0,
        "requests_done": after.requests_done,
        "requests_cancelled": after.requests_cancelled,
        "requests_failed": after.requests_failed,
        "requests_refused": after.requests_refused,
        "requests_expired": after.requests_expired,
        "requests_invalid": after.requests_invalid,
    }
