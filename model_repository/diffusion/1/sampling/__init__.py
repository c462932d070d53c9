"""Sampling without a network: schedules, step tables, the update of a ragged batch, and PyTorch's noise.

A request is a `StepTable` plus its latent. Every call of every sampler is `advance` with one row of such a table, so
requests with different samplers, lengths and positions are advanced together.
"""

from .aliases import ALIASES, resolve
from .flow import FlowSchedule
from .grid import Grid, make_grid
from .noise import NoiseStream
from .prediction import DENOISED_WEIGHTS
from .samplers import SAMPLERS
from .schedule import BETA_SCHEDULES, PREDICTION_TYPES, Schedule, alpha_bar_from_betas, read_schedule
from .spacing import SPACINGS
from .step import advance, denoise, guide, remember
from .table import COLUMNS, StepTable, dpmpp_2m_on, own_spacing, step_table

__all__ = [
    "ALIASES",
    "BETA_SCHEDULES",
    "COLUMNS",
    "DENOISED_WEIGHTS",
    "PREDICTION_TYPES",
    "SAMPLERS",
    "SPACINGS",
    "FlowSchedule",
    "Grid",
    "NoiseStream",
    "Schedule",
    "StepTable",
    "advance",
    "alpha_bar_from_betas",
    "denoise",
    "dpmpp_2m_on",
    "guide",
    "make_grid",
    "own_spacing",
    "read_schedule",
    "remember",
    "resolve",
    "step_table",
]
