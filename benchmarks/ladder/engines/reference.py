"""The fine solution of the ODE that DDIM and DPM++ 2M approximate, to measure their distance from."""

import numpy as np
from sampling import Grid, Schedule, StepTable, dpmpp_2m_on

FINE_STEPS = 500
FINER_STEPS = 1000
"""What the fine solution is confirmed against, on a few seeds."""


def fine_table(schedule: Schedule, steps: int) -> StepTable:
    """DPM++ 2M over `steps` levels uniform in lambda, from the schedule's noisiest level to its cleanest.

    The UNet is told the exact, fractional timestep of every level: rounded ones would solve another ODE.
    """
    trained = np.log(schedule.alpha_bar / (1 - schedule.alpha_bar)) / 2  # (T,) lambda, falling
    lambda_ = np.linspace(trained[-1], trained[0], steps)
    timesteps = np.interp(lambda_, trained[::-1], np.arange(len(trained))[::-1])
    alpha_bar = np.append(1 / (1 + np.exp(-2 * lambda_)), 1.0)
    return dpmpp_2m_on(schedule, Grid(timesteps.astype(np.float32), np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar)))
