"""Noise levels of one request: N + 1 nodes from noisy to clean, and the timesteps the denoiser is told at the first N.

Programs lay the same named spacing differently. A *convention* says whose habits a grid follows:

| convention | samplers | points | linspace | told with karras; exponential, beta | last node |
|---|---|---|---|---|---|
| ddim | DDIM, PNDM | N | rounded | rounded; rounded | clean; the cleanest trained if not `set_alpha_to_one` |
| ddpm | DDPM | N | rounded | rounded; rounded | clean |
| dpmpp | DPM++, UniPC, DEIS | N + 1, drop timestep 0 | rounded | rounded; truncated | by `final_sigmas_type`, below |
| euler | Euler, Heun, LMS, DPM++ SDE | N | fractional | fractional; fractional | clean |
| kdpm2 | DPM2, DPM2 ancestral | N | fractional | rounded; fractional | clean |
| lcm | LCM | N | rounded | rounded; rounded | clean |
| tcd | TCD | N | rounded | rounded; rounded | the cleanest trained |

`leading`, `trailing` and `simple` tell integers everywhere, `normal`, `sgm_uniform` and `ays` fractions. `trailing` of
lcm and tcd is their own grid: N <= 50 of the 50 timesteps they were distilled on. karras, exponential and beta reach
from the noisiest to the cleanest trained level. diffusers' schedulers of the conventions euler and kdpm2 lay these
three between the first and the last timestep of the spacing they are configured with: ours are theirs for `linspace`.
With `final_sigmas_type` "sigma_min" dpmpp ends at the cleanest trained level, or clean where it stands there already.

Zero terminal SNR: ddim, ddpm, dpmpp, lcm and tcd start leading, trailing, linspace and simple at alpha = 0 exactly.
Everything else starts at a sigma_karras of 4096 (`Schedule.finite_alpha_bar`), as diffusers does.

Flow models have the spacing `linspace` and the conventions ddim, euler, kdpm2 (all one grid) and dpmpp: `flow.py`.
"""

from dataclasses import dataclass

import numpy as np

from .flow import FlowSchedule, flow_levels
from .schedule import Schedule
from .spacing import CONVENTIONS, SPACINGS

MIN_STEP = 1e-9  # of ln(alpha / sigma); nodes closer than this are one node that rounding has split


@dataclass(frozen=True, eq=False)
class Grid:
    """The noise levels of one request, from noisy to clean: N steps lead over N + 1 nodes."""

    timesteps: np.ndarray  # (N,) float32, told to the denoiser at each node but the last
    alpha: np.ndarray  # (N + 1,) float64, rising, the last 1 where it is clean
    sigma: np.ndarray  # (N + 1,) float64, falling, the last 0 where it is clean
    # Scale of the first latent's noise: the first sigma for samplers that start there instead of at pure noise.
    start_noise: float = 1.0

    @property
    def lambda_(self) -> np.ndarray:
        """(N + 1,) ln(alpha / sigma): +inf at a clean last node, -inf at a first one with zero terminal SNR."""
        with np.errstate(divide="ignore"):
            return np.log(self.alpha) - np.log(self.sigma)

    @property
    def sigma_karras(self) -> np.ndarray:
        """(N + 1,) sigma / alpha: 0 at a clean last node, inf at a first one with zero terminal SNR."""
        with np.errstate(divide="ignore"):
            return self.sigma / self.alpha


def make_grid(
    schedule: Schedule | FlowSchedule, num_inference_steps: int, timestep_spacing: str, convention: str
) -> Grid:
    """The grid of N steps; `convention` is one of `CONVENTIONS`. ValueError is one line that says what to change."""
    if timestep_spacing not in SPACINGS:
        raise ValueError(f"timestep_spacing is {timestep_spacing!r}: use one of {', '.join(SPACINGS)}")
    if not 1 <= num_inference_steps <= schedule.num_train_timesteps:
        raise ValueError(
            f"num_inference_steps is {num_inference_steps}, but the checkpoint was trained with "
            f"{schedule.num_train_timesteps} timesteps: use 1 to {schedule.num_train_timesteps}"
        )
    if isinstance(schedule, FlowSchedule):
        return _flow_grid(schedule, num_inference_steps, timestep_spacing, convention)
    habits = CONVENTIONS[convention]
    timesteps, alpha_bar = SPACINGS[timestep_spacing](schedule, num_inference_steps, habits)
    cleanest = schedule.alpha_bar[0]
    # Grids that visit the cleanest trained level themselves, as karras, have no step left but the one to clean.
    ends_noisy = habits.ends_noisy(schedule) and (habits.may_rest or cleanest - alpha_bar[-1] > MIN_STEP * cleanest)
    alpha_bar = np.append(alpha_bar, cleanest if ends_noisy else 1.0)
    sigma = np.sqrt(1 - alpha_bar)
    from_sigma = habits.starts_from_sigma and timestep_spacing != "leading"
    grid = Grid(timesteps.astype(np.float32), np.sqrt(alpha_bar), sigma, float(sigma[0]) if from_sigma else 1.0)
    _check_falling(grid, timestep_spacing, habits.may_rest)
    return grid


def _flow_grid(schedule: FlowSchedule, steps: int, timestep_spacing: str, convention: str) -> Grid:
    timesteps, sigma = flow_levels(schedule, steps, timestep_spacing, convention)
    sigma = np.append(sigma, 0.0)
    grid = Grid(timesteps.astype(np.float32), 1 - sigma, sigma)
    _check_falling(grid, timestep_spacing, may_rest=False)
    return grid


def _check_falling(grid: Grid, timestep_spacing: str, may_rest: bool) -> None:
    """Refuse nodes of equal noise, over which a multistep sampler divides by zero."""
    with np.errstate(invalid="ignore"):  # two nodes without noise, or of noise alone
        falls = np.diff(grid.lambda_) > MIN_STEP
    if may_rest:  # DDIM's and TCD's last step may lead from a level to itself, and then changes nothing
        falls = falls[:-1]
    if not falls.all():
        steps = len(grid.timesteps)
        raise ValueError(
            f"timestep_spacing is {timestep_spacing!r}, which repeats a noise level in {steps} steps on this "
            "checkpoint: use fewer steps or another timestep_spacing"
        )
