"""The machine and the versions that the figures were measured with."""

import os
import platform
from datetime import date
from pathlib import Path

import tritonclient.grpc

from .._client import Client
from .._version import __version__
from .perf_analyzer import PerfAnalyzer


def about(analyzer: PerfAnalyzer, grpc_url: str) -> dict[str, str | int]:
    """Date, machine and versions. The processor is this machine's, which need not be the server's."""
    with tritonclient.grpc.InferenceServerClient(grpc_url) as triton, Client(grpc_url) as client:
        server, checkpoint = triton.get_server_metadata(), client.checkpoint()
    return {
        "date": date.today().isoformat(),
        "processor": processor(),
        "cores": os.cpu_count() or 0,
        "checkpoint": f"{checkpoint.name} {checkpoint.width}x{checkpoint.height}" if checkpoint else "unknown",
        "triton": server.version,
        "perf_analyzer": analyzer.version,
        "triton-diffusion": __version__,
    }


def processor() -> str:
    """The processor's name as Linux tells it, else the architecture's."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())
