"""A checkpoint description and a toy denoiser for tests of the loop without Triton."""

import math
import threading
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from checkpoint import Checkpoint
from events import Cancelled, Completed, Event, Failed, Preview, Progress, Queued


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    return Checkpoint(
        name="toy",
        family="stable_diffusion",
        schedule={
            "num_train_timesteps": 1000,
            "beta_start": 1e-4,
            "beta_end": 0.02,
            "beta_schedule": "linear",
            "prediction_type": "v_prediction",
            "steps_offset": 1,
        },
        latent_channels=4,
        vae_factor=8,
        latent_rgb={"weight": [[0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5], [0, 0, 0]], "bias": [0.5, 0.5, 0.5]},
        height=128,
        width=128,
        height_range=(128, 128),
        width_range=(64, 256),
        tokenizers={"input_ids": "tokenizer.json"},
        networks={
            "text_encoder": {"max_batch": 16, "inputs": ["input_ids"], "outputs": ["context"]},
            "denoiser": {"max_batch": 32, "inputs": ["sample", "timestep", "context"], "outputs": ["model_output"]},
            "vae_decoder": {"max_batch": 8, "inputs": ["latent"], "outputs": ["image", "magnitude"]},
        },
        defaults={
            "sampler": "dpmpp_2m",
            "timestep_spacing": "karras",
            "num_inference_steps": 20,
            "guidance_scale": 3.0,
        },
    )


class ToyDenoiser:
    """Counts its calls. A row's output depends on all of its own inputs and on no other row."""

    def __init__(self) -> None:
        self.rows: list[int] = []  # of each call
        self.shapes: list[tuple[int, ...]] = []
        self.gate = threading.Event()  # while it is not set, calls wait
        self.gate.set()
        self.entered = threading.Semaphore(0)  # released by each call
        self.failure: Exception | None = None

    def __call__(self, sample: np.ndarray, timestep: np.ndarray, context: np.ndarray) -> dict[str, np.ndarray]:
        self.rows.append(len(sample))
        self.shapes.append(sample.shape[1:])
        self.entered.release()
        assert self.gate.wait(10)
        if self.failure:
            raise self.failure
        bend = (timestep / 1000 + context[:, 0, 0])[:, None, None, None]
        return {"model_output": (np.tanh(sample * (0.5 + bend)) - 0.1 * bend).astype(np.float32)}


@pytest.fixture
def denoiser() -> ToyDenoiser:
    return ToyDenoiser()


class Counts(Counter):
    """Metrics that a test can read."""

    def add(self, name: str, amount: float) -> None:
        self[name] += amount

    def observe(self, name: str, value: float) -> None:
        """A histogram's count and sum."""
        self[f"{name}_count"] += 1
        self[f"{name}_sum"] += value


@pytest.fixture
def metrics() -> Counts:
    return Counts()


class Waiter:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.cancelled = False
        self.deadline = math.inf
        self.positions: list[int] = []
        self.steps: list[int] = []
        self.previews: list[np.ndarray] = []
        self.latent: np.ndarray | None = None
        self.reason: Exception | None = None
        self.on_end: Callable[[], object] = lambda: None
        self.ended = threading.Event()

    def report(self, event: Event) -> None:
        match event:
            case Queued(position):
                self.positions.append(position)
            case Progress(step):
                self.steps.append(step)
            case Preview(step, denoised):
                self.steps.append(step)
                self.previews.append(denoised)
            case Completed(latent):
                self.latent = latent
            case Failed(reason):
                self.reason = reason
        if isinstance(event, Completed | Failed | Cancelled):
            self.expire()

    def expire(self) -> None:
        self.on_end()
        self.ended.set()
