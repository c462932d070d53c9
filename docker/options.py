"""The launcher's arguments."""

import argparse
import os
import re
import secrets
from pathlib import Path

from launch_error import LaunchError
from repository import WHERE
from tls import check_files

ADMIN_KEY = "TRITON_DIFFUSION_ADMIN_KEY"
LOOPBACK = "127.0.0.1"


def parse_arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The checked arguments in `given`, by default those of the command line. Raises LaunchError."""
    parser = argparse.ArgumentParser(description="Start Triton with the diffusion model repository.")
    parser.add_argument(
        "--repository",
        type=Path,
        default=Path("model_repository"),
        help="model repository that python -m export has written",
    )
    parser.add_argument(
        "--networks",
        choices=WHERE,
        help="where the networks run: in-process, opened by the sampling loop itself (the default where the "
        "repository's runtime allows it), or models, each as a Triton model of its own",
    )
    parser.add_argument("--ready-timeout", type=float, default=600, help="seconds that the models may take to load")
    parser.add_argument(
        "--drain-timeout", type=float, default=60, help="seconds that running requests may take to finish"
    )
    parser.add_argument(
        "--health-timeout",
        type=_positive,
        default=30,
        help="seconds without an answer to its health check after which Triton is started again",
    )
    parser.add_argument(
        "--max-restarts",
        type=_count,
        default=20,
        help="times that Triton may be started again within 10 minutes; after the next loss the launcher ends",
    )
    parser.add_argument(
        "--request-memory",
        type=_positive,
        default=4,
        help="GiB that Triton's own process may allocate beyond what it has once the models are loaded",
    )
    parser.add_argument("--max-queue", type=_count, help="images that may wait; more are refused (default: 64)")
    parser.add_argument(
        "--threads",
        type=_count,
        default=0,
        help="threads of the CPU that a call of a network takes; fewer where programs share its cores, 0: one a core",
    )
    parser.add_argument("--verbose", action="store_true", help="show Triton's log while the models load")
    _add_addresses(parser.add_argument_group("addresses"))
    _add_access(parser.add_argument_group("access (SECURITY.md)"))
    _add_tracing(parser.add_argument_group("traces"))
    arguments = parser.parse_args(given)
    arguments.admin_key = _admin_key(arguments.admin_key_file)
    _check_tls(arguments)
    return arguments


def _add_addresses(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--host", default=LOOPBACK, help="address for clients; 0.0.0.0 for every interface")
    group.add_argument("--metrics-host", default=LOOPBACK, help="internal address for Prometheus")
    group.add_argument(
        "--http-port", type=int, default=8000, help="port for HTTP; for this and the other ports, 0 takes any free one"
    )
    group.add_argument("--grpc-port", type=int, default=8001)
    group.add_argument("--metrics-port", type=int, default=8002)
    group.add_argument(
        "--connection-age", type=float, default=0, help="seconds until gRPC clients must reconnect; 0: never"
    )


def _add_access(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--tls-cert", type=Path, help="PEM file: the server's certificate for gRPC; HTTP then stays on 127.0.0.1"
    )
    group.add_argument("--tls-key", type=Path, help="PEM file: the private key of that certificate")
    group.add_argument(
        "--tls-ca", type=Path, help="PEM file: the CA that signed the certificates of gRPC clients, which then need one"
    )
    group.add_argument(
        "--admin-key-file",
        type=Path,
        help="file with the key to the restricted APIs: repository index, statistics, shared memory, trace and log "
        f"settings; or set {ADMIN_KEY}; without a key they are closed",
    )
    group.add_argument(
        "--client-shared-memory",
        action="store_true",
        help="let clients on this machine receive images in shared memory",
    )


def _add_tracing(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--trace-url", type=_url, help="OpenTelemetry collector for the spans: http://collector:4318/v1/traces"
    )
    group.add_argument(
        "--trace-rate",
        type=_count,
        default=1,
        help="trace one request in so many; 0: only those with a trace of their own",
    )


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no count: use a whole number from 0 on")
    return int(text)


def _positive(text: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII) or float(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not usable: use a number, more than 0")
    return float(text)


def _url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s,]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no collector's address: use http://HOST:4318/v1/traces")
    return text


def _admin_key(file: Path | None) -> str:
    """The key in `file`, else the environment's, else a random one that nobody knows."""
    if file is None:
        source, key = ADMIN_KEY, os.environ.pop(ADMIN_KEY, None)  # the models need not know it
        if key is None:
            return secrets.token_hex(32)
    else:
        try:
            source, key = str(file), file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise LaunchError(f"--admin-key-file {file} cannot be read: {error}") from error
    if not re.fullmatch(r"[\w.~+/-]{16,}", key, re.ASCII):
        raise LaunchError(
            f"the key in {source} is not usable: take 16 or more of A-Z a-z 0-9 . _ ~ + / -, as `openssl rand -hex 32`"
        )
    return key


def _check_tls(arguments: argparse.Namespace) -> None:
    certificate, key, authority = arguments.tls_cert, arguments.tls_key, arguments.tls_ca
    if certificate and key:
        check_files(certificate, key, authority)
    elif certificate or key or authority:
        raise LaunchError("--tls-cert and --tls-key go together, and --tls-ca only with them")
