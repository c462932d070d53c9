"""Metrics of a server, from its endpoint for them (Triton's port 8002, always HTTP)."""

import re
from dataclasses import dataclass, fields

from ._deadline import Deadline
from ._errors import ServerUnavailable, WrongServer

_LINE = re.compile(r'^diffusion_(\w+)(?:\{(?:outcome="(\w+)")?[^}]*\})? (\S+)$', re.MULTILINE)
_UNIT = re.compile(r"_(total|sum)$")  # of a counter, of a histogram


@dataclass(frozen=True)
class ServerMetrics:
    """Counters since the server started, and how things are now (`now`)."""

    requests_in_flight: float  # now: accepted and not yet answered
    waiting_requests: float  # now: those of them that wait for room in the loop
    active_samples: float  # now: images in the loop
    max_active_samples: float  # for which there is room
    denoiser_steps: float  # calls of the denoiser
    denoiser_samples: float  # samples that they advanced; over `denoiser_steps` this is the mean batch
    denoiser_seconds: float  # inside these calls
    requests_done: float
    requests_cancelled: float
    requests_failed: float
    requests_refused: float  # the queue was full, or the server was shutting down
    requests_expired: float  # their deadline passed
    requests_invalid: float
    queue_wait_seconds: float  # that requests waited for room, over all of them
    generation_seconds: float  # from acceptance to the last response, over all requests


def server_metrics(url: str, timeout: float | None = 5.0) -> ServerMetrics:
    """The metrics of the server at `url`, "host:port". Raises ServerUnavailable or DeadlineExceeded."""
    import httpx2  # here, because it takes a tenth of a second

    deadline = Deadline(timeout)
    address = url if "://" in url else f"http://{url}"
    try:
        response = httpx2.get(f"{address.rstrip('/')}/metrics", timeout=deadline.left(), verify="https:" in address)
    except httpx2.TransportError as error:
        if deadline.passed:
            raise deadline.exceeded(url) from error
        raise ServerUnavailable(f"no metrics at {url}: is the server running? (make serve)") from error
    except httpx2.InvalidURL as error:
        raise WrongServer(f"no metrics at {url}: {error}") from error
    return _parsed(response.text if response.status_code == 200 else "", url)


def _parsed(text: str, url: str) -> ServerMetrics:
    found = {_UNIT.sub("", name): float(value) for name, outcome, value in _LINE.findall(text) if not outcome}
    found |= {f"requests_{outcome}": float(value) for _, outcome, value in _LINE.findall(text) if outcome}
    try:
        return ServerMetrics(**{field.name: found[field.name] for field in fields(ServerMetrics)})
    except KeyError as error:
        raise WrongServer(f"{url} has no metric {error}: is it Triton Diffusion's metrics port?") from None
