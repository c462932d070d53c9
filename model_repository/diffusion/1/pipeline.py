"""A request's way to its images: encode, loop, decode, respond. Knows no Triton, takes the networks as callables.

Encoding and decoding have a thread each, so that the loop never waits for them, and so have the responses.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from admission import Admission
from batch import Generation
from checkpoint import Checkpoint
from conditioning import PromptEncoder
from errors import NotANumber, Overloaded, RequestError, ShuttingDown
from events import Cancelled, Completed, Event, Failed, Preview, Progress, Queued
from fair_queue import Turns
from job import Job, Respond
from networks import Conditioning, Network
from networks.arrays import HOST, Array, Arrays
from request import MAX_IMAGES, Request, parse_request
from scheduler import Metrics, Scheduler

WARM_UP = {"prompt": np.array([b"."], object), "num_inference_steps": np.array([1])}
Log = Callable[[dict[str, object]], None]
"""Takes the record of a request that has ended."""


class Pipeline:
    """Generates images for any number of requests at once."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        encoder: PromptEncoder,
        networks: Mapping[str, Network],
        max_active_samples: int,
        max_queue: int,
        metrics: Metrics,
        log: Log,
        arrays: Arrays = HOST,
    ) -> None:
        """`networks`: `denoiser` and `vae_decoder`, which take `arrays`. `max_queue`: images that may wait.

        Raises ValueError where a call of the denoiser takes fewer rows than the largest request needs.
        """
        max_active_samples = min(max_active_samples, _room(checkpoint))
        self._checkpoint = checkpoint
        self._encoder = encoder
        self._vae_decoder = networks["vae_decoder"]
        self._metrics = metrics
        self._log = log
        self._arrays = arrays
        self._admission = Admission(max_active_samples, max_queue)
        self._scheduler = Scheduler(networks["denoiser"], max_active_samples, metrics, arrays)
        self._to_encode: Turns[Job] = Turns()
        self._to_decode: Turns[tuple[Job, Array]] = Turns()
        self._encoding = ThreadPoolExecutor(1, thread_name_prefix="encoder")
        self._decoding = ThreadPoolExecutor(1, thread_name_prefix="decoder")
        self._ended: deque[tuple[Job, Event]] = deque()  # with the last response to each
        self._responding = ThreadPoolExecutor(1, thread_name_prefix="responder")
        metrics.add("max_active_samples", max_active_samples)

    def submit(
        self, request: Request, respond: Respond, request_id: str, timeout: float = math.inf, interval: float = 0.0
    ) -> Job:
        """Start on `request`; returns at once, `respond` hears the rest. `timeout`: seconds that somebody waits.
        `interval`: seconds between two events that are sent on the way."""
        job = Job(request, respond, request_id, timeout, self._handle, interval)
        try:
            self._admission.enter(request)
        except Overloaded as reason:
            self.refuse(reason, respond, request_id)
            return job
        self._metrics.add("requests_in_flight", 1)
        self._to_encode.put(job, request)
        try:
            self._encoding.submit(self._encode_next)
        except RuntimeError:  # the executor is shut down
            while (left := self._to_encode.take()) is not None:
                left.report(Failed(ShuttingDown()))
        return job

    def refuse(self, reason: RequestError, respond: Respond, request_id: str) -> None:
        """Answer what is not even a request."""
        respond(Failed(reason))
        self._metrics.add(f"requests_{reason.outcome}", 1)
        self._log({"request_id": request_id, "outcome": reason.outcome, "error": str(reason)})

    def warm_up(self) -> None:
        """Call every network once, each in the thread that will call it: the first call is slow, and what an engine
        sets up may belong to its thread. Raises what a network raises."""
        request = parse_request(WARM_UP, self._checkpoint)
        latent: Future[np.ndarray] = Future()

        def keep(job: Job, event: Event) -> None:
            match event:
                case Completed(image):
                    latent.set_result(image)
                case Failed(reason):
                    latent.set_exception(reason)

        conditioning = self._encoding.submit(self._encoder.conditioning, request).result()
        job = Job(request, lambda event: True, "", math.inf, keep)
        self._scheduler.submit(self._generation(request, conditioning), job)
        self._decoding.submit(self._vae_decoder, latent=latent.result()).result()

    def decode(self, latent: Array) -> np.ndarray:
        """uint8 (N, H, W, 3) on the host of `latent`, float32 (N, C, h, w). Raises NotANumber."""
        if not self._is_finite(latent):
            raise NotANumber("denoiser", "use a lower guidance_scale, or ")
        most, samples = self._checkpoint.max_batch("vae_decoder"), latent.shape[0]
        calls = [slice(start, min(start + most, samples)) for start in range(0, samples, most)]
        parts = [self._vae_decoder(latent=latent[rows, ...]) for rows in calls]
        if not all(self._is_finite(part["magnitude"]) for part in parts):
            raise NotANumber("vae_decoder")
        return np.concatenate([self._arrays.get(part["image"]) for part in parts])

    def close(self) -> None:
        """End after the calls in progress; every unfinished request hears ShuttingDown."""
        self._encoding.shutdown()
        self._scheduler.close()
        self._decoding.shutdown()
        self._responding.shutdown()

    def _encode_next(self) -> None:
        job = self._to_encode.take()
        if job is not None:
            self._encode(job)

    def _encode(self, job: Job) -> None:
        request = job.request
        if job.cancelled:
            job.report(Cancelled())
            return
        if time.monotonic() >= job.deadline:
            job.expire()
            return
        try:
            conditioning = self._encoder.conditioning(request)
            if not all(self._is_finite(array) for array in conditioning.values()):
                raise NotANumber("text_encoder")
            self._scheduler.submit(self._generation(request, conditioning), job)
        except Exception as reason:
            job.report(Failed(reason))

    def _generation(self, request: Request, conditioning: Conditioning) -> Generation:
        shape = self._checkpoint.latent_format.shape(request.height, request.width)
        return Generation(request, shape, conditioning, self._arrays)

    def _is_finite(self, array: Array) -> bool:
        return bool(self._arrays.xp.all(self._arrays.xp.isfinite(array)))

    def _handle(self, job: Job, event: Event) -> None:
        """Take what the loop reports; its last event is the latent, or the end."""
        if isinstance(event, Completed | Failed | Cancelled):
            self._admission.leave(job.request)
        match event:
            case Completed(latent):
                self._to_decode.put((job, latent), job.request)
                self._decoding.submit(self._decode_next)
            case Failed() | Cancelled():
                self._last(job, event)
            case Queued() | Progress() | Preview():
                if event == Progress(0):
                    job.enter_loop()
                if job.take_to_send(event):
                    self._responding.submit(self._respond, job)

    def _decode_next(self) -> None:
        waiting = self._to_decode.take()
        if waiting is not None:
            self._decode(*waiting)

    def _decode(self, job: Job, latent: Array) -> None:
        try:
            if time.monotonic() >= job.deadline:
                raise job.overdue()
            last: Event = Completed(self.decode(latent))
        except Exception as reason:
            last = Failed(reason)
        self._last(job, last)

    def _last(self, job: Job, event: Event) -> None:
        """Send the last response to `job`, before what others hear on the way."""
        self._ended.append((job, event))
        self._responding.submit(self._end)

    def _respond(self, job: Job) -> None:
        self._end()
        while job.unsent:
            self._send(job, job.unsent.popleft())

    def _send(self, job: Job, event: Event) -> None:
        if isinstance(event, Preview):
            latent = self._arrays.get(event.image)
            if np.isfinite(latent).all():
                event = Preview(event.step, self._checkpoint.latent_format.preview(latent))
            else:
                event = Progress(event.step)
        if not job.respond(event):
            job.cancel()

    def _end(self) -> None:
        """Send the last responses that are due, and count and log their jobs."""
        while self._ended:
            job, event = self._ended.popleft()
            while job.unsent:
                self._send(job, job.unsent.popleft())
            self._close(job, event)

    def _close(self, job: Job, event: Event) -> None:
        outcome, error = _outcome(event)
        try:
            job.respond(event)
        finally:
            self._metrics.add(f"requests_{outcome}", 1)
            self._metrics.observe("generation_seconds", time.monotonic() - job.began)
            self._metrics.add("requests_in_flight", -1)
            self._log({**job.record(outcome), **error})


def _room(checkpoint: Checkpoint) -> int:
    """Samples that a call of the denoiser takes, all of them guided. Raises ValueError."""
    rows = checkpoint.max_batch("denoiser")
    if rows < 2 * MAX_IMAGES:
        raise ValueError(
            f"the denoiser takes {rows} rows a call, and a guided request of {MAX_IMAGES} images needs "
            f"{2 * MAX_IMAGES}: export it for so many"
        )
    return rows // 2


def _outcome(event: Event) -> tuple[str, dict[str, object]]:
    """The name under which a last event is counted, and what the log says of an error."""
    match event:
        case Completed():
            return "done", {}
        case Failed(RequestError() as reason):
            return reason.outcome, {"error": str(reason)}
        case Failed(reason):
            return "failed", {"error": str(reason)}
    return "cancelled", {}
