"""The kinds of requests, by every door: for images, cancelled ones, bad ones, and those of clients that are killed."""

import io
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import httpx2
import numpy as np
from PIL import Image
from triton_diffusion import Client, Completed, DeadlineExceeded, InvalidRequest, Progress

from benchmarks.resilience.traffic import PROMPT, STEPS, images_made_alone

LONG = 1000  # steps: what must not end by itself
KILLED_STEPS = 60  # where nobody notices that the client is gone
SHORT = 0.3  # seconds; a deadline that passes, or a client's patience
GENERATIONS = "/v1/images/generations"


class Unexpected(Exception):
    """An answer that is not the one promised: its kind."""


@dataclass(frozen=True)
class Doors:
    """Addresses, as host:port."""

    grpc: str
    http: str
    gateway: str


class Kinds:
    """The requests, each a function of a seed that returns when its request has ended as it should.

    Raises Unexpected, or the error that should not have come.
    """

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._grpc = Client(doors.grpc)
        self._shared = Client(doors.grpc, shared_memory="system")
        self._http = Client(doors.http, "http")
        self._gateway = httpx2.Client(base_url=f"http://{doors.gateway}", timeout=60)
        self._expected = images_made_alone(self._grpc)
        self.by_name: dict[str, Sequence[Callable[[int], None]]] = {
            "images": (self._over_grpc, self._in_stream, self._over_http, self._in_shared_memory, self._by_gateway),
            "cancelled": (self._left_stream, self._late_over_grpc, self._late_over_http, self._left_gateway),
            "bad": (self._refused, self._refused_in_stream, self._no_json, self._refused_by_gateway),
            "killed": (self._killed_over_grpc, self._killed_over_http),
        }

    def close(self) -> None:
        for client in (self._grpc, self._shared, self._http, self._gateway):
            client.close()

    def _check(self, seed: int, images: Sequence[Image.Image]) -> None:
        (image,) = images
        if not np.array_equal(np.asarray(image), self._expected[seed]):
            raise Unexpected("wrong image")

    def _over_grpc(self, seed: int) -> None:
        self._check(seed, self._grpc.text_to_image(PROMPT, seed=seed, num_inference_steps=STEPS))

    def _over_http(self, seed: int) -> None:
        self._check(seed, self._http.text_to_image(PROMPT, seed=seed, num_inference_steps=STEPS))

    def _in_shared_memory(self, seed: int) -> None:
        self._check(seed, self._shared.text_to_image(PROMPT, seed=seed, num_inference_steps=STEPS))

    def _in_stream(self, seed: int) -> None:
        events = self._grpc.stream(PROMPT, seed=seed, num_inference_steps=STEPS, preview_interval=1)
        self._check(seed, next(event.images for event in events if isinstance(event, Completed)))

    def _by_gateway(self, seed: int) -> None:
        data = self._generate(seed, STEPS).raise_for_status().json()["data"]
        self._check(seed, [Image.open(io.BytesIO(b64decode(image["b64_json"]))) for image in data])

    def _generate(self, seed: int, steps: int, **options: Any) -> httpx2.Response:
        return self._gateway.post(GENERATIONS, json={"prompt": PROMPT, "seed": seed, "steps": steps}, **options)

    def _left_stream(self, seed: int) -> None:
        with closing(self._grpc.stream(PROMPT, seed=seed, num_inference_steps=LONG)) as events:
            next(event for event in events if isinstance(event, Progress))

    def _late_over_grpc(self, seed: int) -> None:
        self._late(self._grpc, seed)

    def _late_over_http(self, seed: int) -> None:
        self._late(self._http, seed)

    def _late(self, client: Client, seed: int) -> None:
        try:
            client.text_to_image(PROMPT, seed=seed, num_inference_steps=LONG, timeout=SHORT)
        except DeadlineExceeded:
            return
        raise Unexpected("no deadline")

    def _left_gateway(self, seed: int) -> None:
        try:
            self._generate(seed, LONG, timeout=httpx2.Timeout(60, read=SHORT))
        except httpx2.ReadTimeout:
            return
        raise Unexpected("answered in no time")

    def _refused(self, seed: int) -> None:
        try:
            self._grpc.text_to_image(PROMPT, seed=seed, height=7)
        except InvalidRequest:
            return
        raise Unexpected("not refused")

    def _refused_in_stream(self, seed: int) -> None:
        try:
            list(self._grpc.stream(PROMPT, seed=seed, sampler="none such"))
        except InvalidRequest:
            return
        raise Unexpected("not refused")

    def _no_json(self, seed: int) -> None:
        answer = httpx2.post(f"http://{self._doors.http}/v2/models/text_to_image/infer", content=b'{"inputs": [')
        if answer.status_code < 400:
            raise Unexpected("not refused")

    def _refused_by_gateway(self, seed: int) -> None:
        answer = self._generate(seed, -1)
        if answer.status_code != 400:
            raise Unexpected(f"answered with {answer.status_code}")

    def _killed_over_grpc(self, seed: int) -> None:
        self._kill("grpc", self._doors.grpc)

    def _killed_over_http(self, seed: int) -> None:
        self._kill("http", self._doors.http)

    def _kill(self, protocol: str, url: str) -> None:
        """SIGKILL to a client process whose request is inside."""
        command = [sys.executable, "-m", "benchmarks.soak.victim", protocol, url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as victim:
            assert victim.stdout is not None
            line = victim.stdout.readline()
            victim.kill()
        if line != "inside\n":
            raise Unexpected("the client to be killed got no request in")
