"""Spacings: the noise levels that N steps visit, by the names of diffusers, ComfyUI and A1111.

A spacing is a function (schedule, steps, convention) -> (timesteps (N,), alpha_bar (N,)), both float64 and from noisy
to clean. `trained` below is the sigma_karras (T,) of every training timestep.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .beta import beta_quantiles
from .schedule import Schedule

Levels = tuple[np.ndarray, np.ndarray]
Rounding = Callable[[np.ndarray], np.ndarray]

KARRAS_RHO = 7.0
BETA_SHAPE = 0.6  # both parameters of the beta distribution, arXiv 2407.12173
DISTILLED_TIMESTEPS = 50  # of LCM and TCD

# Align Your Steps (arXiv 2404.14507) for Stable Diffusion 1.5 in 10 steps: sigma_karras as NVIDIA publishes it.
AYS_SIGMA_KARRAS = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029)
AYS_ROUNDING = 1e-3  # of the published numbers, relative


def _truncated(timesteps: np.ndarray) -> np.ndarray:
    """Cut to integers; the noisiest level is its own timestep, even where rounding errors put it just below."""
    return np.floor(timesteps + 1e-6)


def _clean(schedule: Schedule) -> bool:
    return False


def _cleanest_trained(schedule: Schedule) -> bool:
    return True


@dataclass(frozen=True)
class Convention:
    """The habits of a family of samplers in laying the same spacing."""

    skip_zero: bool = False  # lay N + 1 points and drop the one at timestep 0
    fractional: bool = False  # linspace keeps its fractions
    finite: bool = False  # start zero terminal SNR at a finite sigma_karras
    distilled: bool = False  # `trailing` is the grid of LCM
    told_karras: Rounding = np.round
    told: Rounding = np.round  # with exponential and beta
    ends_noisy: Callable[[Schedule], bool] = _clean  # the last node is the cleanest trained level
    may_rest: bool = False  # the last node may repeat the one before
    starts_from_sigma: bool = False  # start from noise of the first sigma, but for `leading`


CONVENTIONS = {
    "ddim": Convention(ends_noisy=lambda schedule: not schedule.set_alpha_to_one, may_rest=True),
    "ddpm": Convention(),
    "dpmpp": Convention(
        skip_zero=True, told=_truncated, ends_noisy=lambda schedule: schedule.final_sigmas_type == "sigma_min"
    ),
    "euler": Convention(
        fractional=True, finite=True, told_karras=np.positive, told=np.positive, starts_from_sigma=True
    ),
    "kdpm2": Convention(fractional=True, finite=True, told=np.positive, starts_from_sigma=True),
    "lcm": Convention(distilled=True),
    "tcd": Convention(distilled=True, ends_noisy=_cleanest_trained, may_rest=True),
}


def leading(schedule: Schedule, steps: int, convention: Convention) -> Levels:
    """k * floor(T / points) + steps_offset; arXiv 2305.08891 table 2, as diffusers."""
    total = schedule.num_train_timesteps
    if steps == total:
        return _every_timestep(schedule, convention)
    points = steps + convention.skip_zero
    timesteps = np.arange(points)[::-1][:steps] * (total // points)
    timesteps = timesteps + min(schedule.steps_offset, total - 1 - timesteps[0])  # never past T - 1
    return _at(schedule, timesteps, convention)


def trailing(schedule: Schedule, steps: int, convention: Convention) -> Levels:
    """round(T - k * T / N) - 1; arXiv 2305.08891 table 2, as diffusers."""
    if convention.distilled:
        return _distilled(schedule, steps, convention)
    total = schedule.num_train_timesteps
    if steps == total:
        return _every_timestep(schedule, convention)
    # The cut takes off the timestep -1 that rounding inside arange adds for some N (61, 103, ...).
    timesteps = np.arange(total, 0, -total / steps)[:steps].round() - 1
    return _at(schedule, timesteps, convention)


def linspace(schedule: Schedule, steps: int, convention: Convention) -> Levels:
    """Evenly from T - 1 to 0; arXiv 2305.08891 table 2, as diffusers."""
    total = schedule.num_train_timesteps
    if steps == total:  # N + 1 points would repeat some
        return _every_timestep(schedule, convention)
    timesteps = np.linspace(0, total - 1, steps + convention.skip_zero)
    if not convention.fractional:
        return _at(schedule, timesteps.round()[::-1][:steps], convention)
    timesteps = timesteps[::-1]
    return timesteps, _alpha_bar(np.interp(timesteps, np.arange(total), schedule.trained_sigma_karras))


def simple(schedule: Schedule, steps: int, convention: Convention) -> Levels:
    """T - 1 - floor(k * T / N): ComfyUI's `simple`."""
    total = schedule.num_train_timesteps
    return _at(schedule, total - 1 - np.arange(steps) * total // steps, convention)


def normal(schedule: Schedule, steps: int, convention: Convention) -> Levels:
    """Evenly from T - 1 to 0, fractions kept and sigma_karras log-linear in them: k-diffusion's `get_sigmas`."""
    return _log_linear(schedule, np.linspace(schedule.num_train_timesteps - 1, 0, steps))


def sgm_uniform(schedule: Schedule, steps: int, convention: Convention) -> Levels:
    """As `normal` with one point more, whose last is dropped: ComfyUI's `sgm_uniform`."""
    return _log_linear(schedule, np.linspace(schedule.num_train_timesteps - 1, 0, steps + 1)[:-1])


def karras(schedule: Schedule, steps: int, convention: Convention) -> Levels:
    """arXiv 2206.00364 eq. 5 between the schedule's ends."""
    low, high = schedule.trained_sigma_karras[[0, -1]] ** (1 / KARRAS_RHO)
    sigma_karras = np.linspace(high, low, steps) ** KARRAS_RHO
    return _told(schedule, sigma_karras, convention.told_karras)


def exponential(schedule: Schedule, steps: int, convention: Convention) -> Levels:
    """Even in ln(sigma_karras) between the schedule's ends: k-diffusion's `get_sigmas_exponential`."""
    low, high = np.log(schedule.trained_sigma_karras[[0, -1]])
    return _told(schedule, np.exp(np.linspace(high, low, steps)), convention.told)


def beta(schedule: Schedule, steps: int, convention: Convention) -> Levels:
    """sigma_karras by the quantiles of beta(0.6, 0.6) between the schedule's ends: diffusers' `use_beta_sigmas`.

    A1111's Beta is the same. ComfyUI's `beta` spaces timesteps by these quantiles, another grid, which is not here.
    """
    low, high = schedule.trained_sigma_karras[[0, -1]]
    sigma_karras = low + (high - low) * beta_quantiles(np.linspace(1, 0, steps), BETA_SHAPE)
    return _told(schedule, sigma_karras, convention.told)


def ays(schedule: Schedule, steps: int, convention: Convention) -> Levels:
    """Align Your Steps: the 11 published nodes, log-linear in between, the last of N + 1 dropped; as ComfyUI."""
    published = np.array(AYS_SIGMA_KARRAS)
    trained = schedule.trained_sigma_karras
    if published[0] > trained[-1] * (1 + AYS_ROUNDING):
        raise ValueError(
            f"timestep_spacing is 'ays', which starts at sigma_karras {published[0]}, but this checkpoint was trained "
            f"up to {trained[-1]:.3f} only: use 'karras'"
        )
    place = np.linspace(0, len(published) - 1, steps + 1)
    sigma_karras = np.exp(np.interp(place, np.arange(len(published)), np.log(published)))[:-1]
    return _told(schedule, sigma_karras, np.positive)


# A new spacing is a function above and a row here.
SPACINGS: dict[str, Callable[[Schedule, int, Convention], Levels]] = {
    "leading": leading,
    "trailing": trailing,
    "linspace": linspace,
    "karras": karras,
    "exponential": exponential,
    "beta": beta,
    "sgm_uniform": sgm_uniform,
    "simple": simple,
    "normal": normal,
    "ays": ays,
}


def _distilled(schedule: Schedule, steps: int, convention: Convention) -> Levels:
    """Even picks from the timesteps T/50 - 1, 2T/50 - 1, ... that LCM (arXiv 2310.04378) and TCD were distilled on."""
    total = schedule.num_train_timesteps
    count = min(DISTILLED_TIMESTEPS, total)
    if steps > count:
        raise ValueError(
            f"num_inference_steps is {steps}, but this sampler's own spacing has {count} timesteps: "
            f"use 1 to {count}, or another timestep_spacing"
        )
    origins = (np.arange(1, count + 1) * (total // count) - 1)[::-1]
    return _at(schedule, origins[np.arange(steps) * count // steps], convention)


def _every_timestep(schedule: Schedule, convention: Convention) -> Levels:
    return _at(schedule, np.arange(schedule.num_train_timesteps)[::-1], convention)


def _at(schedule: Schedule, timesteps: np.ndarray, convention: Convention) -> Levels:
    """The trained levels at whole `timesteps` (N,)."""
    trained = schedule.finite_alpha_bar if convention.finite else schedule.alpha_bar
    return timesteps, trained[timesteps.astype(np.int64)]


def _log_linear(schedule: Schedule, timesteps: np.ndarray) -> Levels:
    log_trained = np.log(schedule.trained_sigma_karras)
    sigma_karras = np.exp(np.interp(timesteps, np.arange(len(log_trained)), log_trained))
    return timesteps, _alpha_bar(sigma_karras)


def _told(schedule: Schedule, sigma_karras: np.ndarray, rounding: Rounding) -> Levels:
    """The levels kept exact, their timesteps rounded."""
    return rounding(schedule.timestep_at(sigma_karras)), _alpha_bar(sigma_karras)


def _alpha_bar(sigma_karras: np.ndarray) -> np.ndarray:
    return 1 / (1 + sigma_karras**2)
