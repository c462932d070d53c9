"""Samplers as tables: every step is `x' = a*x + b*denoised + c*old_denoised + n*noise`, so a sampler is its weights.

Below, `alpha`, `sigma` (variance preserving) and `lambda = ln(alpha / sigma)` belong to a step's start, `*_next` to its
end, and `h = lambda_next - lambda`. The last step ends without noise (sigma_next = 0), and there every sampler gives
`x' = denoised`. A new sampler is one function here, one name in `SAMPLERS` and one in `DEFAULT_SPACING`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .schedule import Grid, Schedule, make_grid


@dataclass(frozen=True, eq=False)
class StepTable:
    """The N steps of one request. All columns are (N,) float64 but `timesteps`."""

    timesteps: np.ndarray  # (N,) float32, what the UNet is told
    x_weight: np.ndarray  # denoised = x_weight * x + output_weight * model_output
    output_weight: np.ndarray
    a: np.ndarray  # weight of x, the latent
    b: np.ndarray  # weight of denoised
    c: np.ndarray  # weight of old_denoised, the denoised of the step before; 0 in the first step
    n: np.ndarray  # weight of fresh noise; 0 where the step needs none

    def __len__(self) -> int:
        return len(self.timesteps)

    @cached_property
    def coefficients(self) -> np.ndarray:
        """(N, 6) float32 rows `x_weight, output_weight, a, b, c, n`: what `advance` takes for each row of a batch."""
        columns = (self.x_weight, self.output_weight, self.a, self.b, self.c, self.n)
        return np.stack(columns, axis=1).astype(np.float32)


def ddim(schedule: Schedule, num_inference_steps: int, timestep_spacing: str, eta: float = 0.0) -> StepTable:
    """DDIM, arXiv 2010.02502 eq. 12 and 16; eta = 0 is deterministic, eta = 1 is DDPM."""
    grid = make_grid(schedule, num_inference_steps, timestep_spacing, skip_zero=False)
    alpha, alpha_next = _ends(grid.alpha)
    sigma, sigma_next = _ends(grid.sigma)
    n = eta * (sigma_next / sigma) * np.sqrt(1 - alpha**2 / alpha_next**2)
    k = np.sqrt(sigma_next**2 - n**2)
    a = k / sigma
    b = alpha_next - k * alpha / sigma
    return _tabulate(schedule, grid, a, b, n=n)


def ddpm(schedule: Schedule, num_inference_steps: int, timestep_spacing: str) -> StepTable:
    """DDPM with its fixed small variance, arXiv 2006.11239 eq. 7."""
    grid = make_grid(schedule, num_inference_steps, timestep_spacing, skip_zero=False)
    alpha, alpha_next = _ends(grid.alpha)
    sigma, sigma_next = _ends(grid.sigma)
    beta = 1 - alpha**2 / alpha_next**2
    a = alpha * sigma_next**2 / (alpha_next * sigma**2)
    b = alpha_next * beta / sigma**2
    n = (sigma_next / sigma) * np.sqrt(beta)
    return _tabulate(schedule, grid, a, b, n=n)


def dpmpp_2m(schedule: Schedule, num_inference_steps: int, timestep_spacing: str) -> StepTable:
    """DPM-Solver++(2M), arXiv 2211.01095 alg. 2."""
    return dpmpp_2m_on(schedule, make_grid(schedule, num_inference_steps, timestep_spacing, skip_zero=True))


def dpmpp_2m_on(schedule: Schedule, grid: Grid) -> StepTable:
    """DPM-Solver++(2M) over any noise levels."""
    _, alpha_next = _ends(grid.alpha)
    sigma, sigma_next = _ends(grid.sigma)
    h = np.diff(grid.lambda_)
    gain = -np.expm1(-h)  # 1 - exp(-h)
    half = _half_over_r(h)
    a = sigma_next / sigma
    b = alpha_next * gain * (1 + half)
    c = -alpha_next * gain * half
    return _tabulate(schedule, grid, a, b, c=c)


def dpmpp_2m_sde(schedule: Schedule, num_inference_steps: int, timestep_spacing: str) -> StepTable:
    """SDE-DPM-Solver++(2M), arXiv 2211.01095v2, section on diffusion SDEs."""
    grid = make_grid(schedule, num_inference_steps, timestep_spacing, skip_zero=True)
    _, alpha_next = _ends(grid.alpha)
    sigma, sigma_next = _ends(grid.sigma)
    h = np.diff(grid.lambda_)
    gain = -np.expm1(-2 * h)  # 1 - exp(-2h)
    half = _half_over_r(h)
    a = (sigma_next / sigma) * np.exp(-h)
    b = alpha_next * gain * (1 + half)
    c = -alpha_next * gain * half
    n = sigma_next * np.sqrt(gain)
    return _tabulate(schedule, grid, a, b, c=c, n=n)


SAMPLERS: dict[str, Callable[..., StepTable]] = {
    "ddpm": ddpm,
    "ddim": ddim,
    "dpmpp_2m": dpmpp_2m,
    "dpmpp_2m_sde": dpmpp_2m_sde,
}
DEFAULT_SPACING = {"ddpm": "trailing", "ddim": "trailing", "dpmpp_2m": "karras", "dpmpp_2m_sde": "karras"}


def step_table(
    schedule: Schedule,
    sampler: str,
    num_inference_steps: int,
    timestep_spacing: str | None = None,
    eta: float = 0.0,
) -> StepTable:
    """The steps of one request; `timestep_spacing` None means the sampler's default. ValueError says what to change."""
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler is {sampler!r}: use one of {', '.join(SAMPLERS)}")
    if not 0 <= eta <= 1:
        raise ValueError(f"eta is {eta}: use 0 (deterministic) to 1 (as noisy as ddpm)")
    if eta > 0 and sampler != "ddim":
        raise ValueError(f"eta is {eta}, but sampler {sampler!r} has no eta: leave it at 0, or use sampler 'ddim'")
    spacing = DEFAULT_SPACING[sampler] if timestep_spacing is None else timestep_spacing
    options = {"eta": eta} if sampler == "ddim" else {}
    return SAMPLERS[sampler](schedule, num_inference_steps, spacing, **options)


def _ends(nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A quantity (N + 1,) at the start and at the end of each of the N steps."""
    return nodes[:-1], nodes[1:]


def _half_over_r(h: np.ndarray) -> np.ndarray:
    """1 / (2r) with r = h_prev / h; 0, that is first order, in the first step and in the last, whose h is infinite.

    It is also 0 after a step from zero terminal SNR, whose h is infinite: that step's denoised is no slope to follow.
    """
    half = np.zeros_like(h)
    half[1:-1] = 0.5 * h[1:-1] / h[:-2]
    return half


def _denoised_weights(prediction_type: str, alpha: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The weights of x and of the model output in denoised."""
    if prediction_type == "epsilon":  # denoised = (x - sigma*epsilon) / alpha, arXiv 2006.11239 eq. 15
        return 1 / alpha, -sigma / alpha
    return alpha, -sigma  # denoised = alpha*x - sigma*v, arXiv 2202.00512 app. D


def _tabulate(
    schedule: Schedule,
    grid: Grid,
    a: np.ndarray,
    b: np.ndarray,
    c: np.ndarray | None = None,
    n: np.ndarray | None = None,
) -> StepTable:
    alpha, _ = _ends(grid.alpha)
    sigma, _ = _ends(grid.sigma)
    x_weight, output_weight = _denoised_weights(schedule.prediction_type, alpha, sigma)
    zero = np.zeros_like(a)
    return StepTable(
        timesteps=grid.timesteps,
        x_weight=x_weight,
        output_weight=output_weight,
        a=a,
        b=b,
        c=zero if c is None else c,
        n=zero if n is None else n,
    )
