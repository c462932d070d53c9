"""diffusers' schedulers in float64: they name float32 themselves, and here that name means float64."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
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
    with ExitStack() as patches:
        patches.enter_context(mock.patch.multiple(module, np=_Double(np), torch=_Double(torch)))
        if hasattr(scheduler, "_sigma_to_t"):
            quick = _with_numpy_arguments(scheduler._sigma_to_t)
            patches.enter_context(mock.patch.object(scheduler, "_sigma_to_t", quick))
        yield


def _with_numpy_arguments(sigma_to_t: Callable[..., Any]) -> Callable[..., Any]:
    """KDPM2's passes tensors, over which NumPy's functions then walk one element at a time, for seconds."""

    def with_arrays(self: Any, *levels: Any) -> Any:
        return sigma_to_t(self, *map(np.asarray, levels))

    return with_arrays
