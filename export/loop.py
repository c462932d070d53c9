"""The sampling loop's own code, from which the export takes request fields, samplers and schedules.

It lies in model_repository/diffusion/1, where Triton imports it from a folder and not from a package. Everything here
imports it from this module.
"""

import sys
from pathlib import Path

HAND_WRITTEN = Path(__file__).resolve().parents[1] / "model_repository"
"""The folder of the models whose code is part of the project."""

if (_folder := str(HAND_WRITTEN / "diffusion" / "1")) not in sys.path:
    sys.path.append(_folder)  # last: its modules have plain names

from request import FIELDS, MAX_GUIDANCE_SCALE, MAX_STEPS, Field  # noqa: E402
from sampling import ALIASES, SAMPLERS, SPACINGS, read_schedule, step_table  # noqa: E402

__all__ = [
    "ALIASES",
    "FIELDS",
    "HAND_WRITTEN",
    "MAX_GUIDANCE_SCALE",
    "MAX_STEPS",
    "SAMPLERS",
    "SPACINGS",
    "Field",
    "read_schedule",
    "step_table",
]
