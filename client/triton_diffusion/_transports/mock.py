"""Mock transport: no server, for the tests of programs that use this package."""

from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np
from PIL import Image

from .._checkpoint import Checkpoint, Sampler
from .._deadline import Deadline
from .._request import Request, Value
from .._response import NAMES, Answer, Model
from .transport import CHECKPOINT, READY, VERSION, Question

Handler: TypeAlias = Callable[[Mapping[str, Value]], Image.Image | Sequence[Image.Image]]
T = TypeVar("T")

_CHECKPOINT = Checkpoint(
    "mock",
    height=64,
    width=64,
    height_range=(8, 1024),
    width_range=(8, 1024),
    multiple=8,
    guidance_scale=7.5,
    num_inference_steps=20,
    sampler="dpmpp_2m",
    timestep_spacing="karras",
    samplers={"ddim": Sampler("trailing", ("eta",)), "dpmpp_2m": Sampler("karras")},
    timestep_spacings=("trailing", "karras"),
    networks={"text_encoder": 16, "denoiser": 16, "vae_decoder": 8},
    defaults={"num_images": 1},
)
_ANSWERS: dict[Question[Any], Any] = {READY: True, VERSION: "mock", CHECKPOINT: _CHECKPOINT}


class MockTransport:
    """Stand-in for a server: `Client(transport=MockTransport())`, and the same with `AsyncClient`.

    handler: takes the arguments that were sent (those given and the seed, by name) and returns the image, or as many
    as `num_images` says; what it raises is raised by the call. Without one, an image is of one colour, drawn from its
    seed, and 64x64 where the arguments name no size.

    A stream gets a `Progress` for every step, and a black `Preview` of an eighth of the size where one is due.
    """

    url = "mock"
    streams = True

    def __init__(self, handler: Handler | None = None) -> None:
        self._handler = handler or plain_images

    def infer(self, request: Request, deadline: Deadline, size: int | None = None) -> Answer:
        made = self._handler(request.fields)
        images = [made] if isinstance(made, Image.Image) else list(made)
        pixels = np.stack([np.asarray(image.convert("RGB")) for image in images])
        names = {name: request.fields.get(name, getattr(_CHECKPOINT, name)) for name in NAMES}
        outputs = {"image": pixels, "seed": int(request.fields["seed"]) + np.arange(len(images))}
        return Answer(outputs | {name: np.array([text]) for name, text in names.items()}, "1")

    def stream(self, request: Request, deadline: Deadline) -> Generator[Answer]:
        answer = self.infer(request, deadline)
        num_steps = int(request.fields.get("num_inference_steps", _CHECKPOINT.num_inference_steps))
        interval = int(request.fields.get("preview_interval", 0))
        count, height, width, _ = answer.outputs["image"].shape
        preview = np.zeros((count, height // 8 or 1, width // 8 or 1, 3), np.uint8)
        for step in range(num_steps + 1):
            outputs = {"step": np.array([step]), "num_steps": np.array([num_steps])}
            if interval and step and step % interval == 0 and step < num_steps:
                outputs["preview"] = preview
            yield Answer(outputs, "1")
        yield answer

    def ask(self, question: Question[T], deadline: Deadline) -> T:
        answer: T = _ANSWERS[question]
        return answer

    def model(self, name: str, deadline: Deadline) -> Model:
        return Model(name, "1", ready=True)

    def close(self) -> None:
        pass


class AsyncMock:
    """A MockTransport for AsyncClient."""

    streams = True

    def __init__(self, transport: MockTransport) -> None:
        self.url = transport.url
        self._transport = transport

    async def infer(self, request: Request, deadline: Deadline, size: int | None = None) -> Answer:
        return self._transport.infer(request, deadline)

    async def stream(self, request: Request, deadline: Deadline) -> AsyncGenerator[Answer]:
        for answer in self._transport.stream(request, deadline):
            yield answer

    async def ask(self, question: Question[T], deadline: Deadline) -> T:
        return self._transport.ask(question, deadline)

    async def model(self, name: str, deadline: Deadline) -> Model:
        return self._transport.model(name, deadline)

    async def close(self) -> None:
        self._transport.close()


def plain_images(fields: Mapping[str, Value]) -> list[Image.Image]:
    size = int(fields.get("width", _CHECKPOINT.width)), int(fields.get("height", _CHECKPOINT.height))
    seeds = int(fields["seed"]) + np.arange(int(fields.get("num_images", _CHECKPOINT.defaults["num_images"])))
    colours = [np.random.default_rng(seed).integers(0, 256, 3) for seed in seeds]
    return [Image.new("RGB", size, tuple(int(value) for value in colour)) for colour in colours]
