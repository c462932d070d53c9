"""The error of a load test, beside the errors of the client."""

from .._errors import DiffusionError


class BenchError(DiffusionError):
    """A load test that cannot run; the text says why and what to do."""
