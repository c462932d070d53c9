import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest
from triton_diffusion import Client

from tests.support.launching import free_ports

T = TypeVar("T")


@pytest.fixture(scope="module")
def client(server) -> Iterator[Client]:
    with Client(server.grpc_url) as client:
        yield client


@pytest.fixture(scope="module")
def http_client(server) -> Iterator[Client]:
    with Client(server.http_url, "http") as client:
        yield client


@pytest.fixture
def unused_url() -> str:
    """An address of this machine that nothing listens at."""
    (port,) = free_ports(1)
    return f"127.0.0.1:{port}"


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, T]], T]:
    """Run a coroutine in an event loop of its own, three minutes at most."""
    return lambda coroutine: asyncio.run(asyncio.wait_for(coroutine, 180))
