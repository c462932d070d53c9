"""Samplers: each one function that turns the noise levels of a request into rows of weights.

A new sampler is a function in one of these files and a row in the `SAMPLERS` at its end.
"""

from . import epsilon_multistep, multistep, single_step, two_evaluations, unipc
from .multistep import dpmpp_2m
from .rows import AnySchedule, Rows, Sampler
from .single_step import ddim

SAMPLERS: dict[str, Sampler] = {
    **single_step.SAMPLERS,
    **multistep.SAMPLERS,
    **unipc.SAMPLERS,
    **epsilon_multistep.SAMPLERS,
    **two_evaluations.SAMPLERS,
}

__all__ = ["SAMPLERS", "AnySchedule", "Rows", "Sampler", "ddim", "dpmpp_2m"]
