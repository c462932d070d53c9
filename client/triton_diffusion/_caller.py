"""The caller on whose behalf a gateway asks. The server gives each caller that is named an equal share of its time."""

from contextvars import ContextVar

caller: ContextVar[str | None] = ContextVar("caller", default=None)
"""The name of the caller in this context, which goes along with every request made in it."""
