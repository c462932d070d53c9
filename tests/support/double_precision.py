"""diffusers' schedulers in float64: they name float32 themselves, and here that name means float64."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import torch


class _Double:
    """A module whose `float32` is float64."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, "float64" if name == "float32" else name)


@contextmanager
def double_precision(scheduler: type) -> Iterator[None]:
    """Compute in float64 in a diffusers scheduler class: construct, `set_timesteps` and `step` within."""
    module = sys.modules[scheduler.__module__]
    with mock.patch.multiple(module, np=_Double(np), torch=_Double(torch)):
        yield
