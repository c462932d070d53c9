"""Property tests that are short with fixed seeds in `make test`, and as long as asked for in `make fuzz`."""

import inspect
import os
import time
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

MINUTES = float(os.environ.get("FUZZ_MINUTES", "0"))
"""Minutes that each of these tests takes; 0: as many examples as it names, always the same."""
EXAMPLES_A_SEED = 200


def fuzz(examples: int, **strategies: st.SearchStrategy) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A test of `examples` drawn from `strategies`, by argument; its other arguments are fixtures."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        def run(**fixtures: Any) -> None:
            end = time.monotonic() + 60 * MINUTES
            count = EXAMPLES_A_SEED if MINUTES else examples
            number = 0
            while number == 0 or time.monotonic() < end:
                drawn = given(**strategies)(lambda **drawn: test(**fixtures, **drawn))
                limits = settings(max_examples=count, deadline=None, database=None, suppress_health_check=HealthCheck)
                limits(seed(number)(drawn))()
                number += 1

        signature = inspect.signature(test)
        rest = [parameter for name, parameter in signature.parameters.items() if name not in strategies]
        run.pytestmark = getattr(test, "pytestmark", [])  # type: ignore[attr-defined]
        run.__name__, run.__doc__, run.__module__ = test.__name__, test.__doc__, test.__module__
        run.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]
        return run

    return decorate


def accepted(kind: type[Exception], function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """The result of `function`; None where it refuses by a `kind` of one line. Nothing else may be raised."""
    try:
        return function(*arguments, **options)
    except kind as error:
        refusal = str(error)
    assert 10 < len(refusal) < 1500, refusal
    assert "\n" not in refusal
    return None
