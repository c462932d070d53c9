"""Errors of an export for reasons outside of this program: each is one line that says how to fix it.

ExportError
├── CheckpointError   the checkpoint cannot be read, or is not of a supported kind
├── RequestError      the sizes asked for do not fit the checkpoint
├── GateError         a graph's outputs differ from PyTorch's
└── PlanError         TensorRT is missing, or cannot build a plan
"""

import textwrap


class ExportError(Exception):
    """An expected failure. The message is one line for the user."""


class CheckpointError(ExportError):
    """The checkpoint cannot be read, or is not of a supported kind."""


class RequestError(ExportError):
    """A request that does not fit the checkpoint."""


class GateError(ExportError):
    """A graph's outputs differ from PyTorch's by more than is allowed."""


class PlanError(ExportError):
    """TensorRT is missing, or cannot build a plan."""


def quote(error: BaseException) -> str:
    """The beginning of a library's error as one line, for our own line to quote."""
    return f"{type(error).__name__}: {textwrap.shorten(str(error), 200, placeholder=' ...')}"
