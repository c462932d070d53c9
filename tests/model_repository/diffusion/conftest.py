"""A checkpoint description and a toy UNet for tests of the loop without Triton."""

import threading
from collections import Counter

import numpy as np
import pytest
from checkpoint import Checkpoint


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    return Checkpoint(
        name="toy",
        schedule={"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"},
        prediction_type="v_prediction",
        steps_offset=1,
        latent_channels=4,
        vae_factor=8,
        height=128,
        width=128,
        height_range=(128, 128),
        width_range=(64, 256),
        max_batch={"text_encoder": 16, "unet": 32, "vae_decoder": 8},
        guidance_scale=3.0,
        latent_rgb={"weight": [[0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5], [0, 0, 0]], "bias": [0.5, 0.5, 0.5]},
    )


class ToyUNet:
    """Counts its calls. A row's output depends on all of its own inputs and on no other row."""

    def __init__(self) -> None:
        self.rows: list[int] = []  # of each call
        self.shapes: list[tuple[int, ...]] = []
        self.gate = threading.Event()  # while it is not set, calls wait
        self.gate.set()
        self.entered = threading.Semaphore(0)  # released by each call
        self.failure: Exception | None = None

    def __call__(self, sample: np.ndarray, timestep: np.ndarray, context: np.ndarray) -> np.ndarray:
        self.rows.append(len(sample))
        self.shapes.append(sample.shape[1:])
        self.entered.release()
        assert self.gate.wait(10)
        if self.failure:
            raise self.failure
        bend = (timestep / 1000 + context[:, 0, 0])[:, None, None, None]
        return (np.tanh(sample * (0.5 + bend)) - 0.1 * bend).astype(np.float32)


@pytest.fixture
def unet() -> ToyUNet:
    return ToyUNet()


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
