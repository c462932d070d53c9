r"""Configuration of an nginx that stands before one Triton server or several, written to standard output.

    python docker/nginx/configure.py --server 10.0.0.1 --server 10.0.0.2 --tls-cert cert.pem --tls-key key.pem \
        > nginx.conf
    nginx -c "$PWD/nginx.conf"

Needs nothing but the standard library.
"""

import argparse
import re
import string
import sys
from collections.abc import Iterable
from pathlib import Path

TEMPLATE = Path(__file__).with_name("nginx.conf.template")
KEEPALIVE = "so_keepalive=20s:5s:2"
"""A client that has vanished is noticed after 30 seconds."""


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Configure an nginx before Triton.")
    parser.add_argument(
        "--server",
        action="append",
        type=_addresses,
        metavar="HOST[:HTTP:GRPC]",
        help="a Triton server; repeat the option for each (default: 127.0.0.1:8000:8001)",
    )
    for protocol, port in ("http", 8443), ("grpc", 8444):
        parser.add_argument(
            f"--{protocol}-listen",
            type=_listener,
            default=f"0.0.0.0:{port}",
            metavar="HOST:PORT",
            help=f"address on which nginx serves {protocol} (default: 0.0.0.0:{port})",
        )
    parser.add_argument(
        "--tls-cert", type=_file, help="PEM file: nginx's certificate, with its intermediate certificates"
    )
    parser.add_argument("--tls-key", type=_file, help="PEM file: the private key of that certificate")
    parser.add_argument(
        "--tls-ca", type=_file, help="PEM file: the CA that signed the certificates of clients, which then need one"
    )
    parser.add_argument("--plain", action="store_true", help="no TLS, within a network that you trust")
    parser.add_argument("--max-body", type=_size, default="256k", help="bytes of the largest request (default: 256k)")
    parser.add_argument("--timeout", type=int, default=600, help="seconds that a request may take (default: 600)")
    parser.add_argument(
        "--folder", type=Path, default=Path("/run"), help="folder for nginx's temporary files (default: /run)"
    )
    parser.add_argument(
        "--js-module",
        type=Path,
        default=Path("modules/ngx_http_js_module.so"),
        metavar="FILE",
        help="nginx's JavaScript module, Debian's libnginx-mod-http-js (default: among nginx's own modules)",
    )
    chosen = parser.parse_args(arguments)
    if chosen.plain == bool(chosen.tls_cert or chosen.tls_key or chosen.tls_ca):
        parser.error("use --tls-cert and --tls-key, or --plain for no TLS within a network that you trust")
    if not chosen.plain and not (chosen.tls_cert and chosen.tls_key):
        parser.error("--tls-cert and --tls-key go together")
    return chosen


def configuration(chosen: argparse.Namespace) -> str:
    """The text of nginx.conf."""
    servers = chosen.server or [_addresses("127.0.0.1")]
    tls = "" if chosen.plain else " ssl"
    return string.Template(TEMPLATE.read_text()).safe_substitute(
        HTTP_SERVERS=_indented((f"server {host}:{http} max_fails=0;" for host, http, _ in servers), 8),
        GRPC_SERVERS=_indented((f"server {host}:{grpc} max_fails=0;" for host, _, grpc in servers), 8),
        HTTP_LISTEN=f"{chosen.http_listen}{tls} {KEEPALIVE}",
        GRPC_LISTEN=f"{chosen.grpc_listen}{tls} http2 {KEEPALIVE}",
        TLS=_tls(chosen),
        MAX_BODY=chosen.max_body,
        TIMEOUT=chosen.timeout,
        FOLDER=chosen.folder.absolute(),
        JS_MODULE=chosen.js_module,
        CHECKS=TEMPLATE.parent.absolute(),
    )


def _addresses(server: str) -> tuple[str, str, str]:
    """Host, HTTP port and gRPC port."""
    found = re.fullmatch(r"(\[[\da-fA-F:]+\]|[\w.-]+)(?::(\d+):(\d+))?", server)
    if found is None:
        raise argparse.ArgumentTypeError(f"{server!r} is no server: use HOST, or HOST:HTTP-PORT:GRPC-PORT")
    host, http, grpc = found.groups()
    return host, http or "8000", grpc or "8001"


def _listener(text: str) -> str:
    if re.fullmatch(r"(\[[\da-fA-F:]+\]|[\w.-]+):\d+", text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no address to listen on: use HOST:PORT")
    return text


def _size(text: str) -> str:
    if re.fullmatch(r"\d+[km]?", text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: use bytes, or as 256k or 1m")
    return text


def _file(text: str) -> Path:
    path = Path(text).absolute()
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text} is no file")
    return path


def _tls(chosen: argparse.Namespace) -> str:
    if chosen.plain:
        return ""
    lines = [
        f'ssl_certificate "{chosen.tls_cert}";',
        f'ssl_certificate_key "{chosen.tls_key}";',
        "ssl_protocols TLSv1.2 TLSv1.3;",
        "ssl_session_cache shared:tls:1m;",
    ]
    if chosen.tls_ca:
        lines += [f'ssl_client_certificate "{chosen.tls_ca}";', "ssl_verify_client on;", "ssl_verify_depth 3;"]
    return _indented(lines, 4)


def _indented(lines: Iterable[str], by: int) -> str:
    return f"\n{' ' * by}".join(lines)


if __name__ == "__main__":
    sys.stdout.write(configuration(parse_arguments()))
