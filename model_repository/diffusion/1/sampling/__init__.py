"""Sampling in pure NumPy: schedules, step tables, the update of a ragged batch, and PyTorch's noise.

A request is a `StepTable` plus its latent. Every step of every sampler is `advance` with one row of such a table,
so requests with different samplers, lengths and positions are advanced together.
"""

from .noise import NoiseStream
from .schedule import BETA_SCHEDULES, PREDICTION_TYPES, SPACINGS, Grid, Schedule, alpha_bar_from_betas, make_grid
from .step import advance, guide
from .table import DEFAULT_SPACING, SAMPLERS, StepTable, dpmpp_2m_on, step_table

__all__ = [
    "BETA_SCHEDULES",
    "DEFAULT_SPACING",
    "PREDICTION_TYPES",
    "SAMPLERS",
    "SPACINGS",
    "Grid",
    "NoiseStream",
    "Schedule",
    "StepTable",
    "advance",
    "alpha_bar_from_betas",
    "dpmpp_2m_on",
    "guide",
    "make_grid",
    "step_table",
]
