"""A collector of OpenTelemetry's spans: OTLP over HTTP, as protobuf (the gateway's) and as JSON (Triton's)."""

import re
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """The spans that have arrived at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._arrived: list[tuple[str, Any]] = []
        self._changed = threading.Condition()

    def add(self, exported: ExportTraceServiceRequest) -> None:
        with self._changed:
            for group in exported.resource_spans:
                service = attributes(group.resource).get("service.name", "")
                self._arrived += [(service, span) for scope in group.scope_spans for span in scope.spans]
            self._changed.notify_all()

    def spans(self, trace_id: str, count: int, timeout: float = 20.0) -> list[tuple[str, Any]]:
        """Service and span of all in a trace (32 hexadecimal digits), once there are `count`, or `timeout` seconds have
        passed."""

        with self._changed:
            self._changed.wait_for(lambda: len(self._of(trace_id)) >= count, timeout)
            return self._of(trace_id)

    def first(self, trace_ids: list[str], count: int, timeout: float = 20.0) -> tuple[str, list[tuple[str, Any]]]:
        """One of these traces of which `count` spans have arrived, and they. Raises StopIteration where none is."""

        def complete() -> Iterator[tuple[str, list[tuple[str, Any]]]]:
            return ((trace, spans) for trace in trace_ids if len(spans := self._of(trace)) >= count)

        with self._changed:
            self._changed.wait_for(lambda: any(complete()), timeout)
            return next(complete())

    def traces(self) -> set[str]:
        with self._changed:
            return {span.trace_id.hex() for _, span in self._arrived}

    def _of(self, trace_id: str) -> list[tuple[str, Any]]:
        return [(service, span) for service, span in self._arrived if span.trace_id.hex() == trace_id]


def attributes(holder: Any) -> dict[str, Any]:
    """The attributes of a span or resource."""
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in holder.attributes}


def decoded(kind: str, body: bytes) -> ExportTraceServiceRequest:
    if kind.startswith("application/x-protobuf"):
        return ExportTraceServiceRequest.FromString(body)
    # OTLP's JSON has ids in hexadecimal where protobuf's has them in Base64.
    text = re.sub(
        r'("(?:trace|span|parentSpan)Id":\s*)"([0-9a-f]*)"',
        lambda found: f'{found[1]}"{b64encode(bytes.fromhex(found[2])).decode()}"',
        body.decode(),
    )
    return json_format.Parse(text, ExportTraceServiceRequest(), ignore_unknown_fields=True)


@contextmanager
def collector() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()
            here.add(decoded(self.headers["content-type"], body))

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        here = Collector(f"http://127.0.0.1:{server.server_port}/v1/traces")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield here
        server.shutdown()
        thread.join()
