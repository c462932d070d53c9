"""The front for clients that take one response: HTTP infer, unary gRPC and perf_analyzer.

It forwards a request to `diffusion`, and relays its cancellation, its result and its errors.
"""

import gc
import json
import secrets
import threading
import time
from collections import deque

import triton_python_backend_utils as pb_utils

LONGEST_ID = 128  # characters of a request's id in the log
FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
CODES = {
    "INVALID_ARG": "INVALID_ARG",
    "UNAVAILABLE": "UNAVAILABLE",
    "DEADLINE_EXCEEDED": "CANCELLED",
    "INTERNAL": "INTERNAL",
}
"""Triton's code for the word before a message of `diffusion`."""
ENDING = "Server not ready"
"""How Triton refuses a BLS call once it ends; what it began before then goes on."""
THREAD = "forwarding"
LAST_SECONDS = 10.0
"""Seconds that the threads may take to end when the server stops: all they still do is to write a line of the log."""
CANCELLED: deque[list] = deque(maxlen=4)
"""The responses to the requests that were cancelled last; see _Forwarding."""


class TritonPythonModel:
    """Forwards a request to `diffusion` and returns its last response.

    `execute` returns at once, and each request is answered by a thread of its own: so all of them reach `diffusion`,
    whose queue knows priorities, deadlines and its own length.
    """

    def initialize(self, args: dict) -> None:
        self._outputs = [output["name"] for output in json.loads(args["model_config"])["output"]]

    def execute(self, requests: list) -> None:
        for request in requests:
            try:
                forwarding = _Forwarding(request, self._outputs)
            except UnicodeDecodeError:
                message = "the id or a request parameter holds other bytes than UTF-8: send valid UTF-8"
                request.get_response_sender().send(_failure(f"INVALID_ARG: {message}"), flags=FINAL)
            else:
                threading.Thread(target=forwarding.run, name=THREAD, daemon=True).start()

    def finalize(self) -> None:
        # What is Triton's must be gone before the stub gives up its shared memory: it is read at its end (signal 11).
        deadline = time.monotonic() + LAST_SECONDS
        for thread in threading.enumerate():
            if thread.name == THREAD:
                thread.join(max(0, deadline - time.monotonic()))
        CANCELLED.clear()
        gc.collect()


class _Forwarding:
    """One request on its way; what is needed of Triton's is copied, as it may be gone once `execute` has returned.

    Its trace is not handed on to `diffusion`: where that is gone, Triton crashes.

    A thread of Triton's stub drops the responses of a BLS call that has ended, without holding the GIL. Were they not
    held here as well, it would free Python's objects while other threads run Python: signal 11 in Triton 2.51, and
    newer ones can lock up. That thread takes its tasks in order, and is_cancelled() is one of them. So once it has
    answered after the last response, ours may go; but from when it has said yes, it says so without asking.
    """

    def __init__(self, request, outputs: list[str]) -> None:
        # Over HTTP a client that leaves is not noticed, so it may name its request and cancel it with another one.
        self._parameters = json.loads(request.parameters() or "{}")
        self._request_id = request.request_id()[:LONGEST_ID] or secrets.token_hex(8)
        self._inputs = [pb_utils.Tensor(tensor.name(), tensor.as_numpy().copy()) for tensor in request.inputs()]
        self._timeout = request.timeout()
        self._sender = request.get_response_sender()
        self._outputs = outputs  # of the model
        self._wanted = request.requested_output_names()
        self._responses: list = []
        self._began = time.monotonic()

    def run(self) -> None:
        try:
            outcome, response = self._answer()
        except Exception as reason:  # diffusion's process is gone, say
            outcome, response = "failed", _failure(f"INTERNAL: text_to_image: {reason}")
        self._sender.send(response, flags=FINAL)
        record = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "level": "info" if outcome in ("done", "cancelled") else "warning",
            "event": "request",
            "model": "text_to_image",
            "request_id": self._request_id,
            "outcome": outcome,
            "seconds": round(time.monotonic() - self._began, 3),
        }
        print(json.dumps(record), flush=True)

    def _answer(self):
        """Outcome and response."""
        # With a token, `diffusion` sends an error as an output: BLS loses the code of an error response. BLS takes no
        # float as a parameter either; `diffusion` refuses it as text, too.
        given = {name: str(value) if isinstance(value, float) else value for name, value in self._parameters.items()}
        token = given.setdefault("token", secrets.token_hex(16))
        failure = last = None
        cancelled = False
        for response in self._diffusion(given):  # every 50 ms, a step, or a second: when cancelling is noticed
            self._responses.append(response)
            if self._sender.is_cancelled() and not cancelled:
                cancelled = True
                CANCELLED.append(self._responses)
                list(self._diffusion({"cancel": token}))  # a BLS request cannot be cancelled itself
            if response.has_error():
                message = response.error().message()
                failure = "UNAVAILABLE: the server is shutting down" if message.endswith(ENDING) else message
            elif (error := pb_utils.get_output_tensor_by_name(response, "error")) is not None:
                failure = error.as_numpy()[0].decode()
            elif pb_utils.get_output_tensor_by_name(response, "image") is not None:
                last = response
        if failure is not None:
            return "failed", _failure(failure)
        if last is None:
            return "cancelled", _cancelled()
        # No others than the client wants: Triton 2.51 takes them out without holding the GIL.
        tensors = [pb_utils.get_output_tensor_by_name(last, name) for name in self._outputs if name in self._wanted]
        return "done", pb_utils.InferenceResponse(tensors)

    def _diffusion(self, parameters: dict[str, str]):
        return pb_utils.InferenceRequest(
            request_id=self._request_id,
            model_name="diffusion",
            inputs=self._inputs,
            requested_output_names=[*self._outputs, "error"],
            parameters=parameters,
            timeout=self._timeout,
        ).exec(decoupled=True)


def _cancelled():
    error = pb_utils.TritonError("the request was cancelled", pb_utils.TritonError.CANCELLED)
    return pb_utils.InferenceResponse(error=error)


def _failure(message: str):
    """The error that `diffusion` sent, whose code stands before the message."""
    name, separator, rest = message.partition(": ")
    if separator and name in CODES:
        error = pb_utils.TritonError(rest, getattr(pb_utils.TritonError, CODES[name]))
    else:
        error = pb_utils.TritonError(message)
    return pb_utils.InferenceResponse(error=error)
