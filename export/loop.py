"""The sampling loop's own code: request fields, samplers and schedules for the export, and all of it to run in process.

It lies in model_repository/diffusion/1, where Triton imports it from a folder and not from a package. This module puts
that folder on the path, and the export imports from here.
"""

import sys
from pathlib import Path

HAND_WRITTEN = Path(__file__).resolve().parents[1] / "model_repository"
"""The folder of the models whose code is part of the project."""

if (_folder := str(HAND_WRITTEN / "diffusion" / "1")) not in sys.path:
    sys.path.append(_folder)  # last: its modules have plain names

from checkpoint import Checkpoint  # noqa: E402
from conditioning import PromptEncoder  # noqa: E402
from events import Completed, Event, Failed  # noqa: E402
from fields import Field, Integer, Number  # noqa: E402
from networks import Network, OpenNetwork  # noqa: E402
from networks.in_process import open_networks  # noqa: E402
from pipeline import Pipeline  # noqa: E402
from request import FIELDS, parse_request  # noqa: E402
from sampling import ALIASES, SAMPLERS, SPACINGS, read_schedule, step_table  # noqa: E402

__all__ = [
    "ALIASES",
    "FIELDS",
    "HAND_WRITTEN",
    "SAMPLERS",
    "SPACINGS",
    "Checkpoint",
    "Completed",
    "Event",
    "Failed",
    "Field",
    "Integer",
    "Network",
    "Number",
    "OpenNetwork",
    "Pipeline",
    "PromptEncoder",
    "limits",
    "open_networks",
    "parse_request",
    "read_schedule",
    "step_table",
]


def limits(name: str) -> tuple[float, float]:
    """The smallest and the largest number that a request may give for the field `name`."""
    field = next(field for field in FIELDS if field.name == name)
    assert isinstance(field, Integer | Number)
    return field.low, field.high
