"""Triton's own options, from the launcher's arguments."""

import argparse

from options import LOOPBACK

ADMIN_HEADER = "admin-key"
"""The header that opens the restricted APIs. Over gRPC Triton wants "triton-grpc-protocol-" before it."""
RESTRICTED = ("model-repository", "statistics", "trace", "logging")
MAX_REQUEST = 2**20
"""Bytes; the largest valid request has some 50 KB."""
EXIT_TIMEOUT = 60
"""Seconds after which Triton gives up ending in good order. It then exits while its models run, and crashes (2.51); so
the launcher, which waits less long, ends it before."""

KEEPALIVE = {
    "grpc-keepalive-time": 20_000,
    "grpc-keepalive-timeout": 10_000,
    "grpc-http2-max-pings-without-data": 0,
    "grpc-http2-min-recv-ping-interval-without-data": 10_000,
}
"""Milliseconds, and any number of pings: by them a client that has vanished is noticed, and its request ends. Triton's
own are 2 hours. The last lets clients ask too, every 20 seconds; Triton would end a connection that does."""


def triton_options(arguments: argparse.Namespace, known: frozenset[str]) -> list[str]:
    """The options for a Triton that lists the options `known` in its help."""
    return [
        "--disable-auto-complete-config",
        f"--http-address={http_host(arguments)}",
        f"--grpc-address={arguments.host}",
        f"--metrics-address={arguments.metrics_host}",
        f"--http-port={arguments.http_port}",
        f"--grpc-port={arguments.grpc_port}",
        f"--metrics-port={arguments.metrics_port}",
        f"--exit-timeout-secs={EXIT_TIMEOUT}",
        *(f"--{name}={value}" for name, value in KEEPALIVE.items()),
        # Calls that run are not cut off: Triton sets them no limit.
        *([f"--grpc-max-connection-age={arguments.connection_age * 1000:.0f}"] if arguments.connection_age else []),
        *([] if arguments.verbose else ["--log-info=false"]),
        *_restricted_apis(arguments, known),
        *_tls(arguments),
        *_tracing(arguments),
    ]


def http_host(arguments: argparse.Namespace) -> str:
    """The address for HTTP, over which Triton has no TLS: with TLS asked for, this machine only."""
    return LOOPBACK if arguments.tls_cert else arguments.host


def _restricted_apis(arguments: argparse.Namespace, known: frozenset[str]) -> list[str]:
    restricted = ",".join(RESTRICTED if arguments.client_shared_memory else (*RESTRICTED, "shared-memory"))
    options = {
        "model-control-mode": "none",
        "http-restricted-api": f"{restricted}:{ADMIN_HEADER}={arguments.admin_key}",
        "grpc-restricted-protocol": f"{restricted}:{ADMIN_HEADER}={arguments.admin_key}",
    }
    # What a release does not have needs no restriction, or has none.
    if_known = {
        "allow-sagemaker": "false",
        "allow-vertex-ai": "false",
        "allow-client-shm": str(arguments.client_shared_memory).lower(),
        "http-max-input-size": str(MAX_REQUEST),
    }
    options |= {name: value for name, value in if_known.items() if name in known}
    return [f"--{name}={value}" for name, value in options.items()]


def _tls(arguments: argparse.Namespace) -> list[str]:
    if not arguments.tls_cert:
        return []
    files = [f"--grpc-server-cert={arguments.tls_cert}", f"--grpc-server-key={arguments.tls_key}"]
    if not arguments.tls_ca:
        return ["--grpc-use-ssl=true", *files]
    return ["--grpc-use-ssl-mutual=true", *files, f"--grpc-root-cert={arguments.tls_ca}"]


def _tracing(arguments: argparse.Namespace) -> list[str]:
    if not arguments.trace_url:
        return []
    settings = (
        "mode=opentelemetry",
        f"opentelemetry,url={arguments.trace_url}",
        "opentelemetry,resource=service.name=triton-diffusion-server",
        "level=TIMESTAMPS",
        f"rate={arguments.trace_rate}",
        "count=-1",
    )
    return [f"--trace-config={setting}" for setting in settings]
