"""Replicas that are killed, and restarted one after another, under load."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from triton_diffusion import Client

from benchmarks.resilience.figures import Figure
from benchmarks.resilience.traffic import Ways, images_made_alone, made_twice, traffic
from tests.support.proxy import Proxy
from tests.support.replicas import Replica

SETTLE = 4.0  # seconds of load before, between and after what happens to the servers


def ways_to(group: Sequence[Replica], proxy: Proxy) -> Ways:
    """Each client as its defaults make it: three tries after the first."""
    urls = [replica.server.grpc_url for replica in group]
    return {
        "client-side failover": lambda: Client(urls),
        "nginx, gRPC": lambda: Client(proxy.grpc_url),
        "nginx, HTTP": lambda: Client(proxy.http_url, "http"),
    }


def kill_one(group: Sequence[Replica], proxy: Proxy, log: Path) -> list[Figure]:
    """`kill -9` of the first replica, launcher and tritonserver, which is then started again."""

    def happen() -> None:
        group[0].kill()
        time.sleep(SETTLE)
        group[0].start()

    return _under_load(group, proxy, log, happen)


def restart_all(group: Sequence[Replica], proxy: Proxy, log: Path) -> list[Figure]:
    """A rolling restart: SIGTERM to each launcher in turn, the next when the last one serves again."""

    def happen() -> None:
        for replica in group:
            replica.stop()
            replica.start()

    return _under_load(group, proxy, log, happen)


def _under_load(group: Sequence[Replica], proxy: Proxy, log: Path, happen: Callable[[], None]) -> list[Figure]:
    twice = made_twice(log)
    with Client(group[0].server.grpc_url) as client:
        expected = images_made_alone(client)
    with traffic(ways_to(group, proxy), expected) as record:
        time.sleep(SETTLE)
        happen()
        time.sleep(SETTLE)
    for error, count in record.errors().items():
        print(f"{count} x {error}")
    return [*record.figures(), Figure("images that two servers made, of which one was lost", made_twice(log) - twice)]
