"""Step tables: a request's sampler, steps and spacing as one row of weights for every denoiser call.

    denoised = x_weight*x + output_weight*model_output
    x' = a*x + b*denoised + c1*H1 + c2*H2 + c3*H3 + n*noise
    remember H = p*x + q*denoised, x the old x; p = q = 0 remembers nothing and shifts nothing
    x_start = start_init*init + start_noise*noise

H1 is the newest remembered value. All are float64 until a batch takes them as float32.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .aliases import resolve
from .flow import FLOW_CONVENTIONS, FLOW_SPACINGS, FlowSchedule
from .grid import Grid, make_grid
from .prediction import DENOISED_WEIGHTS
from .samplers import SAMPLERS, AnySchedule, Rows, Sampler, ddim, dpmpp_2m

COLUMNS = ("x_weight", "output_weight", "a", "b", "c1", "c2", "c3", "n", "p", "q")
# sigma / alpha from which on x is noise alone: the samplers that average slopes over a step divide by little there.
PURE_NOISE = 1000.0


@dataclass(frozen=True, eq=False)
class StepTable:
    """The R denoiser calls of one request. All columns are (R,) float64 but `timesteps`, `c` and `ends_step`."""

    timesteps: np.ndarray  # (R,) float32, told to the denoiser
    x_weight: np.ndarray  # denoised = x_weight * x + output_weight * model_output
    output_weight: np.ndarray
    a: np.ndarray  # weight of x, the latent
    b: np.ndarray  # weight of denoised
    c: np.ndarray  # (R, 3) weights of the remembered values, the newest first
    n: np.ndarray  # weight of noise; 0 where the row needs none
    p: np.ndarray  # weight of x in the value to remember
    q: np.ndarray  # weight of denoised in it
    noise_correlation: np.ndarray  # of the row's noise with that of the row before; 0 where it is fresh
    ends_step: np.ndarray  # (R,) bool: True where a step of the sampler is done
    start_init: float  # weight of an initial latent in the first latent
    start_noise: float  # weight of noise in it

    def __len__(self) -> int:
        return len(self.timesteps)

    @cached_property
    def steps_done(self) -> list[int]:
        """Steps of the sampler that are done after 0, 1, ... R rows: R + 1 numbers, from 0 to num_inference_steps."""
        done: list[int] = np.cumsum([0, *self.ends_step]).tolist()
        return done

    @cached_property
    def memory(self) -> int:
        """Number of remembered values that the rows look back on, 0 to 3."""
        used = np.flatnonzero(self.c.any(axis=0))
        return int(used[-1]) + 1 if len(used) else 0

    @cached_property
    def keeps(self) -> np.ndarray:
        """(R,) bool: the rows that remember nothing, before a row that reads what was remembered before them."""
        keeps = np.zeros(len(self), bool)
        remembering: list[int] = []
        for row in range(len(self)):
            for age in np.flatnonzero(self.c[row]):
                keeps[remembering[-1 - age] + 1 : row] = True
            if self.p[row] or self.q[row]:
                remembering.append(row)
        keeps[remembering] = False
        return keeps

    @cached_property
    def coefficients(self) -> np.ndarray:
        """(R, 10) float32 rows in the order of `COLUMNS`: a batch takes one for each of its samples."""
        columns = (self.x_weight, self.output_weight, self.a, self.b, *self.c.T, self.n, self.p, self.q)
        return np.stack(columns, axis=1).astype(np.float32)


def step_table(
    schedule: AnySchedule,
    sampler: str,
    num_inference_steps: int,
    timestep_spacing: str | None = None,
    **options: float | None,
) -> StepTable:
    """The rows of one request. ValueError says in one line what to change.

    `sampler` and `timestep_spacing` may be the names of other programs (`aliases.py`). A spacing of None, and an option
    that is None or left out, mean the sampler's own.
    """
    name, spacing = resolve(sampler, timestep_spacing)
    chosen = SAMPLERS[name]
    if isinstance(schedule, FlowSchedule) and chosen.convention not in FLOW_CONVENTIONS:
        able = [name for name, sampler in SAMPLERS.items() if sampler.convention in FLOW_CONVENTIONS]
        raise ValueError(f"sampler {name!r} cannot sample this checkpoint, a flow model: use one of {', '.join(able)}")
    settings = _settings(name, options)
    spacing = spacing or own_spacing(schedule, name)
    grid = make_grid(schedule, num_inference_steps, spacing, chosen.convention)
    with np.errstate(divide="ignore", invalid="ignore"):  # in weights that are replaced, or refused below
        rows = _rows(schedule, grid, chosen, settings)
        table = _tabulate(schedule, grid, rows)
    if not np.isfinite(table.coefficients).all():
        raise ValueError(
            f"sampler {name!r} has no finite {num_inference_steps} steps with timestep_spacing {spacing!r} on this "
            "checkpoint: use another timestep_spacing, or fewer num_inference_steps"
        )
    return table


def own_spacing(schedule: AnySchedule, sampler: str) -> str:
    """The spacing of a request that names only its sampler, one of `SAMPLERS`."""
    return FLOW_SPACINGS[0] if isinstance(schedule, FlowSchedule) else SAMPLERS[sampler].timestep_spacing


def dpmpp_2m_on(schedule: AnySchedule, grid: Grid) -> StepTable:
    """DPM-Solver++(2M) over any noise levels."""
    return _tabulate(schedule, grid, dpmpp_2m(schedule, grid))


def _settings(name: str, options: dict[str, float | None]) -> dict[str, float]:
    """The sampler's options, those of the request in place of its defaults. All options lie within 0 to 1."""
    settings = dict(SAMPLERS[name].options)
    for option, value in options.items():
        owners = [repr(owner) for owner, sampler in SAMPLERS.items() if option in sampler.options]
        if not owners:
            raise ValueError(f"{option} is {value}, but no sampler has an option of this name: leave it out")
        if value is None:
            continue
        if not 0 <= value <= 1:
            raise ValueError(f"{option} is {value}: use 0 (deterministic) to 1 (as noisy as ddpm)")
        if option in settings:
            settings[option] = value
        else:
            raise ValueError(
                f"{option} is {value}, but sampler {name!r} has no {option}: leave it out, or use sampler {owners[0]}"
            )
    return settings


def _rows(schedule: AnySchedule, grid: Grid, sampler: Sampler, settings: dict[str, float]) -> Rows:
    """The sampler's rows; from pure noise, where it may not start there, after a first step of DDIM."""
    if sampler.from_pure_noise or grid.sigma_karras[0] < PURE_NOISE:
        return sampler.function(schedule, grid, **settings)
    first = replace(ddim(schedule, _part(grid, 0, 1), settings.get("eta", 0.0)), q=np.zeros(1))
    if len(grid.timesteps) == 1:
        return first
    rest = sampler.function(schedule, _part(grid, 1, len(grid.timesteps)), **settings)
    return Rows(**{name: np.concatenate([column, getattr(rest, name)]) for name, column in vars(first).items()})


def _part(grid: Grid, first: int, end: int) -> Grid:
    """The steps `first` to `end` - 1 of a grid."""
    return Grid(grid.timesteps[first:end], grid.alpha[first : end + 1], grid.sigma[first : end + 1])


def _tabulate(schedule: AnySchedule, grid: Grid, rows: Rows) -> StepTable:
    """Rows with the weights of the checkpoint's prediction type; they remember only what a later row reads."""
    x_weight, output_weight = DENOISED_WEIGHTS[schedule.prediction_type](rows.alpha, rows.sigma)
    reading = np.flatnonzero(rows.c.any(axis=1))
    read_later = np.arange(len(rows.a)) < (reading[-1] if len(reading) else 0)
    return StepTable(
        timesteps=rows.timesteps,
        x_weight=x_weight,
        output_weight=output_weight,
        a=rows.a,
        b=rows.b,
        c=rows.c,
        n=rows.n,
        p=np.where(read_later, rows.p, 0),
        q=np.where(read_later, rows.q, 0),
        noise_correlation=rows.noise_correlation,
        ends_step=rows.ends_step,
        start_init=0.0,
        start_noise=grid.start_noise,
    )
