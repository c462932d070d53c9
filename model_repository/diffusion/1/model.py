"""Triton's side of `diffusion`: unpack, enqueue, respond. No maths."""

import functools
import json
import math
import os
import secrets
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import engines
import numpy as np
import triton_python_backend_utils as pb_utils
from checkpoint import Checkpoint
from errors import DeadlineExceeded, RequestError, ShuttingDown
from metrics import TritonMetrics
from pipeline import Pipeline
from request import InvalidRequest, parse_request
from text import PromptEncoder

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
DRAIN_FILE = os.environ.get("TRITON_DIFFUSION_DRAIN_FILE", "")
"""While this file exists, new requests are refused: the launcher makes it before it stops the server."""
MAX_QUEUE = os.environ.get("TRITON_DIFFUSION_MAX_QUEUE", "")
"""The launcher's --max-queue, in place of the parameter of config.pbtxt."""


class TritonPythonModel:
    """The decoupled model: many responses a request, many requests in the loop."""

    def initialize(self, args: dict[str, str]) -> None:
        folder = Path(args["model_repository"]) / args["model_version"]
        parameters = json.loads(args["model_config"])["parameters"]
        self._checkpoint = Checkpoint.from_file(folder / "checkpoint.json")
        self._checkpoint.noise_schedule  # noqa: B018 - a broken schedule is to fail now, not with the first request
        self._pipeline = Pipeline(
            self._checkpoint,
            PromptEncoder(folder / "tokenizer.json", engines.text_encoder, pb_utils.Logger.log_warn),
            engines.unet,
            engines.vae_decoder,
            int(parameters["max_active_samples"]["string_value"]),
            int(MAX_QUEUE or parameters["max_queue"]["string_value"]),
            TritonMetrics(),
        )
        self._by_token: dict[str, TritonResponder] = {}
        self._cancelled_before: deque[str] = deque(
            maxlen=256
        )  # tokens of requests that have yet to come, or have ended

    def execute(self, requests: list) -> None:
        for request in requests:
            parameters = json.loads(request.parameters() or "{}")
            token = parameters.get("token")
            responder = TritonResponder(request.get_response_sender(), request.request_id(), for_model=bool(token))
            if "cancel" in parameters:
                self._cancel(parameters["cancel"])
                responder.nothing()
            elif DRAIN_FILE and os.path.exists(DRAIN_FILE):
                self._pipeline.refuse(ShuttingDown(), responder)
            else:
                self._accept(request, token, responder)

    def finalize(self) -> None:
        self._pipeline.close()

    def _accept(self, request, token: str | None, responder: "TritonResponder") -> None:
        tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        try:
            parsed = parse_request(tensors, self._checkpoint)
        except InvalidRequest as error:
            self._pipeline.refuse(error, responder)
            return
        if token:
            responder.cancelled = token in self._cancelled_before
            self._by_token[token] = responder
            responder.on_last = functools.partial(self._by_token.pop, token)
        microseconds = request.timeout()
        self._pipeline.submit(parsed, responder, microseconds / 1e6 if microseconds else math.inf)

    def _cancel(self, token: str) -> None:
        """Drop the request that `text_to_image` sent with `token`, or will: BLS cannot cancel, so this is a request
        as well, and may overtake the other."""
        responder = self._by_token.get(token)
        if responder is None:
            self._cancelled_before.append(token)
        else:
            responder.cancelled = True


class TritonResponder:
    """Sends the responses to one request, and logs its end.

    A model that calls (`for_model`) gets an error as the output `error`: BLS loses the code of an error response, and
    the whole response where others went before it, so that the caller would wait for ever.
    """

    def __init__(self, sender, request_id: str, for_model: bool) -> None:
        self._sender = sender
        self._for_model = for_model
        self._request_id = request_id or secrets.token_hex(8)
        self.cancelled = False
        self.on_last: Callable[[], object] = lambda: None

    def queued(self, position: int, num_steps: int, seeds: np.ndarray) -> None:
        self._tell(0, num_steps, seeds, {"queue_position": np.array([position], np.int32)})

    def progress(self, step: int, num_steps: int, seeds: np.ndarray, preview: np.ndarray | None) -> None:
        self._tell(step, num_steps, seeds, {} if preview is None else {"preview": preview})

    def image(self, image: np.ndarray, num_steps: int, seeds: np.ndarray) -> None:
        self._last(_response(num_steps, num_steps, seeds, {"image": image}))

    def error(self, reason: Exception) -> None:
        code = reason.code if isinstance(reason, RequestError) else "INTERNAL"
        # A stream has no place for the code, so clients and text_to_image read it from the message.
        name = "DEADLINE_EXCEEDED" if isinstance(reason, DeadlineExceeded) else code
        message = f"{name}: {reason}"
        if self._for_model:
            output = pb_utils.Tensor("error", np.array([message.encode()], np.object_))
            self._last(pb_utils.InferenceResponse([output]))
        else:
            error = pb_utils.TritonError(message, getattr(pb_utils.TritonError, code))
            self._last(pb_utils.InferenceResponse(error=error))

    def nothing(self) -> None:
        self.on_last()
        self._sender.send(flags=FINAL)

    def ended(self, outcome: str, facts: dict[str, object]) -> None:
        record = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "level": "info" if outcome in ("done", "cancelled") else "warning",
            "event": "request",
            "model": "diffusion",
            "request_id": self._request_id,
            "outcome": outcome,
            **facts,
        }
        print(json.dumps(record), flush=True)

    def _tell(self, step: int, num_steps: int, seeds: np.ndarray, extra: dict[str, np.ndarray]) -> None:
        self.cancelled = self.cancelled or self._sender.is_cancelled()
        if not self.cancelled:
            self._sender.send(_response(step, num_steps, seeds, extra))

    def _last(self, response) -> None:
        self.on_last()
        self._sender.send(response, flags=FINAL)


def _response(step: int, num_steps: int, seeds: np.ndarray, extra: dict[str, np.ndarray]):
    tensors = {"step": np.array([step], np.int32), "num_steps": np.array([num_steps], np.int32), "seed": seeds, **extra}
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in tensors.items()])
