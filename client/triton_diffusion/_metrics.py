"""Metrics of a server, from its endpoint for them (Triton's port 8002, always HTTP)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from ._deadline import Deadline
from ._errors import ServerUnavailable, WrongServer

_LINE = re.compile(r'^diffusion_(\w+)(?:\{(?:outcome="(\w+)")?[^}]*\})? (\S+)$', re.MULTILINE)
_NETWORK = re.compile(r'^diffusion_network_(\w+)_total\{network="(\w+)"\} (\S+)$', re.MULTILINE)
_UNIT = re.compile(r"_(total|sum)$")  # of a counter, of a histogram


@dataclass(frozen=True)
class NetworkMetrics:
    """Counters of one network since the server started."""

    calls: float = 0.0
    rows: float = 0.0  # of all calls; over `calls` this is the mean batch
    seconds: float = 0.0  # inside them


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
    networks: Mapping[str, NetworkMetrics] = field(default_factory=dict)  # by name


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
    networks: dict[str, dict[str, float]] = {}
    for counter, network, value in _NETWORK.findall(text):
        networks.setdefault(network, {})[counter] = float(value)
    try:
        return ServerMetrics(
            **{each.name: found[each.name] for each in fields(ServerMetrics) if each.name != "networks"},
            networks={name: NetworkMetrics(**counters) for name, counters in networks.items()},
        )
    except KeyError as error:
        raise WrongServer(f"{url} has no metric {error}: is it Triton Diffusion's metrics port?") from None
