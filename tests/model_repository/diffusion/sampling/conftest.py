"""Schedules, and toy data whose best denoiser is known exactly, for the sampling tests."""

from collections.abc import Callable

import pytest
from sampling import Schedule, alpha_bar_from_betas

from tests.support.mixture import Model, mixture_model
from tests.support.step_tables import run_table as run


@pytest.fixture(scope="session")
def stable_diffusion() -> Callable[..., Schedule]:
    """Schedules with Stable Diffusion's betas."""

    def schedule(prediction_type: str = "epsilon", steps_offset: int = 0, zero_snr: bool = False) -> Schedule:
        alpha_bar = alpha_bar_from_betas(1000, 0.00085, 0.012, "scaled_linear", zero_snr)
        return Schedule(alpha_bar, prediction_type, steps_offset)

    return schedule


@pytest.fixture(scope="session")
def perfect_model() -> Callable[[Schedule], Model]:
    return mixture_model


@pytest.fixture(scope="session")
def run_table() -> Callable:
    return run
