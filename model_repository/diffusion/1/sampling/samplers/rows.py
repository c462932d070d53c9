"""Rows of a sampler: the weights of every denoiser call of a request, before its checkpoint's prediction type is known.

    x' = a*x + b*denoised + c1*H1 + c2*H2 + c3*H3 + n*noise
    remember H = p*x + q*denoised, x the old x; p = q = 0 remembers nothing

H1 is the newest remembered value. Samplers remember denoised (p = 0, q = 1), epsilon (p = 1 / sigma, q = -alpha /
sigma) or x (p = 1, q = 0).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from ..flow import FlowSchedule
from ..grid import Grid
from ..schedule import Schedule

AnySchedule: TypeAlias = Schedule | FlowSchedule

MEMORY = 3  # values that a row may look back on


@dataclass(frozen=True, eq=False)
class Rows:
    """R rows. All columns are (R,) float64 but `timesteps`, `c` and `ends_step`."""

    timesteps: np.ndarray  # (R,) float32, told to the denoiser
    alpha: np.ndarray  # noise level of x
    sigma: np.ndarray
    a: np.ndarray
    b: np.ndarray
    c: np.ndarray  # (R, 3)
    n: np.ndarray
    p: np.ndarray
    q: np.ndarray
    noise_correlation: np.ndarray  # of a row's noise with that of the row before
    ends_step: np.ndarray  # (R,) bool: True where a step of the sampler is done; it may take several rows


@dataclass(frozen=True)
class Sampler:
    """A sampler by its function of (schedule, grid, **options) and what it takes where a request leaves it open."""

    function: Callable[..., Rows]
    timestep_spacing: str
    convention: str  # whose habits its grid follows, `grid.py`
    options: Mapping[str, float] = field(default_factory=dict)  # name to default
    from_pure_noise: bool = True  # whether its first step may start where the image cannot be seen; else DDIM takes it


def make_rows(
    grid: Grid,
    a: np.ndarray,
    b: np.ndarray,
    c: Sequence[np.ndarray] = (),
    n: np.ndarray | None = None,
    p: np.ndarray | None = None,
    q: np.ndarray | None = None,
) -> Rows:
    """One row a step of `grid`. Without `p` and `q` it remembers denoised."""
    none = np.zeros_like(a)
    return Rows(
        timesteps=grid.timesteps,
        alpha=grid.alpha[:-1],
        sigma=grid.sigma[:-1],
        a=a,
        b=b,
        c=np.stack([*c, *[none] * (MEMORY - len(c))], axis=1),
        n=none if n is None else n,
        p=none if p is None else p,
        q=np.ones_like(a) if q is None else q,
        noise_correlation=none,
        ends_step=np.ones(len(a), bool),
    )


def ends(nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A quantity (N + 1,) at the start and at the end of each of the N steps."""
    return nodes[:-1], nodes[1:]


def is_first_order(grid: Grid) -> np.ndarray:
    """(N,) bool: the steps in which a second-order method has, or trusts, no slope.

    The first has none. The last has an infinite h where it ends without noise; where it does not, diffusers still
    lowers the order for few steps.
    """
    first = np.zeros(len(grid.timesteps), bool)
    first[0] = True
    first[-1] = grid.sigma[-1] == 0 or len(first) < FEW_STEPS
    return first


FEW_STEPS = 15  # diffusers' `lower_order_final`
