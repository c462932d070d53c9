"""What can go wrong in a load test, beside the errors of the client."""

from .._errors import DiffusionError


class BenchError(DiffusionError):
    """The load test cannot run; the text says why and what to do."""
