"""Triton's side of `diffusion`: unpack, enqueue, respond. No maths."""

import gc
import json
import os
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils
from checkpoint import Checkpoint
from conditioning import PromptEncoder
from errors import DeadlineExceeded, InvalidRequest, RequestError, ShuttingDown
from events import Cancelled, Completed, Event, Failed, Preview, Progress, Queued
from job import Job
from metrics import TritonMetrics
from networks import OpenNetwork
from networks.bls import TritonNetwork
from networks.counted import CountedNetwork
from networks.in_process import open_networks
from pipeline import Pipeline
from request import Parameters, Request, parse_parameters, parse_request

FINAL = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
DRAIN_FILE = os.environ.get("TRITON_DIFFUSION_DRAIN_FILE", "")
"""While this file exists, new requests are refused: the launcher makes it before it stops the server."""
MAX_QUEUE = os.environ.get("TRITON_DIFFUSION_MAX_QUEUE", "")
"""The launcher's --max-queue, in place of the parameter of config.pbtxt."""
NETWORKS = os.environ.get("TRITON_DIFFUSION_NETWORKS", "")
"""The repository whose networks are opened in this process; where it is empty, they are Triton models."""
MODEL_INTERVAL = 0.05
"""Seconds between two responses to a model that calls: it only looks whether its client still waits, and to tell it of
every step would take a few per cent of a small denoiser's time from two cores."""
LONGEST_ID = 128  # characters of a request's id in the log


class TritonPythonModel:
    """The decoupled model: many responses a request, many requests in the loop."""

    def initialize(self, args: dict[str, str]) -> None:
        folder = Path(args["model_repository"]) / args["model_version"]
        parameters = json.loads(args["model_config"])["parameters"]
        self._checkpoint = Checkpoint.from_file(folder / "checkpoint.json")
        metrics = TritonMetrics(self._checkpoint.networks)
        networks = _networks(self._checkpoint)
        arrays = networks["denoiser"].arrays
        text_encoder, vae_decoder = (
            CountedNetwork(name, networks[name], arrays, metrics) for name in ("text_encoder", "vae_decoder")
        )
        tokenizers = {name: folder / file for name, file in self._checkpoint.tokenizers.items()}
        self._pipeline = Pipeline(
            self._checkpoint,
            PromptEncoder(tokenizers, text_encoder, pb_utils.Logger.log_warn, arrays),
            {"denoiser": networks["denoiser"], "vae_decoder": vae_decoder},
            int(parameters["max_active_samples"]["string_value"]),
            int(MAX_QUEUE or parameters["max_queue"]["string_value"]),
            metrics,
            log_request,
            arrays,
        )
        if NETWORKS:  # Triton warms up its own
            self._pipeline.warm_up()
        self._by_token: dict[str, Job] = {}
        # Tokens of requests that have yet to come, or have ended.
        self._cancelled_before: deque[str] = deque(maxlen=256)

    def execute(self, requests: list) -> None:
        for request in requests:
            responder = Responder(request.get_response_sender(), request.requested_output_names())
            request_id = secrets.token_hex(8)
            try:
                given, name = _given(request)
                responder.for_model = "token" in given
                request_id = name[:LONGEST_ID] or request_id
                parameters = parse_parameters(given, request.timeout())
                if parameters.cancel:
                    self._cancel(parameters.cancel)
                    responder(Cancelled())
                else:
                    self._accept(request, parameters, responder, request_id)
            except RequestError as reason:
                self._pipeline.refuse(reason, responder, request_id)

    def finalize(self) -> None:
        self._pipeline.close()
        # The stub gives up its shared memory before Python ends. What is Triton's and still in a cycle then, as jobs
        # with their responders are, would reach into that memory when the interpreter collects it (signal 11).
        del self._pipeline
        self._by_token.clear()
        gc.collect()

    def _accept(self, request, parameters: Parameters, responder: "Responder", request_id: str) -> None:
        """Raises RequestError."""
        if DRAIN_FILE and os.path.exists(DRAIN_FILE):
            raise ShuttingDown
        token = parameters.token
        if token in self._by_token:
            raise InvalidRequest("token is that of a request which has not ended: draw one at random for each request")
        tensors = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        responder.request = parse_request(tensors, self._checkpoint, parameters.caller)
        if token:
            responder.on_last = lambda: self._by_token.pop(token, None)
        interval = MODEL_INTERVAL if responder.for_model else 0.0
        job = self._pipeline.submit(responder.request, responder, request_id, parameters.timeout, interval)
        if token:
            self._by_token[token] = job
            if responder.ended:  # before its job was known
                self._by_token.pop(token, None)
            elif token in self._cancelled_before:
                job.cancel()

    def _cancel(self, token: str) -> None:
        """Drop the request that `text_to_image` sent with `token`, or will: BLS cannot cancel, so this is a request
        as well, and may overtake the other."""
        job = self._by_token.get(token)
        if job is None:
            self._cancelled_before.append(token)
        else:
            job.cancel()


class Responder:
    """The responses to one request.

    A model that calls (`for_model`) gets an error as the output `error`: BLS loses the code of an error response, and
    the whole response where others went before it, so that the caller would wait for ever.
    """

    def __init__(self, sender, wanted: Sequence[str]) -> None:
        """`wanted`: names of the outputs that the client has asked for. Others are not even made: Triton 2.51 takes
        them out of a response without holding the GIL, which corrupts Python's memory."""
        self._sender = sender
        self._wanted = frozenset(wanted)
        self.for_model = False
        self.request: Request | None = None  # once it is known to be valid
        self.ended = False
        self.on_last: Callable[[], object] = lambda: None

    def __call__(self, event: Event) -> bool:
        """Send the response to `event`; False where the client has cancelled."""
        match event:
            case Queued(position):
                return self._tell(0, queue_position=np.array([position], np.int32))
            case Progress(step):
                return self._tell(step)
            case Preview(step, image):
                return self._tell(step, preview=image)
            case Completed(image):
                self._last(self._response(self.num_steps, image=image, **self._names()))
            case Failed(reason):
                self._last(self._error(reason))
            case Cancelled():
                self._last()
        return True

    @property
    def num_steps(self) -> int:
        return self.request.num_steps if self.request else 0

    def _tell(self, step: int, **extra: np.ndarray) -> bool:
        if self._sender.is_cancelled():
            return False
        self._sender.send(self._response(step, **extra))
        return True

    def _last(self, *response) -> None:
        self.ended = True
        self.on_last()
        self._sender.send(*response, flags=FINAL)

    def _names(self) -> dict[str, np.ndarray]:
        """Our names of sampler and spacing, as tensors: a request may have another program's, or none."""
        assert self.request is not None
        return {name: np.array([text.encode()], np.object_) for name, text in self.request.used.items()}

    def _response(self, step: int, **extra: np.ndarray):
        assert self.request is not None
        tensors = {
            "step": np.array([step], np.int32),
            "num_steps": np.array([self.num_steps], np.int32),
            "seed": self.request.seeds,
            **extra,
        }
        return self._with(tensors)

    def _with(self, tensors: Mapping[str, np.ndarray]):
        wanted = [pb_utils.Tensor(name, array) for name, array in tensors.items() if name in self._wanted]
        return pb_utils.InferenceResponse(wanted)

    def _error(self, reason: Exception):
        code = reason.code if isinstance(reason, RequestError) else "INTERNAL"
        # A stream has no place for the code, so clients and text_to_image read it from the message.
        name = "DEADLINE_EXCEEDED" if isinstance(reason, DeadlineExceeded) else code
        message = f"{name}: {reason}"
        if self.for_model:
            return self._with({"error": np.array([message.encode()], np.object_)})
        return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, getattr(pb_utils.TritonError, code)))


def _networks(checkpoint: Checkpoint) -> Mapping[str, OpenNetwork]:
    if NETWORKS:
        return open_networks(Path(NETWORKS), checkpoint.networks)
    return {name: TritonNetwork(name, network["outputs"]) for name, network in checkpoint.networks.items()}


def _given(request) -> tuple[dict[str, object], str]:
    """The request's parameters and id. Raises InvalidRequest."""
    try:
        return json.loads(request.parameters() or "{}"), request.request_id()
    except UnicodeDecodeError as error:
        raise InvalidRequest("the id or a request parameter holds other bytes than UTF-8: send valid UTF-8") from error


def log_request(record: dict[str, object]) -> None:
    """Print the record of an ended request as a line of JSON."""
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "level": "info" if record["outcome"] in ("done", "cancelled") else "warning",
        "event": "request",
        "model": "diffusion",
        **record,
    }
    print(json.dumps(line), flush=True)
