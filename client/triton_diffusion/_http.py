"""The HTTP transport.

It uses tritonclient's encoding and decoding on a connection of the standard library, one a call. tritonclient's own
HTTP client is not thread-safe, has no total timeout, and leaves two open files behind for every thread that used it.
"""

import json
import time
from collections.abc import Sequence
from contextlib import closing
from http.client import BadStatusLine, HTTPConnection, HTTPException, IncompleteRead
from socket import gaierror
from typing import Never
from urllib.parse import urlsplit

from tritonclient.http import InferenceServerClient, InferInput

from ._errors import DeadlineExceeded, InvalidRequest, ServerUnavailable
from ._request import Tensor
from ._response import Outputs, error_from_status

_HEADER_LENGTH = "Inference-Header-Content-Length"  # where the JSON ends and the binary tensors begin
_CHUNK = 1 << 16  # bytes


class HttpTransport:
    def __init__(self, url: str) -> None:
        self._url = url
        parts = urlsplit("//" + url)
        try:
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError as error:  # the port
            raise InvalidRequest(f'url is {url!r}; it must be "host:port": {error}', "url") from None
        self._base_path = parts.path.rstrip("/")

    def close(self) -> None:
        """Does nothing: no connection outlives its call."""

    def infer(self, model: str, tensors: Sequence[Tensor], timeout: float | None) -> Outputs:
        body, header_length = request_body(tensors)
        headers = {_HEADER_LENGTH: str(header_length), "Content-Type": "application/octet-stream"}
        try:
            status, header, content = self._post(f"/v2/models/{model}/infer", body, headers, timeout)
        except (ConnectionRefusedError, gaierror) as error:
            raise ServerUnavailable(f"no HTTP server at {self._url}; is it running? (make serve)") from error
        except (OSError, HTTPException) as error:
            # Without a timeout of ours it is the operating system that gave up.
            if isinstance(error, TimeoutError) and timeout is not None:
                raise DeadlineExceeded(f"no result from {self._url} within {timeout:g} s") from error
            reason = "the answer is not HTTP (is this the gRPC port?)" if type(error) is BadStatusLine else error
            raise ServerUnavailable(f"the HTTP connection to {self._url} failed: {reason}") from error
        if status != 200:
            raise error_from_status(str(status), _error_message(status, content), self._url)
        if header is None:
            raise ServerUnavailable(f"{self._url} is not available: it answers, but not as a Triton server does")
        return _outputs(content, int(header))

    def stream(self, model: str, tensors: Sequence[Tensor], timeout: float | None) -> Never:
        raise InvalidRequest('stream() needs gRPC: Client(url, protocol="grpc"), usually on port 8001', "protocol")

    def _post(
        self, path: str, body: bytes, headers: dict[str, str], timeout: float | None
    ) -> tuple[int, str | None, bytes]:
        """The status, the length of the JSON in the content, and the content. Raises TimeoutError after `timeout`."""
        deadline = None if timeout is None else time.monotonic() + timeout

        def left() -> float | None:
            if deadline is None:
                return None
            seconds = deadline - time.monotonic()
            if seconds <= 0:
                raise TimeoutError
            return seconds

        # A socket's timeout holds for one operation, so it is set anew before each for the sum to hold.
        with closing(HTTPConnection(self._host, self._port, timeout=left())) as connection:
            connection.connect()
            socket = connection.sock
            socket.settimeout(left())
            connection.request("POST", self._base_path + path, body, headers)
            socket.settimeout(left())
            with connection.getresponse() as response:
                content = bytearray()
                while chunk := response.read1(_CHUNK):
                    content += chunk
                    socket.settimeout(left())
                if len(content) < int(response.getheader("Content-Length", 0)):  # read1 takes it for the end
                    raise IncompleteRead(bytes(content))
                return response.status, response.getheader(_HEADER_LENGTH), bytes(content)


def request_body(tensors: Sequence[Tensor]) -> tuple[bytes, int]:
    """The body that asks for all outputs in binary, and the length of the JSON at its start."""
    inputs = []
    for name, datatype, array in tensors:
        tensor = InferInput(name, array.shape, datatype)
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    return InferenceServerClient.generate_request_body(inputs)


def _outputs(content: bytes, header_length: int) -> Outputs:
    result = InferenceServerClient.parse_response_body(content, header_length=header_length)
    return {output["name"]: result.as_numpy(output["name"]) for output in result.get_response()["outputs"]}


def _error_message(status: int, content: bytes) -> str:
    """Triton's message, or for an answer that is not Triton's (a proxy's page, say) the status alone."""
    try:
        return json.loads(content)["error"]
    except (ValueError, TypeError, KeyError):
        return f"the server answered with HTTP status {status}"
