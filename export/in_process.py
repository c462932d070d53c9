"""The loop and the exported graphs in this process, as Triton runs them in its own: for evaluation and comparison."""

import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path

import numpy as np

from export.loop import (
    Checkpoint,
    Completed,
    Event,
    Failed,
    OpenNetwork,
    Pipeline,
    PromptEncoder,
    open_networks,
    parse_request,
)

UNBOUNDED = sys.maxsize
"""The queue's length: here nobody is refused."""


class InProcess:
    """Generates images with the code of `diffusion`, which opens the networks in its process there too."""

    def __init__(
        self, repository: Path, max_active_samples: int = 16, networks: Mapping[str, OpenNetwork] | None = None
    ) -> None:
        """`repository`: written by `python -m export`, runtime python or torch. `networks`: its own, opened here."""
        folder = repository / "diffusion/1"
        self._checkpoint = Checkpoint.from_file(folder / "checkpoint.json")
        networks = networks or open_networks(repository, self._checkpoint.networks)
        arrays = networks["denoiser"].arrays
        tokenizers = {name: folder / file for name, file in self._checkpoint.tokenizers.items()}
        self._pipeline = Pipeline(
            self._checkpoint,
            PromptEncoder(tokenizers, networks["text_encoder"], lambda warning: None, arrays),
            networks,
            max_active_samples,
            UNBOUNDED,
            _Unmeasured(),
            lambda record: None,
            arrays,
        )

    def __enter__(self) -> "InProcess":
        return self

    def __exit__(self, *exception: object) -> None:
        self._pipeline.close()

    def generate(self, prompt: str, **fields: float | str) -> "Future[np.ndarray]":
        """The images to come, uint8 (N, H, W, 3); `fields` are those of the wire interface."""
        tensors = {"prompt": prompt, **fields}
        arrays = {
            name: np.array([value.encode()], object) if isinstance(value, str) else np.array([value])
            for name, value in tensors.items()
        }
        answer: Future[np.ndarray] = Future()
        self._pipeline.submit(parse_request(arrays, self._checkpoint), _respond_to(answer), "in process")
        return answer


def _respond_to(answer: "Future[np.ndarray]") -> Callable[[Event], bool]:
    """A responder that keeps the images."""

    def respond(event: Event) -> bool:
        if isinstance(event, Completed):
            answer.set_result(event.image)
        elif isinstance(event, Failed):
            answer.set_exception(event.reason)
        return True

    return respond


class _Unmeasured:
    def add(self, name: str, amount: float) -> None: ...

    def observe(self, name: str, value: float) -> None: ...
