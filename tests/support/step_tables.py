"""A step table run in float64: the row's formula and nothing else, to compare tables with other programs' loops."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from sampling import StepTable


def run_table(
    table: StepTable, model: Callable[[np.ndarray, float], np.ndarray], start: np.ndarray, noise: Iterable[np.ndarray]
) -> np.ndarray:
    """The last latent, float64. `start`: normal noise, the latent's shape. `noise`: what the rows with noise draw."""

    def denoise(i: int, x: np.ndarray) -> np.ndarray:
        return table.x_weight[i] * x + table.output_weight[i] * model(x, table.timesteps[i])

    *_, x = latents(table, denoise, table.start_noise * start.astype(np.float64), noise)
    return x


def latents(
    table: StepTable,
    denoise: Callable[[int, np.ndarray], np.ndarray],
    x: np.ndarray,
    noise: Iterable[np.ndarray] = (),
) -> Iterator[np.ndarray]:
    """The latent after each row, from `x` on; `denoise` gives denoised of row i."""
    remembered: list[np.ndarray] = []  # the newest first
    draws = iter(noise)
    z = np.zeros_like(x)
    for i in range(len(table)):
        denoised = denoise(i, x)
        x_next = table.a[i] * x + table.b[i] * denoised
        for age in np.flatnonzero(table.c[i]):
            x_next = x_next + table.c[i, age] * remembered[age]
        if table.n[i]:
            rho = table.noise_correlation[i]
            z = rho * z + np.sqrt(1 - rho**2) * next(draws)
            x_next = x_next + table.n[i] * z
        if table.p[i] or table.q[i]:
            remembered.insert(0, table.p[i] * x + table.q[i] * denoised)
        x = x_next
        yield x
