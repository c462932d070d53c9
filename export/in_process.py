"""The loop and the exported graphs in this process, as Triton runs them in its own: for evaluation and comparison."""

import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import onnxruntime

UNBOUNDED = sys.maxsize
"""The queue's length: here nobody is refused."""


class InProcess:
    """Generates images with the repository's own `diffusion` code and ONNX Runtime on the CPU."""

    def __init__(self, repository: Path, max_active_samples: int = 16) -> None:
        """`repository`: written by `python -m export`, runtime python or onnxruntime."""
        folder = repository / "diffusion/1"
        sys.path.append(str(folder))  # as Triton does for a Python model
        from checkpoint import Checkpoint
        from pipeline import Pipeline
        from request import parse_request
        from text import PromptEncoder

        text_encoder, denoiser, vae_decoder = (
            _session(repository, name) for name in ("text_encoder", "denoiser", "vae_decoder")
        )
        self._checkpoint = Checkpoint.from_file(folder / "checkpoint.json")
        self._parse_request = parse_request
        self._pipeline = Pipeline(
            self._checkpoint,
            PromptEncoder(folder / "tokenizer.json", lambda ids: text_encoder(input_ids=ids), lambda warning: None),
            lambda sample, timestep, context: denoiser(sample=sample, timestep=timestep, context=context),
            lambda latent: vae_decoder(latent=latent),
            max_active_samples,
            UNBOUNDED,
            _Unmeasured(),
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
        answer = _Answer()
        self._pipeline.submit(self._parse_request(arrays, self._checkpoint), answer)
        return answer.future


def _session(repository: Path, name: str) -> Callable[..., np.ndarray]:
    """The model's graph as a function of its inputs."""
    session = onnxruntime.InferenceSession(repository / name / "1/model.onnx", providers=["CPUExecutionProvider"])
    return lambda **inputs: session.run(None, inputs)[0]


class _Answer:
    """A responder that keeps the images."""

    cancelled = False

    def __init__(self) -> None:
        self.future: Future[np.ndarray] = Future()

    def queued(self, position: int, num_steps: int, seeds: np.ndarray) -> None: ...

    def progress(self, step: int, num_steps: int, seeds: np.ndarray, preview: np.ndarray | None) -> None: ...

    def image(self, image: np.ndarray, num_steps: int, seeds: np.ndarray) -> None:
        self.future.set_result(image)

    def error(self, reason: Exception) -> None:
        self.future.set_exception(reason)

    def nothing(self) -> None: ...

    def ended(self, outcome: str, facts: dict[str, object]) -> None: ...


class _Unmeasured:
    def add(self, name: str, amount: float) -> None: ...

    def observe(self, name: str, value: float) -> None: ...
